"""Members of an archive become files below one descriptor.

    name ──lexically──▶ parts, never above the root ──▶ directory descriptor ──*at(2) with one component──▶ file

A directory is reached with openat2(IN_ROOT | NO_MAGICLINKS | NO_XDEV), so a link in the archive leads inside, as it would in
the container. The last component is never followed: it is made with O_EXCL, and what is in its place is removed first. Owner
and mode go through the new file's descriptor, hard links get none (CVE-2021-32760: a chmod through a link). Times and modes of
directories come last of all, from the innermost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gorae.errors import CorruptData, InvalidArgument
from gorae.linux.path import RESOLVE_NO_XDEV, make_directories_in_root, open_in_root
from gorae.linux.tree import remove_tree
from gorae.storage.archive import whiteout
from gorae.storage.archive.entry import Entry, Kind

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_OPEN = 64  # directories
LATEST = 1 << 34  # seconds: what ext4 can hold
NODES = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


class _Directory(NamedTuple):
    """How a directory shall look when all is in it."""

    inode: int
    mode: int
    mtime: int


class Copy(NamedTuple):
    """Into a tree that is somebody's already, at the directory `into`: `docker cp`. Links on the way are followed, mounts crossed.

    `owner` (uid, gid) takes the place of the archive's; `keeps_kinds`: a directory is not replaced by a file, nor a file by one.
    """

    into: bytes = b""
    owner: tuple[int, int] | None = None
    keeps_kinds: bool = False


class Extractor:
    """`extract` each member, then `finish()`.

    `lowers` are directories of the layers below, the nearest first: an archive may name a file of theirs as the target of a
    hard link, and a directory that it does not describe itself looks as it does there.
    """

    def __init__(self, root: int, lowers: Sequence[int] = (), *, whiteouts: bool = True, copy: Copy | None = None) -> None:
        self.size = 0
        self.ignored = 0  # extended attributes and bookkeeping that were left out
        self._root = root
        self._lowers = lowers
        self._whiteouts = whiteouts
        self._copy = copy
        self._resolve = 0 if copy else RESOLVE_NO_XDEV
        self._open: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # path → descriptor, group
        self._directories: dict[bytes, _Directory] = {}
        os.umask(0)

    def extract(self, entry: Entry, portions: Iterable[memoryview]) -> None:
        """Raises `CorruptData` for what leads out or cannot be, `OSError` for what the file system refuses."""
        path = clean(entry.name)
        if self._copy is not None:
            if not path:
                return  # the directory that is copied into stays as it is
            path = self._within(path)
            if self._copy.owner is not None:
                entry.uid, entry.gid = self._copy.owner
        parent, _, name = path.rpartition(b"/")
        if not name:
            if entry.kind is not Kind.DIRECTORY:
                raise CorruptData("the archive's root is not a directory")
            self._describe(b"", self._root, entry)
            return
        if self._whiteouts and name.startswith(whiteout.PREFIX):
            self._white_out(parent, name)
            return
        directory, group = self._directory(parent)
        try:
            self._make(entry, portions, path, directory, group, name)
        except FileExistsError:
            self._make_instead(entry, portions, path, parent, name)

    def finish(self) -> None:
        """Directories get their modes and times, the innermost first."""
        for path in sorted(self._directories, key=lambda path: path.count(b"/"), reverse=True):
            wanted = self._directories[path]
            try:
                descriptor = self._existing(path)
            except CorruptData:
                continue  # a file has replaced it
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                continue  # a link has
            # Or it is another directory by now, or a link to one.
            if descriptor is not None and os.fstat(descriptor[0]).st_ino == wanted.inode:
                os.fchmod(descriptor[0], wanted.mode)
                os.utime(descriptor[0], ns=(wanted.mtime, wanted.mtime))
        self._forget()

    def _make(self, entry: Entry, portions: Iterable[memoryview], path: bytes, directory: int, group: int, name: bytes) -> None:
        kind = entry.kind
        mtime = _bounded(entry.mtime)
        if kind is Kind.FILE:
            self._file(entry, portions, directory, group, name, mtime)
        elif kind is Kind.DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=directory)
            self._describe_new(entry, path, directory, name)
        elif kind is Kind.SYMLINK:
            if not entry.link:
                raise CorruptData(f"{shown(path)}: a link to nothing")
            os.symlink(entry.link, name, dir_fd=directory)
            self._own(entry, directory, name, mtime)
        elif kind is Kind.LINK:
            self._link(entry, path, directory, name)
        else:
            device = 0 if kind is Kind.FIFO else os.makedev(entry.major, entry.minor)
            os.mknod(name, NODES[kind] | entry.mode & 0o1777, device, dir_fd=directory)
            self._own(entry, directory, name, mtime)

    def _make_instead(self, entry: Entry, portions: Iterable[memoryview], path: bytes, parent: bytes, name: bytes) -> None:
        """The name is taken. A directory stays one, with what is in it; anything else makes room."""
        directory, group = self._directory(parent)
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode) and entry.kind is Kind.DIRECTORY:
            self._describe_new(entry, path, directory, name)
            return
        if self._copy is not None and self._copy.keeps_kinds and stat.S_ISDIR(found.st_mode) != (entry.kind is Kind.DIRECTORY):
            kinds = ("directory", "non-directory") if stat.S_ISDIR(found.st_mode) else ("non-directory", "directory")
            raise InvalidArgument(f"cannot overwrite {kinds[0]} {shown(path)} with {kinds[1]} {shown(path)}")
        if entry.kind is Kind.LINK and self._within(clean(entry.link)) == path:
            raise CorruptData(f"{shown(path)}: a hard link to itself")
        self._forget()  # a descriptor kept open may be of what goes now
        directory, group = self._directory(parent)
        remove_tree(directory, name)
        self._make(entry, portions, path, directory, group, name)
        if entry.kind is Kind.DIRECTORY and stat.S_ISCHR(found.st_mode) and not found.st_rdev:
            # Whited out by this archive, then made anew: what lower layers have in it stays gone.
            os.setxattr(self._directory(path)[0], whiteout.OPAQUE_XATTR, b"y")

    def _file(self, entry: Entry, portions: Iterable[memoryview], directory: int, group: int, name: bytes, mtime: int) -> None:
        descriptor = os.open(name, NEW, entry.mode & 0o777, dir_fd=directory)
        try:
            if entry.extents is None:
                for portion in portions:
                    while portion:
                        portion = portion[os.write(descriptor, portion) :]
            else:
                _write_extents(descriptor, entry, portions)
            self.size += entry.size
            # A directory may give its group away (set-group-id, or the mount option grpid), so only what is root's in root's
            # needs nothing. chown(2) clears the set-id bits and removes capabilities: it comes before both.
            if entry.uid or entry.gid or group:
                os.fchown(descriptor, entry.uid, entry.gid)
            if entry.mode & 0o7000:
                os.fchmod(descriptor, entry.mode)
            if entry.xattrs:
                self._set_xattrs(entry, descriptor)
            os.utime(descriptor, ns=(mtime, mtime))
        finally:
            os.close(descriptor)

    def _describe_new(self, entry: Entry, path: bytes, directory: int, name: bytes) -> None:
        descriptor = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        self._remember(path, descriptor)
        self._describe(path, descriptor, entry)

    def _describe(self, path: bytes, descriptor: int, entry: Entry) -> None:
        os.fchown(descriptor, entry.uid, entry.gid)
        if path in self._open:
            self._open[path] = (self._open[path][0], entry.gid)
        self._set_xattrs(entry, descriptor)
        self._directories[path] = _Directory(os.fstat(descriptor).st_ino, entry.mode, _bounded(entry.mtime))

    def _own(self, entry: Entry, directory: int, name: bytes, mtime: int) -> None:
        """Of a link or a node, which are not opened."""
        os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        if entry.xattrs:
            os.fchdir(directory)  # setxattr(2) has no *at form before Linux 6.13
            self._set_xattrs(entry, name)
        os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)

    def _link(self, entry: Entry, path: bytes, directory: int, name: bytes) -> None:
        above, _, last = self._within(clean(entry.link)).rpartition(b"/")
        source = self._existing(above)
        if source is not None:
            try:
                os.link(last or b".", name, src_dir_fd=source[0], dst_dir_fd=directory, follow_symlinks=False)
                return
            except FileNotFoundError:
                pass
            except PermissionError:
                raise CorruptData(f"{shown(path)}: a hard link to {shown(entry.link)}, which is a directory") from None
        for lower in self._lowers:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._copy_up(lower, above, last, directory, name)
                return
        raise CorruptData(f"{shown(path)}: a hard link to {shown(entry.link)}, which is not there")

    def _copy_up(self, lower: int, above: bytes, last: bytes, directory: int, name: bytes) -> None:
        """A file of a lower layer gets a second name in this one: that is a copy, as overlayfs would make."""
        with contextlib.ExitStack() as stack:
            source = open_in_root(lower, above or b".", DIRECTORY, resolve=RESOLVE_NO_XDEV)
            stack.callback(os.close, source)
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
            stack.callback(os.close, descriptor)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise CorruptData(f"{shown(name)}: a hard link to {shown(last)} of a lower layer, which is no regular file")
            mode = stat.S_IMODE(found.st_mode)
            entry = Entry(name, Kind.FILE, mode, found.st_uid, found.st_gid, found.st_size)
            for key in os.listxattr(descriptor):
                entry.xattrs[os.fsencode(key)] = os.getxattr(descriptor, key)
            portions = iter(lambda: memoryview(os.read(descriptor, 1 << 20)), memoryview(b""))
            self._file(entry, portions, directory, 1, name, found.st_mtime_ns)

    def _white_out(self, parent: bytes, name: bytes) -> None:
        if name == whiteout.OPAQUE:
            os.setxattr(self._directory(parent)[0], whiteout.OPAQUE_XATTR, b"y")
            return
        if name.startswith(whiteout.BOOKKEEPING):
            self.ignored += 1
            return
        victim = name[len(whiteout.PREFIX) :]
        if victim in (b"", b".", b".."):
            raise CorruptData(f"{shown(name)} is no whiteout")
        directory, _ = self._directory(parent)
        try:
            os.mknod(victim, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)
        except FileExistsError:
            # Whiteouts are about lower layers only, whatever the order in the archive: what this one brought stays, by itself.
            if stat.S_ISDIR(os.stat(victim, dir_fd=directory, follow_symlinks=False).st_mode):
                os.setxattr(self._directory(parent + b"/" + victim if parent else victim)[0], whiteout.OPAQUE_XATTR, b"y")

    def _set_xattrs(self, entry: Entry, target: int | bytes) -> None:
        for key, value in entry.xattrs.items():
            if whiteout.unwanted_xattr(key):
                self.ignored += 1
                continue
            try:
                os.setxattr(target, key, value, follow_symlinks=isinstance(target, int))
            except OSError as error:
                # user.* is for files and directories (man 7 xattr), and not on every file system.
                if not key.startswith(b"user.") or error.errno not in (errno.EPERM, errno.ENOTSUP):
                    raise
                self.ignored += 1

    # Directories

    def _within(self, path: bytes) -> bytes:
        return self._copy.into + b"/" + path if self._copy is not None and self._copy.into else path

    def _directory(self, path: bytes) -> tuple[int, int]:
        """Descriptor and group; made if need be."""
        return self._existing(path) or self._imply(path)

    def _existing(self, path: bytes) -> tuple[int, int] | None:
        known = self._open.get(path)
        if known is not None:
            return known
        try:
            descriptor = open_in_root(self._root, path or b".", DIRECTORY, resolve=self._resolve)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise CorruptData(f"{shown(path)} is needed as a directory, and is none") from None
        return self._remember(path, descriptor)

    def _imply(self, path: bytes) -> tuple[int, int]:
        """Make a directory that the archive does not mention, or mentions later; step by step, for from the root each time is
        quadratic."""
        parts = path.split(b"/")
        above = self._directory(b"")
        for depth, name in enumerate(parts, start=1):
            part = b"/".join(parts[:depth])
            above = self._open.get(part) or self._step(above[0], part, name)
        return above

    def _step(self, above: int, part: bytes, name: bytes) -> tuple[int, int]:
        """One directory further, made if it is missing."""
        try:
            return self._remember(part, os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=above))
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=above)
            made = self._remember(part, os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=above))
            self._look_as_below(part)
            return self._open.get(part, made)
        except NotADirectoryError:  # a link, perhaps one that leads to what is not there yet
            found = self._existing(part)
        if found is None:
            os.close(make_directories_in_root(self._root, part))
            found = self._existing(part)
        if found is None:
            raise CorruptData(f"{shown(part)} cannot be made")
        return found

    def _look_as_below(self, path: bytes) -> None:
        here = self._existing(path)
        for lower in self._lowers:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                below = open_in_root(lower, path, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_XDEV)
                found = os.fstat(below)
                os.close(below)
                if here is not None:
                    os.fchown(here[0], found.st_uid, found.st_gid)
                    self._open[path] = (here[0], found.st_gid)
                    inode = os.fstat(here[0]).st_ino
                    self._directories[path] = _Directory(inode, stat.S_IMODE(found.st_mode), found.st_mtime_ns)
                return

    def _remember(self, path: bytes, descriptor: int) -> tuple[int, int]:
        old = self._open.pop(path, None)
        if old is not None:
            os.close(old[0])
        known = self._open[path] = (descriptor, os.fstat(descriptor).st_gid)
        if len(self._open) > MOST_OPEN:
            os.close(self._open.popitem(last=False)[1][0])
        return known

    def _forget(self) -> None:
        for descriptor, _ in self._open.values():
            os.close(descriptor)
        self._open.clear()


def clean(name: bytes) -> bytes:
    """The path without ".", empty parts and "..", relative to the root. Raises `CorruptData` when it leads above it."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise CorruptData(f"{shown(name)} leads out of the archive's root")
            parts.pop()
        elif part and part != b".":
            parts.append(part)
    return b"/".join(parts)


def shown(name: bytes) -> str:
    return ascii(name[:80].decode("utf-8", "replace"))


def _bounded(mtime: int) -> int:
    return max(0, min(mtime, LATEST * 10**9))


def _write_extents(descriptor: int, entry: Entry, portions: Iterable[memoryview]) -> None:
    """A sparse file keeps its holes."""
    os.ftruncate(descriptor, entry.size)
    extents = iter(entry.extents or ())
    offset = left = 0
    for portion in portions:
        while portion:
            if not left:
                offset, left = next(extents)
            written = os.pwrite(descriptor, portion[:left], offset)
            portion, offset, left = portion[written:], offset + written, left - written
