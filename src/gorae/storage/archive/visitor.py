"""The process that goes into a container's tree to read or write there, and can do nothing else.

    stdin    one line of JSON, the job; for `unpack` then the archive, as it arrives
    stdout   one line of JSON: what was found, or what is wrong; for `pack` and `layer` then the archive
    stderr   the last words of one that failed after its line; its exit status is then 1

    job      way        running {pidfd} · stopped {mounts, volumes, at} · bare {}
             work       stat {path} · pack {path} · export {} · unpack {path, owner, keeps_kinds, limits}
                        changes {upper, below, at, own} · layer {upper, own}
             packages   where compressors are found

Archives are decompressed here, by libraries loaded before the tree is entered: no program is ever executed, least of all one that
lies in the tree (CVE-2026-41567).

    python -I -S …/storage/archive/visitor.py
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # as a program we are found by path, and import nothing but ourselves and the standard library
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

import encodings.ascii
import encodings.utf_8
import errno
import json
import posixpath
import stat
from collections.abc import Callable
from typing import Any

from gorae.errors import CorruptData, GoraeError, InvalidArgument, NotFound
from gorae.linux import mount, path
from gorae.storage.archive import arrival
from gorae.storage.archive.difference import Comparison
from gorae.storage.archive.entry import Limits
from gorae.storage.archive.extract import Copy, Extractor
from gorae.storage.archive.pack import Packer
from gorae.storage.archive.reader import Reader

PORTION = 1 << 20
LOADED = (encodings.ascii, encodings.utf_8)
HOSTILE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EMLINK, errno.ENOENT)
LARGEST_PASSWD = 1 << 20
CAPABILITIES = {"unpack": arrival.WRITING, "export": arrival.COPYING, "changes": arrival.MARKS, "layer": arrival.MARKS}
# The bits of a file's mode as Go tells them (io/fs.FileMode), which is what Docker's clients read.
GO_KINDS = {
    stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFCHR: 1 << 26 | 1 << 21, stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24, stat.S_IFREG: 0,
}  # fmt: skip
GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def main() -> int:
    try:
        job: dict[str, Any] = json.loads(_line(0))
        begin = b""
        if job["work"] == "unpack":
            begin = _beginning(job["packages"])
        _enter(job)
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        WORKS[job["work"]](job, root, begin)
    except GoraeError as error:
        return _fail(type(error).__name__, str(error))
    except MemoryError:
        return _fail("CorruptData", "it takes more memory than is allowed")
    except OSError as error:
        if error.errno == errno.EROFS:
            return _fail("Forbidden", f"{_shown(error)}the volume or root file system is read-only")
        return _fail("OSError", f"{_shown(error)}{error.strerror}", error.errno or 0)
    return 0


def _fail(kind: str, message: str, number: int = 0) -> int:
    line = json.dumps({"error": kind, "message": message, "errno": number}).encode() + b"\n"
    os.write(2 if _told else 1, line)
    return 1


_told: list[bool] = []


def _tell(answer: dict[str, Any]) -> None:
    _told.append(True)
    _write(json.dumps(answer).encode() + b"\n")


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _shown(error: OSError) -> str:
    return f"{ascii(error.filename)[1:-1]}: " if isinstance(error.filename, str | bytes) else ""


# ── the way in ──


def _enter(job: dict[str, Any]) -> None:
    way = job["way"]
    if way["kind"] == "running":
        arrival.into_running(way["pidfd"])
    elif way["kind"] == "stopped":
        arrival.into_stopped(way["mounts"], way["volumes"], way["at"])
    if job["work"] == "changes":
        job["below"] = arrival.overlay(job["below"], job["at"]) if job["below"] else None
    arrival.confine(CAPABILITIES.get(job["work"], arrival.READING))


# ── the works ──


def _stat(job: dict[str, Any], root: int, _: bytes) -> None:
    _tell(_found(root, _cleaned(job["path"])))


def _pack(job: dict[str, Any], root: int, _: bytes) -> None:
    place = _cleaned(job["path"])
    found = _found(root, place)
    directory, name = _opened(root, place)
    called = b"/" if place == b"/" else os.path.basename(place.rstrip(b"/"))
    packer = Packer(1)
    _tell(found)
    inside = posixpath.normpath(place).strip(b"/")
    packer.add(directory, name, called or b".", b"" if inside == b"." else inside)
    packer.finish()


def _export(job: dict[str, Any], root: int, _: bytes) -> None:
    packer = Packer(1)
    tree = mount.open_tree(root, ".", mount.OPEN_TREE_CLONE)  # without what is mounted in it
    _tell({})
    packer.add(tree, b".", b".")
    packer.finish()


def _unpack(job: dict[str, Any], root: int, begin: bytes) -> None:
    place = _cleaned(job["path"])
    try:
        target = path.open_in_root(root, place, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"Could not find the file {job['path']}") from None
    if not stat.S_ISDIR(os.fstat(target).st_mode):
        raise InvalidArgument("extraction point is not a directory")
    os.close(target)
    owner = _owner(root, job["owner"]) if job["owner"] else None
    inside = posixpath.normpath(place).strip(b"/")
    copy = Copy(b"" if inside == b"." else inside, owner, job["keeps_kinds"])
    read = _plain(begin)
    reader = Reader(read, Limits(**job["limits"]))
    extractor = Extractor(root, whiteouts=False, copy=copy)
    try:
        for entry in reader:
            extractor.extract(entry, reader.portions())
        extractor.finish()
        while os.read(0, PORTION):
            pass  # padding
    except OSError as error:
        if error.errno in HOSTILE:
            raise CorruptData(f"the file system refuses a member: {_shown(error)}{error.strerror}") from None
        raise
    _tell({"size": extractor.size})


def _changes(job: dict[str, Any], root: int, _: bytes) -> None:
    found = Comparison(_paths(job["own"])).changes(job["upper"], job["below"])
    _tell({})
    _write(json.dumps([[os.fsdecode(place), kind] for place, kind in found]).encode())


def _layer(job: dict[str, Any], root: int, _: bytes) -> None:
    packer = Packer(1, layer=True, left_out=_paths(job["own"]))
    _tell({})
    packer.add(job["upper"], b".", b".")
    packer.finish()


WORKS: dict[str, Callable[[dict[str, Any], int, bytes], None]] = {
    "stat": _stat,
    "pack": _pack,
    "export": _export,
    "unpack": _unpack,
    "changes": _changes,
    "layer": _layer,
}


# ── paths ──


def _cleaned(text: str) -> bytes:
    """Absolute, without ".." and empty parts; a last "/" or "/." stays, for it means: what is behind the link."""
    raw = os.fsencode(text)
    if b"\0" in raw:
        raise InvalidArgument("a path has no NUL in it")
    cleaned = posixpath.normpath(b"/" + raw).replace(b"//", b"/")
    if cleaned == b"/":
        return cleaned + (b"." if raw.endswith(b"/.") or raw == b"." else b"")
    return cleaned + (b"/." if raw.endswith(b"/.") else b"/" if raw.endswith(b"/") else b"")


def _opened(root: int, place: bytes) -> tuple[int, bytes]:
    """The directory and the name in it; the directory itself (".") for one that ends in a slash."""
    above, _, last = place.rpartition(b"/")
    if last in (b"", b"."):
        return path.open_in_root(root, place, os.O_PATH | os.O_DIRECTORY), b"."
    return path.open_in_root(root, above or b"/", os.O_PATH | os.O_DIRECTORY), last


def _found(root: int, place: bytes) -> dict[str, Any]:
    """Docker's PathStat. Of a link its own, with the end of the chain as target."""
    try:
        directory, name = _opened(root, place)
        found = os.lstat(name, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"Could not find the file {os.fsdecode(place)}") from None
    target = _end_of(root, place) if stat.S_ISLNK(found.st_mode) else b""
    bits = sum(value for bit, value in GO_BITS.items() if found.st_mode & bit)
    called = b"/" if place == b"/" else os.path.basename(place.rstrip(b"/"))
    return {
        "name": os.fsdecode(called),
        "size": found.st_size,
        "mode": GO_KINDS.get(stat.S_IFMT(found.st_mode), 0) | bits | found.st_mode & 0o777,
        "mtime": found.st_mtime_ns,
        "link_target": os.fsdecode(target),
    }


