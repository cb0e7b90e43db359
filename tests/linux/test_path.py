"""Paths in a root: the walk and the kernel agree, and nothing outside is ever reached."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gorae.linux import libc, mount, namespace, path, process


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    inside = tmp_path / "root"
    inside.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    descriptor = os.open(inside, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "walk":
        monkeypatch.setattr(libc, "SYS", {name: number for name, number in libc.SYS.items() if name != "openat2"})
    return str(request.param)


def opened(root: int, where: str | bytes, flags: int = os.O_PATH) -> str:
    """What a path leads to, relative to the root, or the name of the error."""
    try:
        descriptor = path.open_in_root(root, where, flags)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    try:
        return "/" + os.path.relpath(path.path_of(descriptor), path.path_of(root)).removeprefix(".")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("where", "result"),
    [
        ("/etc/passwd", "/etc/passwd"),
        ("etc/passwd", "/etc/passwd"),
        ("../../../etc/passwd", "/etc/passwd"),
        ("absolute/passwd", "/etc/passwd"),
        ("up/passwd", "/etc/passwd"),
        ("chain", "/etc/passwd"),
        ("etc/../etc/./passwd", "/etc/passwd"),
        ("absolute/..", "/"),
        ("/", "/"),
        ("..", "/"),
        ("etc/", "/etc"),
        ("absolute/", "/etc"),
        ("absolute/.", "/etc"),
        ("etc/passwd/", "ENOTDIR"),
        ("etc/passwd/x", "ENOTDIR"),
        ("etc/missing", "ENOENT"),
        ("dangling", "ENOENT"),
        ("outside", "ENOENT"),
        ("loop", "ELOOP"),
        ("", "ENOENT"),
    ],
)
def test_links_stay_inside(root: int, way: str, tmp_path: Path, where: str, result: str) -> None:
    inside = tmp_path / "root"
    (inside / "etc").mkdir()
    (inside / "etc/passwd").write_text("x")
    for name, target in {
        "absolute": "/etc", "up": "../../../../etc", "chain": "absolute/../up/passwd", "dangling": "/nowhere/x", "loop": "loop",
        "outside": str(tmp_path / "outside"),
    }.items():  # fmt: skip
        (inside / name).symlink_to(target)
    assert opened(root, where) == result


def test_flags(root: int, way: str, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    (inside / "file").write_text("text")
    (inside / "link").symlink_to("file")
    (inside / "dangling").symlink_to("/made")
    descriptor = path.open_in_root(root, "link", os.O_RDWR)
    assert os.read(descriptor, 9) == b"text"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert opened(root, "link", os.O_RDONLY | os.O_NOFOLLOW) == "ELOOP"
    assert opened(root, "link", os.O_PATH | os.O_NOFOLLOW) == "/link"
    assert opened(root, "file", os.O_RDONLY | os.O_DIRECTORY) == "ENOTDIR"
    assert opened(root, "link", os.O_WRONLY | os.O_CREAT | os.O_EXCL) == "EEXIST"
    os.close(path.open_in_root(root, "dangling", os.O_WRONLY | os.O_CREAT, 0o600))
    assert stat.S_IMODE((inside / "made").stat().st_mode) == 0o600
    with pytest.raises(OSError) as caught:
        path.open_in_root(root, "link", os.O_RDONLY, resolve=path.RESOLVE_NO_SYMLINKS)
    assert caught.value.errno == errno.ELOOP
    assert (caught.value.strerror or "").startswith("openat")
    assert caught.value.filename == "link"


def test_magic_links_are_refused(way: str) -> None:
    proc = os.open("/proc", os.O_RDONLY)
    try:
        assert opened(proc, f"{os.getpid()}/root/etc") == "ELOOP"
        assert opened(proc, f"{os.getpid()}/fd/0") == "ELOOP"
        assert opened(proc, f"{os.getpid()}/status") == f"/{os.getpid()}/status"
    finally:
        os.close(proc)


names = st.sampled_from(["a", "b", "c"])
pieces = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=5).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=st.lists(st.tuples(pieces, st.one_of(st.none(), st.just(""), pieces.filter(bool))), max_size=8),
    where=st.lists(pieces.filter(bool), min_size=1, max_size=8),
)
def test_the_walk_agrees_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, tree: list[tuple[str, str | None]], where: list[str]
) -> None:
    inside = tmp_path_factory.mktemp("walk")
    root = os.open(inside, os.O_RDONLY)
    try:
        for place, target in tree:
            whole = inside / os.path.normpath("/" + place).lstrip("/")
            if os.path.lexists(whole) or not whole.parent.is_dir() or not whole.parent.resolve().is_relative_to(inside):
                continue
            if target is None:
                whole.mkdir()
            elif target:
                whole.symlink_to(target)
            else:
                whole.touch()
        for one in where:
            for flags in (os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY):
                by_kernel = opened(root, one, flags)
                try:
                    with path._Walk(root, one) as walk:
                        descriptor = walk.open(flags)
                    by_walk = "/" + os.path.relpath(path.path_of(descriptor), inside).removeprefix(".")
                    os.close(descriptor)
                except OSError as error:
                    by_walk = errno.errorcode[error.errno or 0]
                assert by_walk == by_kernel, (one, flags)
    finally:
        os.close(root)


def test_directories_are_made_inside(root: int, way: str, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    (inside / "out").symlink_to("../../outside")
    (inside / "file").touch()
    made = path.make_directories_in_root(root, "/out/x/../y/z", 0o700)
    assert path.path_of(made) == str(inside / "outside/y/z")
    assert stat.S_IMODE(os.fstat(made).st_mode) == 0o700
    os.close(made)
    again = path.make_directories_in_root(root, "out/y/z")
    assert path.path_of(again) == str(inside / "outside/y/z")
    os.close(again)
    assert sorted(os.listdir(tmp_path / "outside")) == ["secret"]
    for wrong in ("file", "file/x", "file/"):
        with pytest.raises(NotADirectoryError):
            path.make_directories_in_root(root, wrong)


def test_files_are_made_inside(root: int, way: str, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    (inside / "host").symlink_to(tmp_path / "outside" / "new")
    os.mkfifo(inside / "fifo")
    made = path.make_file_in_root(root, "a/b/hosts", 0o644)
    assert path.path_of(made) == str(inside / "a/b/hosts")
    os.close(made)
    made = path.make_file_in_root(root, "host")
    assert path.path_of(made).startswith(str(inside) + "/")
    os.close(made)
    assert sorted(os.listdir(tmp_path / "outside")) == ["secret"]
    made = path.make_file_in_root(root, "fifo")
    assert stat.S_ISFIFO(os.fstat(made).st_mode)
    os.close(made)


def test_files_are_read_bounded(root: int, way: str, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    (inside / "passwd").write_bytes(b"x" * 100)
    os.mkfifo(inside / "fifo")
    (inside / "link").symlink_to("/passwd")
    assert path.read_file_in_root(root, "link", 100) == b"x" * 100
    with pytest.raises(OSError) as caught:
        path.read_file_in_root(root, "passwd", 99)
    assert caught.value.errno == errno.EFBIG
    for wrong in ("fifo", "."):
        with pytest.raises(OSError, match="not a regular file"):
            path.read_file_in_root(root, wrong, 100)
    with pytest.raises(FileNotFoundError):
        path.read_file_in_root(root, "missing", 100)


def test_no_descriptor_is_left(root: int, way: str, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    (inside / "link").symlink_to("/a/b/../c")
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        os.close(path.make_directories_in_root(root, "link/d/e"))
        os.close(path.make_file_in_root(root, "link/d/f"))
        for wrong in ("link/d/f/g", "x/y", "link/../../nowhere/"):
            with pytest.raises(OSError):
                path.open_in_root(root, wrong, os.O_RDONLY)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.kernel
def test_a_directory_swapped_for_a_link_leads_nowhere(root: int, way: str, tmp_path: Path) -> None:
    """Somebody in the container swaps a directory and a link to the host all the time."""
    inside, outside = tmp_path / "root", tmp_path / "outside"
    (inside / "d").mkdir()
    (inside / "l").symlink_to("../outside")
    (inside / "outside").mkdir()
    rename_exchange = 2
    pid, pidfd = namespace.clone3(0)
    if pid == 0:
        one, other = os.fsencode(inside / "d"), os.fsencode(inside / "l")
        while True:
            libc.call("renameat2", libc.AT_FDCWD, one, libc.AT_FDCWD, other, rename_exchange)
    reached = set()
    try:
        for turn in range(400):
            made = path.make_directories_in_root(root, f"d/{turn}/x")
            place = path.path_of(made)
            os.close(made)
            assert place.startswith(f"{inside}/")
            reached.add(place.removeprefix(str(inside)).split("/")[1])
            os.close(path.make_file_in_root(root, f"d/{turn}.f"))
    finally:
        process.pidfd_send_signal(pidfd, 9)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
    assert os.listdir(outside) == ["secret"]
    # Both were met: the directory (under either of its names) and, through the link, the inside's own "outside".
    assert "outside" in reached
    assert reached & {"d", "l"}


@pytest.mark.kernel
def test_no_xdev_stops_at_a_mount(in_child, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()

    def child() -> int | None:
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.mount("tmpfs", str(tmp_path / "m"), "tmpfs")
        holder = os.open(tmp_path, os.O_RDONLY)
        os.close(path.open_in_root(holder, "m", os.O_PATH))
        try:
            path.open_in_root(holder, "m", os.O_PATH, resolve=path.RESOLVE_NO_XDEV)
        except OSError as error:
            return error.errno
        return None

    assert in_child(child, namespace.CLONE_NEWNS) == errno.EXDEV
