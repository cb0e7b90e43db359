"""Devices: the six that every program expects, those that were asked for, and the links of /dev.

    null zero full random urandom tty      by mknod; in a user namespace, where mknod is refused, the machine's own nodes bound
    fd stdin stdout stderr → /proc/self/fd…    ptmx → pts/ptmx    core → /proc/kcore if there is one

Which of them may be *opened* is the devices cgroup's affair. Nothing is made when /dev is bound from outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import libc
from gorae.linux.mount import MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE, open_tree
from gorae.linux.path import make_directories_in_root
from gorae.oci.runtimespec import Device
from gorae.runtime.mounts import attach_tree, is_bind, open_directory
from gorae.runtime.terms import Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec
    from gorae.runtime.scene import Scene

STANDARD = (
    Device("/dev/null", "c", 1, 3, 0o666, 0, 0),
    Device("/dev/zero", "c", 1, 5, 0o666, 0, 0),
    Device("/dev/full", "c", 1, 7, 0o666, 0, 0),
    Device("/dev/random", "c", 1, 8, 0o666, 0, 0),
    Device("/dev/urandom", "c", 1, 9, 0o666, 0, 0),
    Device("/dev/tty", "c", 5, 0, 0o666, 0, 0),
)
LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def plan(spec: Spec, bound: bool) -> Iterator[Step]:
    """`bound`: mknod is refused (user namespace)."""
    if any(is_bind(entry) and entry.destination.rstrip("/") == "/dev" for entry in spec.mounts):
        return
    asked = spec.linux.devices if spec.linux else ()
    nodes = {device.path: device for device in (*STANDARD, *asked)}
    for path, device in nodes.items():
        reason = "a device that programs expect" if device in STANDARD else "a device that was asked for"
        if bound and device.type != "p":
            yield Step("bind_device", (path,), f"{reason}; mknod is not for user namespaces, so the machine's node is bound")
        else:
            yield Step("mknod_in_root", (path, *_node(device)), reason)
    for path, target in LINKS.items():
        yield Step("symlink_in_root", (target, path), "a name that programs expect")
    yield Step("link_ptmx", (), "new terminals come from its own /dev/pts")


def _node(device: Device) -> tuple[int, int, int, int, int]:
    mode = KINDS[device.type] | (0o666 if device.fileMode is None else stat.S_IMODE(device.fileMode))
    return mode, device.major or 0, device.minor or 0, device.uid or 0, device.gid or 0


# What follows runs in the child.


def mknod_in_root(scene: Scene, path: str, mode: int, major: int, minor: int, uid: int, gid: int) -> None:
    directory, _, name = path.rpartition("/")
    parent = open_directory(scene.descriptors["root"], directory or "/")
    number = os.makedev(major, minor) if not stat.S_ISFIFO(mode) else 0
    try:
        try:
            os.mknod(name, mode, number, dir_fd=parent)
        except FileExistsError:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(there.st_mode) != stat.S_IFMT(mode) or there.st_rdev != number:
                raise libc.failure("mknodat", errno.EEXIST, path, "something else is there") from None
        if uid or gid:
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.filename == name:
            raise libc.named(error, "mknodat", path) from None
        raise
    finally:
        os.close(parent)


def bind_device(scene: Scene, path: str) -> None:
    tree = open_tree(libc.AT_FDCWD, path, OPEN_TREE_CLONE)
    try:
        # Read-only, which does not hinder I/O on a device: it is the machine's own node, whose mode must not be changed from here.
        attach_tree(scene, tree, path, (MOUNT_ATTR_RDONLY, 0), (0, 0), ())
    finally:
        os.close(tree)


def link_ptmx(scene: Scene) -> None:
    """Whatever the image has as /dev/ptmx would belong to another devpts."""
    parent = make_directories_in_root(scene.descriptors["root"], "/dev", 0o755)
    try:
        try:
            os.unlink("ptmx", dir_fd=parent)
        except FileNotFoundError:
            pass
        os.symlink("pts/ptmx", "ptmx", dir_fd=parent)
    except OSError as error:
        raise libc.named(error, "symlinkat", "/dev/ptmx") from None
    finally:
        os.close(parent)


DEEDS: dict[str, Callable[..., object]] = {"mknod_in_root": mknod_in_root, "bind_device": bind_device, "link_ptmx": link_ptmx}
