"""Archives, good and hostile, through the real worker into a real directory."""

# ruff: noqa: ASYNC240, B008 (the test's own files; limits are frozen)

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tests.storage.tars import directory, hardlink, member, raw, special, symlink, tar

from gorae.errors import CorruptData, StorageFull
from gorae.linux.inotify import IN_CREATE, Inotify
from gorae.linux.tree import remove_tree
from gorae.storage.archive import pax
from gorae.storage.archive.entry import Entry, Kind, Limits
from gorae.storage.archive.unpack import Unpacked, unpacking

pytestmark = pytest.mark.kernel

Unpack = Callable[..., Awaitable[Unpacked]]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.fixture
def unpack(tmp_path: Path, target: Path) -> Unpack:
    async def run(data: bytes, *, lowers: Sequence[Path] = (), limits: Limits = Limits(), hash: str = "sha256") -> Unpacked:
        (tmp_path / "archive").write_bytes(data)
        archive = os.open(tmp_path / "archive", os.O_RDONLY)
        try:
            below = [str(path) for path in lowers]
            async with unpacking(archive, str(target), lowers=below, limits=limits, sync=False, hash=hash) as work:
                return await work.result()
        finally:
            os.close(archive)

    return run


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below, with type and mode, owner, and time."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_mtime_ns)
    return found


async def test_everything_a_member_can_be(unpack: Unpack, target: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    data = tar(
        directory("d", mode=0o3775, uid=10, gid=20, mtime=1000),
        member("d/f", b"content", mode=0o6755, uid=11, gid=21, mtime=2000),
        member("d/root", b"", mode=0o600),
        symlink("d/l", "/nowhere/at/all"),
        hardlink("d/h", "d/f"),
        member("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666, uid=5),
        member("b", type=tarfile.BLKTYPE, devmajor=7, devminor=99, mode=0o660),
        member("p", type=tarfile.FIFOTYPE, mode=0o622),
        member("./deep/er/than/mentioned", b"x"),
        directory(".", mode=0o711, uid=3, mtime=77),
    ) + b"trailing"
    entry = Entry(b"ping", Kind.FILE, 0o755, size=4, mtime=1_500_000_000_123456789)
    entry.xattrs = {
        b"security.capability": capability,
        b"user.note": b"hi",
        b"trusted.overlay.redirect": b"/etc",
        b"user.overlay.opaque": b"y",
        b"security.selinux": b"x",
    }
    data = raw((entry, b"ping"))[:-1024] + data
    result = await unpack(data)
    assert result.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert (result.entries, result.size, result.ignored) == (11, 4 + 7 + 1, 3)
    status = (target / "d").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime) == (0o3775, 10, 20, 1000)
    status = (target / "d/f").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime) == (0o6755, 11, 21, 2000)
    assert status.st_nlink == 2
    assert (target / "d/h").read_bytes() == b"content"
    assert ((target / "d/root").lstat().st_uid, (target / "d/root").lstat().st_gid) == (0, 0)
    assert os.readlink(target / "d/l") == "/nowhere/at/all"
    assert stat.S_ISCHR((target / "c").lstat().st_mode)
    assert ((target / "c").lstat().st_rdev, (target / "c").lstat().st_uid) == (os.makedev(1, 3), 5)
    assert (target / "b").lstat().st_rdev == os.makedev(7, 99)
    assert stat.S_ISFIFO((target / "p").lstat().st_mode)
    assert stat.S_IMODE((target / "p").lstat().st_mode) == 0o622
    assert (target / "deep/er/than/mentioned").read_bytes() == b"x"
    assert stat.S_IMODE((target / "deep").lstat().st_mode) == 0o755
    assert (stat.S_IMODE(target.lstat().st_mode), target.lstat().st_uid, target.lstat().st_mtime) == (0o711, 3, 77)
    assert (target / "ping").lstat().st_mtime_ns == 1_500_000_000_123456789
    assert sorted(os.listxattr(target / "ping")) == ["security.capability", "user.note"]
    assert os.getxattr(target / "ping", "security.capability") == capability


