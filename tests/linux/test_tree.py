from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gorae.linux import libc, mount, namespace, tree


@pytest.fixture(params=["openat2", "openat"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "openat":
        monkeypatch.setattr(libc, "SYS", {name: number for name, number in libc.SYS.items() if name != "openat2"})
    return str(request.param)


@pytest.fixture
def holder(tmp_path: Path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_everything_goes_and_nothing_else(holder: int, way: str, tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "file").write_text("x")
    for branch in ("t/a/b/c", "t/a/d", "t/e"):
        (tmp_path / branch).mkdir(parents=True)
        (tmp_path / branch / "file").touch()
    os.mkfifo(tmp_path / "t/a/fifo")
    os.mkdir(tmp_path / os.fsdecode(b"t/\xff\xfe"))
    (tmp_path / "t/a/b/out").symlink_to(keep)
    (tmp_path / "t/e/out").symlink_to("../../keep")
    (tmp_path / "t/e").chmod(0)
    before = sorted(os.listdir("/proc/self/fd"))
    tree.remove_tree(holder, "t")
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == ["keep"]
    assert os.listdir(keep) == ["file"]


def test_a_file_or_a_link_alone(holder: int, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").touch()
    (tmp_path / "link").symlink_to("dir")
    tree.remove_tree(holder, "link")
    assert (tmp_path / "dir/file").exists()
    with pytest.raises(FileNotFoundError, match="unlinkat"):
        tree.remove_tree(holder, "link")
    tree.remove_tree(holder, "link", missing_ok=True)


@pytest.mark.parametrize("wrong", ["", ".", "..", "a/b", "/"])
def test_only_one_component(holder: int, wrong: str) -> None:
    with pytest.raises(ValueError):
        tree.remove_tree(holder, wrong)


def test_depth_costs_nothing(holder: int, tmp_path: Path) -> None:
    depth = 3000
    at = os.open(tmp_path, os.O_RDONLY)
    for name in ["deep"] + ["d"] * depth:
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    tree.remove_tree(holder, "deep")
    assert os.listdir(tmp_path) == []


@pytest.mark.kernel
def test_a_mount_stops_it(in_child, way: str, tmp_path: Path) -> None:
    """A bind mount of the same file system, which no device number tells apart."""
    (tmp_path / "t/a/m").mkdir(parents=True)
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/file").touch()

    def child() -> list[object]:
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.mount(str(tmp_path / "keep"), str(tmp_path / "t/a/m"), None, mount.MS_BIND)
        holder = os.open(tmp_path, os.O_RDONLY)
        try:
            tree.remove_tree(holder, "t")
        except OSError as error:
            return [error.errno, os.path.exists(tmp_path / "keep/file")]
        return []

    assert in_child(child, namespace.CLONE_NEWNS) == [errno.EXDEV, True]
