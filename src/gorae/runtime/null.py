"""The machine's null device, in a way that lets a container use it and change nothing about it.

A container's root may change mode, owner and times of whatever it reaches, and the machine's /dev/null is one inode for all:
through a masked file or /proc/self/fd/0 a container could take it away from the machine's users. So it goes in through a mount
that is read-only: reading and writing a device is not the mount's business, chmod and its kin are.

    /dev/null ── open_tree(CLONE) ─▶ a mount of its own, read-only ─┬▶ attached over a masked file
                                                                    └▶ opened: standard input of those who have none
"""

from __future__ import annotations

import errno
import os
import stat

from gorae.linux import libc
from gorae.linux.mount import MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE, mount_setattr, open_tree

NUMBER = os.makedev(1, 3)
ATTRIBUTES = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC


def is_null(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == NUMBER


def check(descriptor: int, path: str) -> None:
    if not is_null(descriptor):
        raise libc.failure("open", errno.ENODEV, path, "not the null device")


def open_device() -> int:
    """A descriptor to read and write it; the caller owns it."""
    tree = open_tree(libc.AT_FDCWD, "/dev/null", OPEN_TREE_CLONE)
    try:
        check(tree, "/dev/null")
        mount_setattr(tree, "", attr_set=ATTRIBUTES)
        return os.open(f"/proc/self/fd/{tree}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(tree)


def replace_standard_streams() -> None:
    """Of this process, where they are the null device: for who passes its own on to a container."""
    for descriptor in (0, 1, 2):
        try:
            replaced = is_null(descriptor)
        except OSError:
            continue  # closed
        if replaced:
            own = open_device()
            os.dup2(own, descriptor)
            os.close(own)