async def test_whiteouts_become_overlayfs_s(unpack: Unpack, target: Path) -> None:
    await unpack(
        tar(
            directory("d"),
            member("d/.wh..wh..opq"),
            member("d/new", b"x"),
            member("e/.wh.gone"),
            member("kept", b"1"),
            member(".wh.kept"),
            directory("again"),
            member("again/inside"),
            member(".wh.again"),
            member(".wh.turned"),
            directory("turned"),
            member(".wh.filed"),
            member("filed", b"2"),
            member(".wh..wh.plnk"),
            member(".wh..wh.aufs/x"),
        )
    )
    gone = (target / "e/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    opaque = {name for name in ("d", "e", "again", "turned") if "trusted.overlay.opaque" in os.listxattr(target / name)}
    assert opaque == {"d", "again", "turned"}
    assert (target / "kept").read_bytes() == b"1"
    assert (target / "again/inside").exists()
    assert (target / "filed").read_bytes() == b"2"
    assert not [path for path in tree(target) if "plnk" in path]


async def test_sparse_files_keep_their_holes(unpack: Unpack, target: Path) -> None:
    records = pax.format([(b"GNU.sparse.size", b"50000000"), (b"GNU.sparse.map", b"0,4,40000000,6"), (b"GNU.sparse.name", b"real")])
    result = await unpack(special(b"x", records) + tar(member("GNUSparseFile.0/real", b"headmiddle")))
    status = (target / "real").lstat()
    assert (status.st_size, result.size) == (50_000_000, 50_000_000)
    assert status.st_blocks * 512 < 1 << 20
    with (target / "real").open("rb") as file:
        assert file.read(5) == b"head\0"
        file.seek(40_000_000)
        assert file.read(7) == b"middle\0"


async def test_later_members_win(unpack: Unpack, target: Path) -> None:
    await unpack(
        tar(
            member("a", b"1"),
            member("a", b"2", mode=0o640),
            directory("b"),
            member("b/x"),
            member("b", b"file"),
            member("c"),
            directory("c", mode=0o700, mtime=9),
            member("c/y", b"y"),
            directory("c", mode=0o750, mtime=10),
            symlink("d", "c"),
            member("d", b"not through the link"),
            directory("e"),
            symlink("e", "c"),
        )
    )
    assert (target / "a").read_bytes() == b"2"
    assert (target / "b").read_bytes() == b"file"
    assert ((target / "c").stat().st_mode & 0o7777, (target / "c").stat().st_mtime) == (0o750, 10)
    assert (target / "c/y").read_bytes() == b"y"
    assert (target / "d").read_bytes() == b"not through the link"
    assert os.readlink(target / "e") == "c"


async def test_links_lead_inside(unpack: Unpack, target: Path) -> None:
    await unpack(
        tar(
            directory("usr/lib", mode=0o755),
            symlink("lib", "usr/lib"),
            member("lib/one", b"1"),
            symlink("abs", "/usr"),
            member("abs/lib/two", b"2"),
            symlink("up", "../../../../usr/lib"),
            member("up/three", b"3"),
            hardlink("four", "abs/lib/two"),
            member("/rooted", b"5"),
            member("usr/../dotted", b"6"),
        )
    )
    assert sorted(os.listdir(target / "usr/lib")) == ["one", "three", "two"]
    assert (target / "four").stat().st_ino == (target / "usr/lib/two").stat().st_ino
    assert (target / "rooted").read_bytes() + (target / "dotted").read_bytes() == b"56"


async def test_what_a_layer_takes_from_those_below(unpack: Unpack, target: Path, tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for layer in (upper, lower):
        (layer / "d").mkdir(parents=True)
    os.chown(upper / "d", 30, 40)
    os.chmod(upper / "d", 0o1777)
    (lower / "d/file").write_bytes(b"below")
    os.chmod(lower / "d/file", 0o4711)
    os.chown(lower / "d/file", 8, 9)
    os.chmod(lower / "d/file", 0o4711)
    os.utime(lower / "d/file", (50, 50))
    await unpack(tar(hardlink("d/link", "d/file")), lowers=[upper, lower])
    status = (target / "d").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (30, 40, 0o1777)
    status = (target / "d/link").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime) == (8, 9, 0o4711, 50)
    assert (target / "d/link").read_bytes() == b"below"
    assert (lower / "d/file").stat().st_nlink == 1


LONG = "n" * 255

HOSTILE: dict[str, bytes] = {
    "dot dot": tar(member("../escaped", b"x")),
    "dot dot deeper": tar(member("a/../../escaped", b"x")),
    "dot dot directory": tar(directory("../escaped")),
    "dot dot link": tar(hardlink("h", "../canary")),
    "dot dot whiteout": tar(member("..//.wh.canary")),
    "whiteout of dot dot": tar(member(".wh...")),
    "whiteout of dot": tar(member(".wh..")),
    "whiteout of nothing": tar(member(".wh.")),
    "root as a file": tar(member(".", b"x")),
    "root as a link": tar(symlink("./", "/etc")),
    "a file as a directory": tar(member("a", b"x"), member("a/b", b"y")),
    "a device as a directory": tar(member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3), member("a/b", b"y")),
    "hard link to nothing": tar(hardlink("h", "nothing")),
    "hard link to itself": tar(hardlink("h", "h")),
    "hard link to itself, replacing": tar(member("h", b"x"), hardlink("h", "./h")),
    "hard link to a directory": tar(directory("d"), hardlink("h", "d")),
    "hard link to the root": tar(hardlink("h", ".")),
    "hard link to a host file": tar(hardlink("h", "/etc/passwd")),
    "symbolic link to nothing": tar(symlink("s", "")),
    "link loop": tar(symlink("a", "b"), symlink("b", "a"), member("a/x", b"y")),
    "component too long": tar(member(LONG + "x", b"")),
    "truncated": tar(member("a", b"x" * 5000))[:3000],
    "garbage": os.urandom(5000),
    "pax digits": special(b"x", b"1" * 1_000_000) + tar(member("a")),
    "huge header": special(b"L", b"n" * (10 << 20)) + tar(member("a")),
    "id out of range": special(b"x", pax.format([(b"uid", b"4294967295")])) + tar(member("a")),
    "truncated gzip": gzip.compress(tar(member("a", os.urandom(5000))))[:-3000],
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_is_refused_and_harms_nothing(unpack: Unpack, target: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "canary").write_bytes(b"canary")
    before = {path: state for path, state in tree(tmp_path).items() if not path.startswith(("target", "archive"))}
    with pytest.raises(CorruptData):
        await unpack(HOSTILE[what])
    assert {path: state for path, state in tree(tmp_path).items() if not path.startswith(("target", "archive"))} == before


HARMLESS: dict[str, bytes] = {
    "link out, then through it": tar(symlink("out", "/"), member("out/escaped", b"x")),
    "link up, then through it": tar(symlink("up", ".."), member("up/escaped", b"x")),
    "link to the canary, then over it": tar(symlink("l", "../canary"), member("l", b"overwritten")),
    "link to the canary, then chmod by hard link": tar(symlink("l", "../canary"), hardlink("h", "l", mode=0o777)),
    "hard link to a link, then over it": tar(symlink("l", "../canary"), hardlink("h", "l"), member("h", b"new", mode=0o777)),
    "directory over a link": tar(symlink("d", ".."), directory("d", mode=0o777, uid=99)),
    "device named as a directory's child": tar(directory("dev"), member("dev/sda", type=tarfile.BLKTYPE, devmajor=254, devminor=0)),
    "magic link": tar(symlink("p", "/proc/self/root"), member("q", b"x")),
    "absolute": tar(member("//////canary", b"x")),
    "link to the parent's name": tar(symlink("a", "../target"), member("b", b"x")),
    "two ways to one file": tar(member("f", b"1"), hardlink("g", "f"), member("g", b"2")),
}


@pytest.mark.parametrize("what", HARMLESS)
async def test_what_is_unpacked_and_stays_inside(unpack: Unpack, target: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "canary").write_bytes(b"canary")
    before = {path: state for path, state in tree(tmp_path).items() if not path.startswith(("target", "archive"))}
    await unpack(HARMLESS[what])
    assert {path: state for path, state in tree(tmp_path).items() if not path.startswith(("target", "archive"))} == before
    assert (tmp_path / "canary").read_bytes() == b"canary"


async def test_two_ways_to_one_file_are_parted(unpack: Unpack, target: Path) -> None:
    await unpack(HARMLESS["two ways to one file"])
    assert ((target / "f").read_bytes(), (target / "g").read_bytes()) == (b"1", b"2")


async def test_limits_hold(unpack: Unpack) -> None:
    with pytest.raises(CorruptData, match="more than 9 members"):
        await unpack(tar(*(member(str(number)) for number in range(10))), limits=Limits(entries=9))
    bomb = gzip.compress(tar(member("zeros", bytes(64 << 20))))
    with pytest.raises(CorruptData, match="more than 50000000 bytes"):
        await unpack(bomb, limits=Limits(size=50_000_000))
    claim = special(b"x", pax.format([(b"size", b"%d" % (1 << 50))])) + tar(member("a"))
    with pytest.raises(StorageFull, match="bytes that are free"):
        await unpack(claim, limits=Limits(size=1 << 60))


async def test_many_deep_directories(unpack: Unpack, target: Path) -> None:
    deep = "/".join(["d"] * 400)
    await unpack(tar(member(deep + "/f", b"x"), *(directory(f"w{number}", mtime=number) for number in range(500))))
    assert (target / "w499").stat().st_mtime == 499
    parent = os.open(target, os.O_RDONLY)
    remove_tree(parent, "d")  # pytest's own way of removing recurses
    os.close(parent)


async def test_an_archive_that_is_still_growing(target: Path, tmp_path: Path) -> None:
    data = tar(*(member(f"f{number}", os.urandom(50_000)) for number in range(40)))
    with (tmp_path / "growing").open("w+b", buffering=0) as file:
        async with unpacking(file.fileno(), str(target), follow=True, sync=False) as work:
            for start in range(0, len(data), 300_000):
                file.write(data[start : start + 300_000])
                await asyncio.to_thread(work.grown, min(start + 300_000, len(data)))
            result = await work.result()
    assert result.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert len(os.listdir(target)) == 40


async def test_giving_up_kills_the_worker(target: Path, tmp_path: Path) -> None:
    started = asyncio.Event()
    pids: list[int] = []
    waiting = asyncio.create_task(_wait_inside(target, tmp_path, started, pids))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not os.path.exists(f"/proc/{pids[0]}")


async def _wait_inside(target: Path, tmp_path: Path, started: asyncio.Event, pids: list[int]) -> None:
    with (tmp_path / "growing").open("w+b", buffering=0) as file:
        async with unpacking(file.fileno(), str(target), follow=True) as work:
            pids.append(work.pid)
            started.set()
            await asyncio.Event().wait()


async def appears(directory: Path, name: str) -> None:
    """Wait for the kernel to say so."""
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    inotify = Inotify()
    inotify.add(str(directory), IN_CREATE)
    loop.add_reader(inotify.fileno(), seen.set)
    try:
        if not (directory / name).exists():
            await seen.wait()
    finally:
        loop.remove_reader(inotify.fileno())
        inotify.close()


async def test_the_worker_has_few_rights(target: Path, tmp_path: Path) -> None:
    with (tmp_path / "growing").open("w+b", buffering=0) as file:
        async with unpacking(file.fileno(), str(target), follow=True, sync=False) as work:
            data = tar(member("first"), member("second", bytes(1 << 20)))
            file.write(data[:4096])
            work.grown(4096)
            await appears(target, "first")
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{work.pid}/status").read_text().splitlines())
            limits = Path(f"/proc/{work.pid}/limits").read_text()
            root = os.readlink(f"/proc/{work.pid}/root")
            file.write(data[4096:])
            await work.result()
    kept = sum(1 << number for number in (0, 1, 3, 4, 21, 27, 31))
    assert all(int(status[name], 16) & ~kept == 0 for name in ("CapPrm", "CapEff", "CapBnd"))
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert root == str(target)
    assert "536870912" in next(line for line in limits.splitlines() if line.startswith("Max address space"))
