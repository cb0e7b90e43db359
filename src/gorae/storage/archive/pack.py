"""A tree that somebody else may be changing becomes a tar archive.

    directory descriptor ──lstat──▶ kind ──openat2(one component, no link)──▶ descriptor ──fstat──▶ header, data

Nothing is opened that is no directory or regular file, no link is followed, and what a header says is what its descriptor says.
A file that shrinks meanwhile is filled up with zeros, one that grows is cut, one that vanishes is left out: the archive is whole
whatever happens to the tree (CVE-2018-15664, CVE-2026-41568).

With `layer` the tree is the upper directory of an overlay: whiteouts and opaque directories become those of the image
specification (`whiteout.py`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from gorae.errors import CorruptData
from gorae.linux import path, system
from gorae.storage.archive import whiteout
from gorae.storage.archive.entry import Entry, Kind
from gorae.storage.archive.writer import END, header, padding

DEEPEST = 900  # directories inside one another: each keeps a descriptor open
SMALL = 64 << 10  # what is copied through our own memory
FULL = 256 << 10
LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
INSIDE = path.RESOLVE_BENEATH | path.RESOLVE_NO_SYMLINKS
# File systems that are the kernel's own tables: their directory is told, not what it pretends to hold.
PRETENDED = frozenset(("proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs", "tracefs", "bpf"))
NODES = {stat.S_IFCHR: Kind.CHARACTER, stat.S_IFBLK: Kind.BLOCK, stat.S_IFIFO: Kind.FIFO}


@dataclass(slots=True)
class _Level:
    name: bytes  # in the archive
    place: bytes  # from the root of the tree
    descriptor: int
    device: int
    names: Iterator[bytes]


class Packer:
    """`add` what is wanted, then `finish`. `output` is a pipe or a file; `left_out` are paths from the root of the tree."""

    def __init__(self, output: int, *, layer: bool = False, left_out: frozenset[bytes] = frozenset()) -> None:
        self.size = 0  # of all regular files
        self._output = output
        self._layer = layer
        self._left_out = left_out
        self._buffer = bytearray()
        self._several: dict[tuple[int, int], bytes] = {}
        self._splices = True

    def add(self, directory: int, name: bytes, called: bytes, place: bytes = b"") -> None:
        """The entry `name` of a directory and all below it, as `called`. `place` is where it is in the tree.

        FileNotFoundError when it is not there; what vanishes below it later is left out.
        """
        level = self._one(directory, name, called, place, os.lstat(name, dir_fd=directory).st_dev)
        stack = [level] if level else []
        try:
            while stack:
                level = stack[-1]
                below = next(level.names, None)
                if below is None:
                    os.close(stack.pop().descriptor)
                    continue
                where = level.place + b"/" + below if level.place else below
                if where in self._left_out:
                    continue
                try:
                    deeper = self._one(level.descriptor, below, level.name.rstrip(b"/") + b"/" + below, where, level.device)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                if deeper is not None:
                    stack.append(deeper)
                if len(stack) > DEEPEST:
                    raise CorruptData(f"directories are nested deeper than {DEEPEST}")
        finally:
            for level in stack:
                os.close(level.descriptor)

    def finish(self) -> None:
        self._write(END)
        self._flush()

    # One entry

    def _one(self, directory: int, name: bytes, called: bytes, place: bytes, device: int) -> _Level | None:
        found = os.lstat(name, dir_fd=directory)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFDIR:
            return self._directory(directory, name, called, place, device)
        if kind == stat.S_IFREG:
            self._file(directory, name, called)
        elif kind == stat.S_IFLNK:
            link = os.readlink(name, dir_fd=directory)
            self._write(header(_entry(called, Kind.SYMLINK, found, link=link)))
        elif self._layer and kind == stat.S_IFCHR and not found.st_rdev:
            above, slash, last = called.rpartition(b"/")
            self._write(header(Entry(above + slash + whiteout.PREFIX + last, Kind.FILE, mode=0)))
        elif kind in NODES:
            device_number = os.major(found.st_rdev), os.minor(found.st_rdev)
            if not self._linked(found, called):
                self._write(header(_entry(called, NODES[kind], found, device=device_number)))
        return None  # a socket is nothing without who listens

    def _directory(self, directory: int, name: bytes, called: bytes, place: bytes, device: int) -> _Level | None:
        descriptor = open_inside(directory, name, LIST)
        try:
            found = os.fstat(descriptor)
            self._write(header(_entry(called, Kind.DIRECTORY, found, xattrs=_xattrs(descriptor))))
            if found.st_dev != device and (place == b"dev" or system.statfs(descriptor).name in PRETENDED):
                os.close(descriptor)
                return None
            if self._layer and is_opaque(descriptor):
                self._write(header(Entry(called.rstrip(b"/") + b"/" + whiteout.OPAQUE, Kind.FILE, mode=0)))
            names = iter(sorted(os.fsencode(name) for name in os.listdir(descriptor)))
        except BaseException:
            os.close(descriptor)
            raise
        return _Level(called, place, descriptor, found.st_dev, names)

    def _file(self, directory: int, name: bytes, called: bytes) -> None:
        descriptor = open_inside(directory, name, READ)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return  # it was another file a moment ago
            if self._linked(found, called):
                return
            self._write(header(_entry(called, Kind.FILE, found, xattrs=_xattrs(descriptor))))
            self._content(descriptor, found.st_size)
            self._write(padding(found.st_size))
            self.size += found.st_size
        finally:
            os.close(descriptor)

    def _linked(self, found: os.stat_result, called: bytes) -> bool:
        """A second name of a file that is in the archive already."""
        if found.st_nlink < 2:
            return False
        first = self._several.setdefault((found.st_dev, found.st_ino), called)
        if first == called:
            return False
        self._write(header(_entry(called, Kind.LINK, found, link=first)))
        return True

    # Bytes

    def _content(self, descriptor: int, size: int) -> None:
        left = size
        if size > SMALL:
            self._flush()
        while left and size > SMALL and self._splices:
            try:
                sent = os.sendfile(self._output, descriptor, None, left)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                self._splices = False  # this file system, or this kernel, cannot: through our memory
                break
            if not sent:
                break
            left -= sent
        while left and (piece := os.read(descriptor, min(left, FULL))):
            self._write(piece)
            left -= len(piece)
        while left:
            self._write(bytes(min(left, FULL)))
            left -= min(left, FULL)

    def _write(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= FULL:
            self._flush()

    def _flush(self) -> None:
        view = memoryview(self._buffer)
        while view:
            view = view[os.write(self._output, view) :]
        self._buffer = bytearray()


def open_inside(directory: int, name: bytes, flags: int) -> int:
    """One component, which is no link."""
    try:
        return path.openat2(directory, name, flags, resolve=INSIDE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "it has become a link", os.fsdecode(name)) from None
        if error.errno != errno.ENOSYS:
            raise
    return os.open(name, flags, dir_fd=directory)


def _entry(
    called: bytes,
    kind: Kind,
    found: os.stat_result,
    *,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: dict[bytes, bytes] | None = None,
) -> Entry:
    return Entry(
        called,
        kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size if kind is Kind.FILE else 0,
        mtime=found.st_mtime_ns,
        link=link,
        major=device[0],
        minor=device[1],
        xattrs=xattrs or {},
    )


def _xattrs(descriptor: int) -> dict[bytes, bytes]:
    try:
        names = [os.fsencode(name) for name in os.listxattr(descriptor)]
        return {name: os.getxattr(descriptor, name) for name in names if not whiteout.unwanted_xattr(name)}
    except OSError:
        return {}  # not on this file system


def is_opaque(descriptor: int) -> bool:
    try:
        return os.getxattr(descriptor, whiteout.OPAQUE_XATTR) == b"y"
    except OSError:
        return False
