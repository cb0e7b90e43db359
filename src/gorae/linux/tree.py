"""Removing a tree that somebody else filled, by descriptor.

One directory is open at a time, whatever the depth: down by openat2 without links and without crossing mount points, up by ".."
checked against what the directory above was on the way down. So neither a link swapped in, nor a directory moved elsewhere
meanwhile, nor a forgotten mount makes it remove anything outside the tree; and a tree 100,000 levels deep costs neither
descriptors nor recursion. (shutil.rmtree recurses, and crosses mount points.)
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from gorae.linux import libc, path

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Level:
    name: bytes
    identity: tuple[int, int]
    directories: list[bytes]


def remove_tree(dirfd: int, name: str | bytes, *, missing_ok: bool = False) -> None:
    """Remove the entry `name` of a directory with all that is below it; `name` is one component.

    A mount point anywhere in the tree stops it with EXDEV or EBUSY, a directory that is moved away meanwhile with ESTALE, one that
    is being filled with ENOTEMPTY; what was removed before stays removed.
    """
    raw = libc.text(name)
    if raw in (b"", b".", b"..") or b"/" in raw:
        raise ValueError(f"remove_tree: {name!r} is not one component")
    try:
        if not _unlink(dirfd, raw, missing_ok=missing_ok):
            _remove_directory(dirfd, raw)
    except FileNotFoundError:
        if not missing_ok:
            raise


def _remove_directory(dirfd: int, name: bytes) -> None:
    here = _down(dirfd, name)
    try:
        levels = [_Level(name, _identity(here), _empty(here))]
        while True:
            level = levels[-1]
            if level.directories:
                child = level.directories.pop()
                below = _down(here, child)
                os.close(here)
                here = below
                levels.append(_Level(child, _identity(here), _empty(here)))
                continue
            levels.pop()
            if not levels:
                break
            above = os.open("..", _LIST, dir_fd=here)
            os.close(here)
            here = above
            if _identity(here) != levels[-1].identity:
                raise libc.failure("remove_tree", errno.ESTALE, os.fsdecode(level.name), "the directory was moved meanwhile")
            _rmdir(here, level.name)
    finally:
        os.close(here)
    _rmdir(dirfd, name)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _empty(directory: int) -> list[bytes]:
    """Unlink all that is no directory and return the names of those that are."""
    with os.scandir(directory) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    return [name for name, is_directory in found if is_directory or not _unlink(directory, name, missing_ok=True)]


def _unlink(directory: int, name: bytes, *, missing_ok: bool) -> bool:
    """False when it is a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError as error:
        if not missing_ok:
            raise libc.named(error, "unlinkat", os.fsdecode(name)) from None
    except IsADirectoryError:
        return False
    except OSError as error:
        raise libc.named(error, "unlinkat", os.fsdecode(name)) from None
    return True


def _rmdir(directory: int, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise libc.named(error, "rmdir", os.fsdecode(name)) from None


def _down(directory: int, name: bytes) -> int:
    try:
        return path.openat2(directory, name, _LIST, resolve=path.RESOLVE_NO_XDEV | path.RESOLVE_NO_SYMLINKS | path.RESOLVE_BENEATH)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise libc.failure("remove_tree", errno.EXDEV, os.fsdecode(name), "something is mounted there") from None
        if error.errno != errno.ENOSYS:
            raise
    try:
        below = os.open(name, _LIST, dir_fd=directory)
    except OSError as error:
        raise libc.named(error, "openat", os.fsdecode(name)) from None
    if _mount_id(below) != _mount_id(directory):
        os.close(below)
        raise libc.failure("remove_tree", errno.EXDEV, os.fsdecode(name), "something is mounted there")
    return below


def _mount_id(descriptor: int) -> str:
    """The mount a descriptor was opened through (Linux 3.15). A device number would not tell two bind mounts apart."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        return next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
