"""Tar archives made of local files, and local files made of an archive that came out of a container.

What a container sends is hostile: every component of a name is opened by descriptor and never through a link, so that neither a
link in the archive nor one that lies there already leads anywhere else; a device becomes one only for root.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator

from gorae.errors import CorruptData, InvalidArgument

BLOCK = 1 << 20
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Chunks(io.RawIOBase):
    """Pieces of bytes as a file that is read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, missing = [], size if size >= 0 else 1 << 62
        while missing:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:missing], self._rest[missing:]
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)


def pack(source: str, name: str, *, follow: bool = False) -> Iterator[bytes]:
    """A file, or a directory with all in it, as `name`; a link as itself, unless `follow`."""
    out = _Pieces()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK, dereference=False) as tar:
        pending = [(os.path.realpath(source) if follow else source, name)]
        while pending:
            path, called = pending.pop()
            info: tarfile.TarInfo | None = tar.gettarinfo(path, called)
            if info is None:
                continue  # a socket (typeshed knows nothing of this)
            info.uname = info.gname = ""
            if info.isreg():
                with open(path, "rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
            if info.isdir():
                pending += [(os.path.join(path, entry), f"{called}/{entry}") for entry in sorted(os.listdir(path), reverse=True)]
            yield from out.take()
    yield from out.take()


class _Pieces(io.RawIOBase):
    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._pieces.append(bytes(data))  # type: ignore[call-overload]
        return len(self._pieces[-1])

    def take(self) -> list[bytes]:
        taken, self._pieces = self._pieces, []
        return taken


def unpack(pieces: Iterator[bytes], target: str, rename: Callable[[str], str], *, owners: bool = False) -> int:
    """Into the directory `target`; answers the bytes of all files. `rename` gives each member its place below it."""
    size = 0
    later: list[tuple[list[str], tarfile.TarInfo]] = []
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(fileobj=Chunks(pieces), mode="r|", bufsize=BLOCK) as tar:
            for member in tar:
                parts = _parts(rename(member.name))
                if member.islnk():
                    member.linkname = rename(member.linkname)
                with _parent(root, parts[:-1]) as directory:
                    _make(tar, member, root, directory, parts[-1] if parts else ".", owners)
                size += member.size if member.isreg() else 0
                if member.isdir():
                    later.append((parts, member))
        for parts, member in reversed(later):
            with contextlib.suppress(OSError), _parent(root, parts) as directory:
                os.fchmod(directory, member.mode & 0o7777)
                os.utime(directory, (member.mtime, member.mtime))
    except tarfile.TarError as error:
        raise CorruptData(f"what the engine sent is no archive: {error}") from error
    except OSError as error:
        raise InvalidArgument(f"cannot write below {target}: {error.filename or ''}: {error.strerror}") from error
    finally:
        os.close(root)
    return size


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise CorruptData(f"{name!r} leads out of the archive")
    return parts


@contextlib.contextmanager
def _parent(root: int, parts: Iterable[str]) -> Iterator[int]:
    here = os.dup(root)
    try:
        for part in parts:
            try:
                below = os.open(part, DIRECTORY, dir_fd=here)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=here)
                below = os.open(part, DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, root: int, directory: int, name: str, owners: bool) -> None:
    if member.isdir():
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)
        os.close(os.open(name, DIRECTORY, dir_fd=directory))  # and not a link to one
    else:
        _make_room(directory, name)
    if member.isreg():
        _write(tar, member, directory, name)
    elif member.issym():
        os.symlink(member.linkname, name, dir_fd=directory)
    elif member.islnk():
        *above, last = _parts(member.linkname)
        with _parent(root, above) as source:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        return
    elif member.isfifo():
        os.mkfifo(name, member.mode & 0o777, dir_fd=directory)
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(name, kind | member.mode & 0o777, os.makedev(member.devmajor, member.devminor), dir_fd=directory)
    if owners:
        os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)


def _make_room(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        raise InvalidArgument(f"cannot overwrite directory {name!r} with a file") from None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: int, name: str) -> None:
    descriptor = os.open(name, NEW, member.mode & 0o777, dir_fd=directory)
    with open(descriptor, "wb") as file:
        content = tar.extractfile(member)
        while content is not None and (piece := content.read(BLOCK)):
            file.write(piece)
        file.flush()
        os.fchmod(descriptor, member.mode & 0o777)
        os.utime(descriptor, (member.mtime, member.mtime))
