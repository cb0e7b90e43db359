from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.linux import system


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc-v782", (6, 18)), ("3.10.0-1160.el7.x86_64", (3, 10)), ("4.4", (4, 4)), ("5.15.0-1-amd64", (5, 15)),
        ("6.6.87.2-microsoft-standard-WSL2", (6, 6)), ("", (0, 0)), ("x", (0, 0)), ("7", (0, 0)), ("٣.١٠", (0, 0)),
    ],
)  # fmt: skip
def test_releases(release: str, version: tuple[int, int]) -> None:
    assert system.parse_release(release) == version


def test_os_release() -> None:
    text = "ID=debian\nNAME='Debian GNU/Linux'\n# comment\nPRETTY_NAME=\"A \\\"b\\\" \\$c\"\nBROKEN\nEMPTY=\nVERSION_ID=\"12\"  \n"
    assert system.parse_os_release(text) == {
        "ID": "debian", "NAME": "Debian GNU/Linux", "PRETTY_NAME": 'A "b" $c', "EMPTY": "", "VERSION_ID": "12",
    }  # fmt: skip


@given(st.text())
def test_any_os_release_is_read(text: str) -> None:
    assert all(isinstance(value, str) for value in system.parse_os_release(text).values())


def test_os_release_in_a_root(tmp_path: Path) -> None:
    assert system.os_release(str(tmp_path)) == {}
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID=a\n")
    assert system.os_release(str(tmp_path)) == {"ID": "a"}


def test_statfs() -> None:
    found = system.statfs("/proc")
    assert (found.type, found.name) == (system.PROC_SUPER_MAGIC, "proc")
    descriptor = os.open("/", os.O_PATH)
    try:
        root = system.statfs(descriptor)
    finally:
        os.close(descriptor)
    known = os.statvfs("/")
    assert (root.blocks, root.files) == (known.f_blocks, known.f_files)
    assert 0 <= root.available <= root.free <= root.blocks
    with pytest.raises(FileNotFoundError, match=r"statfs: .*'/nonexistent'"):
        system.statfs("/nonexistent")
    with pytest.raises(OSError, match="fstatfs: Bad file descriptor"):
        system.statfs(-1)


def test_this_machine() -> None:
    assert system.kernel_version() >= (3, 10)
    assert system.kernel_release() == os.uname().release
    assert system.machine() == os.uname().machine
    assert system.pointer_bits() in (32, 64)
    assert "proc" in system.filesystems()
    config = system.kernel_config()
    assert config is None or config.get("CONFIG_PROC_FS") == "y"


def test_kernel_config() -> None:
    text = '#\n# CONFIG_A is not set\nCONFIG_B=m\nCONFIG_C="x y"\n\nnonsense=1\n'
    assert system.parse_kernel_config(text) == {"CONFIG_B": "m", "CONFIG_C": "x y"}
