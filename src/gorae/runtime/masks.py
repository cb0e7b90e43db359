"""Masked and read-only paths: what procfs and sysfs would tell or let change, put out of reach.

    masked file        the machine's /dev/null, from a descriptor that was checked (character device 1:3): never the image's,
                       which may be a link (CVE-2025-31133) or a file of another container; read-only (see `null`)
    masked directory   copies of one empty read-only tmpfs
    read-only path     the path's own mount, copied, made read-only with all below it, put over itself

Each is looked at again after it was mounted. A path that the kernel does not have needs no mask.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import libc
from gorae.linux.mount import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    attach,
    fsconfig_create,
    fsconfig_string,
    fsmount,
    fsopen,
    mount_setattr,
    open_tree,
)
from gorae.linux.path import open_in_root
from gorae.linux.system import TMPFS_MAGIC, statfs
from gorae.runtime import null
from gorae.runtime.terms import Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec
    from gorae.runtime.scene import Scene

COPY = OPEN_TREE_CLONE | libc.AT_EMPTY_PATH


def plan(spec: Spec) -> Iterator[Step]:
    linux = spec.linux
    if linux is None:
        return
    for path in linux.readonlyPaths:
        yield Step("make_path_readonly", (path,), "the kernel's switches can be read there but not turned")
    if linux.maskedPaths:
        yield Step("open_hidden", (), "an empty read-only directory, to cover others with")
    for path in linux.maskedPaths:
        yield Step("mask_path", (path,), "it tells about the machine, or is dangerous to touch")


# What follows runs in the child.


def open_null(scene: Scene) -> None:
    """The machine's /dev/null, while the machine's /dev is still in sight."""
    descriptor = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    scene.keep("null", descriptor)
    null.check(descriptor, "/dev/null")


def open_hidden(scene: Scene) -> None:
    context = fsopen("tmpfs")
    try:
        fsconfig_string(context, "source", "tmpfs")
        fsconfig_string(context, "size", "0")
        fsconfig_string(context, "nr_inodes", "1")
        fsconfig_string(context, "mode", "755")
        fsconfig_create(context)
        scene.keep("hidden", fsmount(context, 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC))
    finally:
        os.close(context)


def mask_path(scene: Scene, path: str) -> None:
    root = scene.descriptors["root"]
    try:
        target = open_in_root(root, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        directory = stat.S_ISDIR(os.fstat(target).st_mode)
        tree = open_tree(scene.descriptors["hidden" if directory else "null"], "", COPY)
        try:
            if not directory:
                mount_setattr(tree, "", attr_set=null.ATTRIBUTES)
            attach(tree, target)
        finally:
            os.close(tree)
    finally:
        os.close(target)
    _check_mask(root, path, directory)


def _check_mask(root: int, path: str, directory: bool) -> None:
    covered = open_in_root(root, path, os.O_PATH)
    try:
        if not directory:
            null.check(covered, path)
        elif statfs(covered).type != TMPFS_MAGIC:
            raise libc.failure("mask", errno.EBUSY, path, "another mount came between")
    finally:
        os.close(covered)


def make_path_readonly(scene: Scene, path: str) -> None:
    root = scene.descriptors["root"]
    try:
        target = open_in_root(root, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        tree = open_tree(target, "", COPY | libc.AT_RECURSIVE)
        try:
            mount_setattr(tree, "", libc.AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
            attach(tree, target)
        finally:
            os.close(tree)
    finally:
        os.close(target)
    _check_readonly(root, path)


def _check_readonly(root: int, path: str) -> None:
    covered = open_in_root(root, path, os.O_PATH)
    try:
        if not os.fstatvfs(covered).f_flag & os.ST_RDONLY:
            raise libc.failure("make_path_readonly", errno.EBUSY, path, "another mount came between")
    finally:
        os.close(covered)


DEEDS: dict[str, Callable[..., object]] = {
    "open_null": open_null,
    "open_hidden": open_hidden,
    "mask_path": mask_path,
    "make_path_readonly": make_path_readonly,
}
