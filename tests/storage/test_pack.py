"""Trees to archives and to lists of changes."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import CorruptData
from gorae.storage.archive.difference import ADDED, DELETED, MODIFIED, Comparison
from gorae.storage.archive.pack import DEEPEST, Packer


def packed(tree: Path, *, name: bytes = b".", layer: bool = False, left_out: frozenset[bytes] = frozenset()) -> tarfile.TarFile:
    output = os.memfd_create("tar")
    directory = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        packer = Packer(output, layer=layer, left_out=left_out)
        packer.add(directory, name, name)
        packer.finish()
        os.lseek(output, 0, os.SEEK_SET)
        with open(output, "rb") as file:
            return tarfile.open(fileobj=io.BytesIO(file.read()))
    finally:
        os.close(directory)


def test_kinds_modes_and_links(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir(mode=0o750)
    (tmp_path / "dir/file").write_bytes(b"x" * 100_000)
    os.chmod(tmp_path / "dir/file", 0o4755)
    os.link(tmp_path / "dir/file", tmp_path / "second")
    os.symlink("/etc/passwd", tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    server.close()
    tar = packed(tmp_path)
    found = {member.name: member for member in tar}
    assert set(found) == {".", "./dir", "./dir/file", "./second", "./link", "./fifo"}
    assert found["./dir"].mode == 0o750
    assert found["./dir/file"].mode == 0o4755
    assert tar.extractfile("./dir/file").read() == b"x" * 100_000  # type: ignore[union-attr]
    assert (found["./second"].type, found["./second"].linkname) == (tarfile.LNKTYPE, "./dir/file")
    assert (found["./link"].type, found["./link"].linkname) == (tarfile.SYMTYPE, "/etc/passwd")
    assert found["./fifo"].isfifo()


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    tree = tmp_path / "tree"
    tree.mkdir()
    os.symlink("../outside", tree / "link")
    assert [(member.name, member.type) for member in packed(tree, name=b"link")] == [("link", tarfile.SYMTYPE)]


def test_the_archive_stays_whole_while_files_change(tmp_path: Path) -> None:
    """A writer swaps files for links and directories, truncates and removes, all the time."""
    for number in range(200):
        (tmp_path / f"f{number}").write_bytes(b"y" * 70_000)
    stopped = threading.Event()

    def disturb() -> None:
        turn = 0
        while not stopped.is_set():
            victim = tmp_path / f"f{turn % 200}"
            turn += 7
            try:
                victim.unlink()
                if turn % 3 == 0:
                    os.symlink("/etc/passwd", victim)
                elif turn % 3 == 1:
                    victim.mkdir()
                    victim.rmdir()
                else:
                    victim.write_bytes(b"y" * (turn % 70_000))
            except OSError:
                pass

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(10):
            tar = packed(tmp_path)
            for member in tar:
                if member.isreg():
                    content = tar.extractfile(member).read()  # type: ignore[union-attr]
                    assert len(content) == member.size
                    assert set(content) <= {0, ord("y")}
    finally:
        stopped.set()
        thread.join()


def test_too_deep_is_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEEPEST + 5):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(CorruptData, match="nested deeper"):
        packed(tmp_path)


@pytest.mark.kernel
def test_whiteouts_of_a_layer(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    os.mknod(tmp_path / "dir/gone", stat.S_IFCHR, 0)
    (tmp_path / "new").mkdir()
    os.setxattr(tmp_path / "new", "trusted.overlay.opaque", b"y")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").touch()
    names = [member.name for member in packed(tmp_path, layer=True, left_out=frozenset((b"etc/hosts",)))]
    assert names == [".", "./dir", "./dir/.wh.gone", "./etc", "./new", "./new/.wh..wh..opq"]


# changes


def compared(upper: Path, below: Path | None, own: frozenset[bytes] = frozenset()) -> list[tuple[bytes, int]]:
    first = os.open(upper, os.O_RDONLY)
    second = None if below is None else os.open(below, os.O_RDONLY)
    try:
        return Comparison(own).changes(first, second)
    finally:
        os.close(first)
        if second is not None:
            os.close(second)


@pytest.mark.kernel
def test_changes(tmp_path: Path) -> None:
    upper, below = tmp_path / "upper", tmp_path / "below"
    for path in ("etc", "var/log", "old/inside"):
        (below / path).mkdir(parents=True)
    (below / "etc/passwd").write_text("x")
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/passwd").write_text("y")
    (upper / "etc/new").write_text("z")
    (upper / "etc/hosts").touch()
    (upper / "fresh/deep").mkdir(parents=True)
    (upper / "var").mkdir()
    os.mknod(upper / "var/log", stat.S_IFCHR, 0)
    (upper / "old").mkdir()
    os.setxattr(upper / "old", "trusted.overlay.opaque", b"y")
    (upper / "old/other").touch()
    assert compared(upper, below, frozenset((b"etc/hosts",))) == [
        (b"etc", MODIFIED),
        (b"etc/new", ADDED),
        (b"etc/passwd", MODIFIED),
        (b"fresh", ADDED),
        (b"fresh/deep", ADDED),
        (b"old", DELETED),
        (b"old/other", ADDED),
        (b"var", MODIFIED),
        (b"var/log", DELETED),
    ]


def test_a_place_of_ours_that_was_filled_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "upper/etc").mkdir(parents=True)
    (tmp_path / "upper/etc/hosts").write_text("mine")
    (tmp_path / "below/etc").mkdir(parents=True)
    own = frozenset((b"etc/hosts",))
    assert compared(tmp_path / "upper", tmp_path / "below", own) == [(b"etc", MODIFIED), (b"etc/hosts", ADDED)]
    (tmp_path / "upper/etc/hosts").write_text("")
    os.utime(tmp_path / "upper/etc", (1, 1))
    assert compared(tmp_path / "upper", tmp_path / "below", own) == []


def test_without_anything_below_all_is_added(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    assert compared(tmp_path, None) == [(b"a", ADDED), (b"a/b", ADDED)]


NAMES = st.binary(min_size=1, max_size=200).filter(lambda name: not set(name) & {0, 0x2F} and name not in (b".", b".."))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6))
def test_any_name_and_content_comes_back(files: dict[bytes, bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(content)
        tar = packed(Path(folder))
        found = {os.fsencode(member.name)[2:]: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]
    assert found == files
