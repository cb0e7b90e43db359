"""A tmpfs that begins with what the image has in its place (the mount option `tmpcopyup`)."""

from __future__ import annotations

import os
import stat

from gorae.linux.mount import fsconfig_create, fsconfig_flag, fsconfig_string, fsmount, fsopen

_PIECE = 1 << 20


def filled_tmpfs(directory: int, data: str, attributes: int) -> int:
    """A detached tmpfs with a copy of what is below `directory` (O_PATH); the caller owns the descriptor.

    Regular files, directories and links with their owners and modes; devices, sockets and FIFOs are left out.
    """
    context = fsopen("tmpfs")
    try:
        for option in filter(None, data.split(",")):
            key, separator, value = option.partition("=")
            if separator:
                fsconfig_string(context, key, value)
            else:
                fsconfig_flag(context, key)
        fsconfig_create(context)
        tree = fsmount(context, 0, attributes)
    finally:
        os.close(context)
    try:
        source = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            inside = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
            try:
                _copy_directory(source, inside)
            finally:
                os.close(inside)
        finally:
            os.close(source)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _copy_directory(source: int, target: int) -> None:
    _copy_owner(os.fstat(source), target)
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        elif stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            _with_both(source, target, name, os.O_RDONLY | os.O_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
        elif stat.S_ISREG(status.st_mode):
            _with_both(source, target, name, os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def _with_both(source: int, target: int, name: str, reading: int, writing: int) -> None:
    """O_NOFOLLOW and O_NONBLOCK: what was a plain file a moment ago may have become a link or a FIFO."""
    careful = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    one = os.open(name, reading | careful, dir_fd=source)
    try:
        other = os.open(name, writing | careful, 0o600, dir_fd=target)
        try:
            if reading & os.O_DIRECTORY:
                _copy_directory(one, other)
            else:
                _copy_file(one, other)
        finally:
            os.close(other)
    finally:
        os.close(one)


def _copy_file(source: int, target: int) -> None:
    while os.sendfile(target, source, None, _PIECE):
        pass
    _copy_owner(os.fstat(source), target)


def _copy_owner(status: os.stat_result, target: int) -> None:
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
