"""What words on the command line mean."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.cli import flags
from gorae.errors import InvalidArgument


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("0", 0),
        ("1024", 1024),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("10kb", 10 << 10),
        ("-1", -1),
    ],
)
def test_sizes(word: str, count: int) -> None:
    assert flags.size(word) == count


@pytest.mark.parametrize("word", ["", "m", "-5", "12x", "1e400", "nan", "inf", "1 2"])
def test_wrong_sizes(word: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid size"):
        flags.size(word)


@pytest.mark.parametrize(
    ("word", "count"), [("1m30s", 90 * 10**9), ("500ms", 5 * 10**8), ("1h", 3600 * 10**9), ("10s", 10**10), ("1.5s", 15 * 10**8)]
)
def test_durations(word: str, count: int) -> None:
    assert flags.duration(word) == count


@pytest.mark.parametrize("word", ["10", "s", "1x", "1h-2m", "ten"])
def test_wrong_durations(word: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid duration"):
        flags.duration(word)


def test_environment_takes_files_first_and_our_own_values_for_bare_names(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=file\nB\nMISSING\n")
    assert flags.environment(["A=flag", "C"], [str(file)], {"B": "ours", "C": "x=y"}) == ["A=file", "B=ours", "A=flag", "C=x=y"]


@pytest.mark.parametrize("word", ["=x", "", "A B=x"])
def test_environment_without_a_name(word: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid environment variable"):
        flags.environment([word], [], {})


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("/data", ("anonymous", "/data")),
        ("/a:/b", ("bind", "/a:/b")),
        ("/a:/b:ro", ("bind", "/a:/b:ro")),
        ("name:/b:ro,z", ("bind", "name:/b:ro,z")),
    ],
)
def test_volumes(word: str, meaning: tuple[str, str]) -> None:
    assert flags.volume(word) == meaning


def test_relative_volumes_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert flags.volume("./x:/b") == ("bind", f"{tmp_path}/x:/b")


@pytest.mark.parametrize("word", ["", ":", "/a:", "/a:b", "/a:/b:bad", "/a:/b:ro:rw", "::/x"])
def test_wrong_volumes(word: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid volume"):
        flags.volume(word)


def test_mounts() -> None:
    assert flags.mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave") == {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rslave"},
    }
    assert flags.mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777") == {
        "Type": "tmpfs",
        "Target": "/t",
        "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777},
    }
    assert flags.mount("type=bind,src=/a,dst=/b,readonly=false")["ReadOnly"] is False


@pytest.mark.parametrize(
    "word", ["type=bind,src=/a", "foo=bar,target=/x", "target", "target=/x,ro=perhaps", "target=/x,tmpfs-mode=9", ""]
)
def test_wrong_mounts(word: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid mount"):
        flags.mount(word)


def test_devices_and_ulimits() -> None:
    assert flags.device("/dev/a") == {"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rwm"}
    assert flags.device("/dev/a:/dev/b:r") == {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}
    assert flags.ulimit("nofile=1:2") == {"Name": "nofile", "Soft": 1, "Hard": 2}
    assert flags.ulimit("nofile=7") == {"Name": "nofile", "Soft": 7, "Hard": 7}
    for word in ("a", "/dev/a:/dev/b:x", "/a:/b:/c"):
        with pytest.raises(InvalidArgument, match="invalid device"):
            flags.device(word)
    with pytest.raises(InvalidArgument, match="invalid ulimit"):
        flags.ulimit("nofile=many")


def test_a_seccomp_profile_is_sent_as_its_content(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text("{}")
    words = ["no-new-privileges", f"seccomp={profile}", "seccomp=unconfined"]
    assert flags.security_options(words) == ["no-new-privileges", "seccomp={}", "seccomp=unconfined"]
    with pytest.raises(InvalidArgument, match="cannot read the seccomp profile"):
        flags.security_options(["seccomp=/nowhere"])


@given(st.text(max_size=30))
@settings(max_examples=200)
def test_any_word_is_understood_or_refused(word: str) -> None:
    for parse in (flags.size, flags.duration, flags.nano_cpus, flags.volume, flags.mount, flags.device, flags.ulimit):
        with suppress(InvalidArgument):
            parse(word)