def _end_of(root: int, place: bytes) -> bytes:
    """Where a chain of links ends, inside; one that leads nowhere is followed as far as it goes."""
    for _ in range(path.MOST_LINKS):
        above, _slash, last = place.rpartition(b"/")
        try:
            directory = path.open_in_root(root, above or b"/", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return place
        here = b"/" + _inside(directory)
        place = posixpath.join(here, last)
        try:
            link = os.readlink(last, dir_fd=directory)
        except OSError:
            return place
        finally:
            os.close(directory)
        place = posixpath.normpath(posixpath.join(here, link)).replace(b"//", b"/")
        if place == b"/":
            return place
    return place


def _inside(directory: int) -> bytes:
    """Where a directory is, below our root, by going up from it: /proc may be the container's own, and is not asked."""
    names: list[bytes] = []
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        root = os.stat("/")
        while not os.path.samestat(now := os.fstat(here), root):
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
            names.append(_name_of(above, now))
            os.close(here)
            here = above
    finally:
        os.close(here)
    return b"/".join(reversed(names))


def _name_of(above: int, wanted: os.stat_result) -> bytes:
    for name in os.listdir(above):
        try:
            if os.path.samestat(os.stat(name, dir_fd=above, follow_symlinks=False), wanted):
                return os.fsencode(name)
        except FileNotFoundError:
            continue
    raise NotFound("Could not find the file: it is moved meanwhile")


def _paths(given: list[str]) -> frozenset[bytes]:
    return frozenset(os.fsencode(each) for each in given)


# ── who owns what is copied ──


def _owner(root: int, user: str) -> tuple[int, int]:
    """`uid`, `name`, each with `:gid` or `:group`, in the tree's own files (never through the name service)."""
    name, _, group = user.partition(":")
    row = next((row for row in _rows(root, b"/etc/passwd") if row[0] == name or (len(row) > 3 and row[2] == name)), None)
    if row is not None and len(row) > 3 and row[2].isdigit() and row[3].isdigit():
        uid, gid = int(row[2]), int(row[3])
    elif name.isdigit():
        uid, gid = int(name), 0
    else:
        raise InvalidArgument(f"unable to find user {name}: no matching entries in passwd file")
    if group:
        found = next((row for row in _rows(root, b"/etc/group") if row[0] == group), None)
        number = found[2] if found and len(found) > 2 else group
        if not number.isdigit():
            raise InvalidArgument(f"unable to find group {group}: no matching entries in group file")
        gid = int(number)
    return uid, gid


def _rows(root: int, place: bytes) -> list[list[str]]:
    try:
        text = path.read_file_in_root(root, place, LARGEST_PASSWD).decode("utf-8", "replace")
    except OSError:
        return []
    return [line.split(":") for line in text.splitlines()]


# ── the archive on stdin ──


def _beginning(packages: list[str]) -> bytes:
    """The first bytes, and the library that they need: loaded now, while there is one."""
    begin = b""
    while len(begin) < 6 and (more := os.read(0, 6 - len(begin))):
        begin += more
    if not begin.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")):
        return begin
    sys.path += packages
    from gorae.storage.archive import compression, zstd

    global _decompressed
    _decompressed = compression.decompressed
    assert zstd
    return begin


_decompressed: Callable[[Callable[[], bytes]], Callable[[], bytes]] = lambda read: read  # noqa: E731


def _plain(begin: bytes) -> Callable[[], bytes]:
    held = [begin] if begin else []
    return _decompressed(lambda: held.pop() if held else os.read(0, PORTION))


def _line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)  # not one more: what follows is the archive
        if not byte:
            raise SystemExit("no job")
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
