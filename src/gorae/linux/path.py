"""Paths inside a root that somebody else controls and may change while we look.

    openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)       Linux 5.6: the kernel resolves; "/" and ".." stop at the root
    _Walk                                                  to create, and on older kernels: one component at a time

The walk holds a descriptor of each directory on its way from the root, opens each component with O_PATH | O_NOFOLLOW from the
last of them, and reads a link from the descriptor of the link itself. ".." takes the last descriptor off. So whatever is swapped
for a link meanwhile, nothing outside the root is ever reached (CVE-2021-30465, CVE-2024-45310):

    /a/lnk/../c      [root] ─a─▶ [root, a] ─lnk → "/x/y"─▶ [root] ─x─▶ [root, x] ─y─▶ [root, x, y] ─..─▶ [root, x] ─c─▶ …

Magic links (those of /proc/PID/fd and the like, which lead to files without a path) are refused with ELOOP.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from gorae.linux import libc, system

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

MOST_LINKS = 40
"""The kernel's own limit in one path (man 7 path_resolution)."""

MOST_COMPONENTS = 4096
"""Of a walk, links expanded: PATH_MAX bounds one path, not what links add to it."""

_RETRIES = 128
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec; raises ENOSYS before Linux 5.6. `mode` counts only with O_CREAT or O_TMPFILE.

    EAGAIN, with which the kernel says that something moved during an IN_ROOT or BENEATH resolution, is tried again here many times
    before it is passed on.
    """
    flags |= os.O_CLOEXEC
    creates = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
    how = (ctypes.c_uint64 * 3)(flags, mode if creates else 0, resolve)
    raw = libc.text(path)
    for attempt in range(_RETRIES):
        try:
            return libc.call("openat2", dirfd, raw, ctypes.byref(how), ctypes.sizeof(how), path=os.fsdecode(path))
        except OSError as error:
            if error.errno != errno.EAGAIN or attempt == _RETRIES - 1:
                raise
    raise AssertionError("unreachable")


def open_in_root(root_fd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open a path as a process whose root directory is `root_fd` would, with RESOLVE_* to narrow it further.

    Without openat2 the walk does the same; RESOLVE_NO_XDEV, RESOLVE_BENEATH and RESOLVE_CACHED then fail with ENOSYS.
    """
    try:
        return openat2(root_fd, path, flags, mode, resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        # EAGAIN: somebody keeps renaming or mounting on this machine; the walk does not mind.
        walkable = not resolve & ~(RESOLVE_NO_SYMLINKS | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        if error.errno not in (errno.ENOSYS, errno.EAGAIN) or not walkable:
            raise
    with _Walk(root_fd, path, links=0 if resolve & RESOLVE_NO_SYMLINKS else MOST_LINKS) as walk:
        return walk.open(flags, mode)


def make_directories_in_root(root_fd: int, path: str | bytes, mode: int = 0o755) -> int:
    """Open a directory (O_PATH), making what is missing of it with `mode` (less the umask), owned by the caller.

    Links on the way are followed inside the root, and what a dangling one names is made there. ENOTDIR when something else is
    in the way.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    with _Walk(root_fd, path, directory_mode=mode) as walk:
        return walk.open(os.O_PATH | os.O_DIRECTORY)


def make_file_in_root(root_fd: int, path: str | bytes, mode: int = 0o644, directory_mode: int = 0o755) -> int:
    """Open (O_PATH) what is at a path, whatever it is; when nothing is, make the directories and an empty file.

    This is what a file is bind-mounted onto. Only O_PATH: a FIFO or device that is there is not touched.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    with _Walk(root_fd, path, directory_mode=directory_mode, file_mode=mode) as walk:
        return walk.open(os.O_PATH)


def read_file_in_root(root_fd: int, path: str | bytes, limit: int) -> bytes:
    """The contents of a regular file of at most `limit` bytes.

    O_NONBLOCK and fstat: a FIFO or a device in the place of the file (an image's /etc/passwd) is EINVAL, and nobody waits for
    it. A longer file is EFBIG: half of a passwd would be another passwd.
    """
    descriptor = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise libc.failure("read", errno.EINVAL, os.fsdecode(path), "not a regular file")
        pieces: list[bytes] = []
        left = limit + 1
        while left and (piece := os.read(descriptor, min(left, 1 << 16))):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise libc.failure("read", errno.EFBIG, os.fsdecode(path), f"more than {limit} bytes")
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """Where the kernel says a descriptor's file is now, seen from this process; for messages and checks, never to be opened."""
    try:
        return os.readlink(by_descriptor(descriptor))
    except OSError as error:
        raise libc.named(error, "readlink", by_descriptor(descriptor)) from None


def by_descriptor(descriptor: int) -> str:
    """A path that leads to exactly the file of a descriptor, for calls that take only paths. Needs the host's /proc."""
    return f"/proc/self/fd/{descriptor}"


class _Walk:
    """One resolution, in a with statement. Its descriptors end with it; what `open` returns is the caller's."""

    def __init__(
        self,
        root_fd: int,
        path: str | bytes,
        *,
        directory_mode: int | None = None,
        file_mode: int | None = None,
        links: int = MOST_LINKS,
    ) -> None:
        self._whole = os.fsdecode(path)
        self._directory_mode = directory_mode
        self._file_mode = file_mode
        self._links = links
        self._steps = MOST_COMPONENTS
        self._directory_wanted = False
        self._pending: list[bytes] = []
        if not path:
            raise self._failure(errno.ENOENT)
        self._push(libc.text(path))
        self._trail = [self._open_at(root_fd, b".", _LOOK | os.O_DIRECTORY)]

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._trail:
            os.close(descriptor)
        self._trail.clear()

    def open(self, flags: int, mode: int = 0) -> int:
        """Walk to the end and open what is there, or make it as the modes say."""
        while self._pending:
            self._steps -= 1
            if self._steps < 0:
                raise self._failure(errno.ENAMETOOLONG)
            if self._pending[-1] == b"..":
                self._pending.pop()
                if len(self._trail) > 1:
                    os.close(self._trail.pop())
            elif len(self._pending) > 1:
                self._enter()
            elif (descriptor := self._last(flags, mode)) is not None:
                return descriptor
        return self._open_at(self._trail[-1], b".", flags | os.O_CLOEXEC, mode)

    def _push(self, path: bytes) -> None:
        if not self._pending and path.endswith((b"/", b"/.", b"/..")):
            self._directory_wanted = True
        self._pending += [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]

    def _enter(self) -> None:
        """Take the next component, which is not the last: into a directory, or through a link."""
        descriptor = self._look(self._directory_mode)
        if descriptor is None:
            return
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            self._pending.pop()
            self._trail.append(descriptor)
            return
        try:
            if not stat.S_ISLNK(kind):
                raise self._failure(errno.ENOTDIR)
            self._through(descriptor)
        finally:
            os.close(descriptor)

    def _last(self, flags: int, mode: int) -> int | None:
        """Open the last component; None when it was a link (which is now pending) or has just been made."""
        name = self._pending[-1]
        if flags & os.O_CREAT and flags & os.O_EXCL:
            return self._open_at(self._trail[-1], name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        if self._directory_wanted:
            flags |= os.O_DIRECTORY
        try:
            descriptor = self._look(self._directory_mode if flags & os.O_DIRECTORY else None, last=True)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            return self._open_at(self._trail[-1], name, flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        if descriptor is None:
            return None
        try:
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISLNK(kind) and (self._directory_wanted or not flags & os.O_NOFOLLOW):
                self._through(descriptor)
                return None
            if flags & os.O_PATH:
                if flags & os.O_DIRECTORY and not stat.S_ISDIR(kind):
                    raise self._failure(errno.ENOTDIR)
                return os.dup(descriptor)
        finally:
            os.close(descriptor)
        # What was looked at may have been replaced since: by a link, then this is ELOOP.
        return self._open_at(self._trail[-1], name, flags & ~os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _look(self, directory_mode: int | None, *, last: bool = False) -> int | None:
        """O_PATH of the next component itself, link or not; None when it was missing and has been made, to be looked at again."""
        here, name = self._trail[-1], self._pending[-1]
        try:
            return self._open_at(here, name, _LOOK)
        except FileNotFoundError:
            try:
                if directory_mode is not None:
                    os.mkdir(name, directory_mode, dir_fd=here)
                elif last and self._file_mode is not None:
                    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _LOOK & ~os.O_PATH, self._file_mode, dir_fd=here))
                else:
                    raise
            except FileExistsError:
                pass
            except OSError as error:
                raise libc.named(error, "mkdirat" if directory_mode is not None else "openat", self._whole) from None
            return None

    def _through(self, link: int) -> None:
        """Replace the next component by what the link says."""
        self._links -= 1
        # procfs has links that lead to files which no path leads to, and none that a container's paths need.
        if self._links < 0 or system.statfs(link).type == system.PROC_SUPER_MAGIC:
            raise self._failure(errno.ELOOP)
        target = os.readlink(b"", dir_fd=link)
        self._pending.pop()
        if target.startswith(b"/"):
            while len(self._trail) > 1:
                os.close(self._trail.pop())
        self._push(target)

    def _open_at(self, directory: int, name: bytes, flags: int, mode: int = 0o777) -> int:
        try:
            return os.open(name, flags, mode, dir_fd=directory)
        except OSError as error:
            raise libc.named(error, "openat", self._whole) from None

    def _failure(self, number: int) -> OSError:
        return libc.failure("openat", number, self._whole)
