"""The root file system: how it is mounted where nobody else sees it, and how it becomes "/".

    mount / rslave            what happens below reaches nobody; what the machine mounts later still arrives in shared volumes
    mount_rootfs              overlay (or whatever the engine asked for) at root.path          ┐ one of these; either way the
    bind_rootfs               root.path copied onto itself: pivot_root wants a mount           ┘ descriptor "root" is its top
      …                       mounts, devices, masks, all relative to "root"
    fchdir, pivot_root(., .)  the new root under the old one, which lies on top …
    umount2(., MNT_DETACH)    … and is taken away (man 2 pivot_root)
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import libc
from gorae.linux.mount import (
    MNT_DETACH,
    MS_MOVE,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    OPEN_TREE_CLONE,
    attach,
    fsconfig_create,
    fsconfig_flag,
    fsconfig_string,
    fsmount,
    fsopen,
    mount,
    mount_setattr,
    open_tree,
    pivot_root,
    umount2,
)
from gorae.runtime.options import attributes, parse
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec
    from gorae.runtime.scene import Scene

PROPAGATION = {"shared": MS_SHARED, "slave": MS_SLAVE, "private": MS_PRIVATE, "unbindable": MS_UNBINDABLE}
PAGE = 4096
REFUSED = frozenset({"import", "exec", "compile", "marshal.loads", "subprocess.Popen", "os.system", "os.exec", "ctypes.dlopen"})


def path(spec: Spec, context: Context) -> str:
    given = spec.root.path if spec.root else ""
    return given if given.startswith("/") else f"{context.bundle.rstrip('/')}/{given}"


def prepare(spec: Spec, context: Context) -> Iterator[Step]:
    """For the parent of a user namespace: file systems are made with the machine's rights, mounted nowhere."""
    for number, layer in enumerate(context.rootfs):
        if layer.type == "bind":
            yield Step(
                "open_tree", (f"rootfs:{number}", layer.source, True), "the root file system, while its directories are in reach"
            )
        else:
            yield Step(
                "make_file_system",
                (f"rootfs:{number}", layer.type, layer.source, layer.options),
                f"the {layer.type} is made with the machine's rights; it is mounted nowhere yet",
            )
    if not context.rootfs:
        yield Step("open_tree", ("rootfs:0", path(spec, context), True), "the root file system, while its directories are in reach")


def enter(spec: Spec, context: Context, prepared: bool) -> Iterator[Step]:
    linux = spec.linux
    propagation = linux.rootfsPropagation if linux else None
    where = path(spec, context)
    if propagation == "shared":
        yield Step(
            "mount",
            ("", "/", "", MS_SHARED | MS_REC, ""),
            "rootfsPropagation: shared volumes give their mounts back to the machine",
        )
        yield Step("make_parent_private", (where,), "except for the root file system's own")
    else:
        mode = MS_PRIVATE if propagation in ("private", "unbindable") else MS_SLAVE
        yield Step("mount", ("", "/", "", mode | MS_REC, ""), "no mount made from here on reaches the machine")
    for number, layer in enumerate(context.rootfs):
        reason = f"the root file system: a {layer.type} that only this container has"
        if prepared:
            yield Step("attach_rootfs", (f"rootfs:{number}", where, *attributes(parse(layer.options).flags, 0)), reason)
        elif layer.type == "bind":
            yield Step("bind_rootfs", (layer.source, where, *attributes(parse(layer.options).flags, 0)), reason)
        else:
            yield Step("mount_rootfs", (layer.type, layer.source, where, layer.options), reason)
    if not context.rootfs and prepared:
        yield Step("attach_rootfs", ("rootfs:0", where, 0, 0), "pivot_root wants a mount, so the directory is bound to itself")
    elif not context.rootfs:
        yield Step("bind_rootfs", (where, where, 0, 0), "pivot_root wants a mount, so the directory is bound to itself")


def leave(spec: Spec, context: Context) -> Iterator[Step]:
    """The old root goes out of sight."""
    yield Step("fchdir", ("root",), "into the new root")
    if context.pivot:
        yield Step("pivot_root", (".", "."), "the new root becomes /; the old one lies on top of it")
        if spec.linux and spec.linux.rootfsPropagation == "shared":
            yield Step("mount", ("", ".", "", MS_SLAVE | MS_REC, ""), "or the next step would unmount the machine's file systems")
        yield Step("umount2", (".", MNT_DETACH), "and is taken away: nothing of the machine is left to be found")
    else:
        yield Step("mount", (".", "/", "", MS_MOVE, ""), "a root on the initramfs cannot be pivoted")
        yield Step("chroot", (".",), "so the process moves instead")
    yield Step("chdir", ("/",), "the current directory is inside, too")
    propagation = spec.linux.rootfsPropagation if spec.linux else None
    if propagation in ("shared", "slave", "unbindable"):
        flag = PROPAGATION[propagation]
        yield Step("mount", ("", "/", "", flag, ""), f"rootfsPropagation is {propagation}")


# What follows runs in the child (open_tree and make_file_system in the parent, too).


def mount_rootfs(scene: Scene, kind: str, source: str, where: str, options: tuple[str, ...]) -> None:
    parsed = parse(options)
    if len(parsed.data) < PAGE:
        mount(source or kind, where, kind, parsed.flags, parsed.data or None)
        scene.keep("root", os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        return
    make_file_system(scene, "root", kind, source, options)
    _attach(scene.descriptors["root"], where)


def make_file_system(scene: Scene, name: str, kind: str, source: str, options: tuple[str, ...]) -> None:
    """A detached mount under `name`. Many lower directories go in one by one: an option string ends at 256 bytes here (Linux
    6.8).
    """
    parsed = parse(options)
    context = fsopen(kind)
    try:
        if source:
            fsconfig_string(context, "source", source)
        for option in filter(None, parsed.data.split(",")):
            key, separator, value = option.partition("=")
            if key == "lowerdir" and len(value) > 255:
                for directory in value.split(":"):
                    fsconfig_string(context, "lowerdir+", directory)
            elif separator:
                fsconfig_string(context, key, value)
            else:
                fsconfig_flag(context, key)
        fsconfig_create(context)
        scene.keep(name, fsmount(context, 0, attributes(parsed.flags, 0)[0]))
    finally:
        os.close(context)


def bind_rootfs(scene: Scene, source: str, where: str, setting: int, clearing: int) -> None:
    scene.keep("root", open_tree(libc.AT_FDCWD, source, OPEN_TREE_CLONE | libc.AT_RECURSIVE))
    _finish_rootfs(scene, where, setting, clearing)


def attach_rootfs(scene: Scene, name: str, where: str, setting: int, clearing: int) -> None:
    scene.keep("root", scene.descriptors.pop(name))
    _finish_rootfs(scene, where, setting, clearing)


def _finish_rootfs(scene: Scene, where: str, setting: int, clearing: int) -> None:
    root = scene.descriptors["root"]
    if not stat.S_ISDIR(os.fstat(root).st_mode):
        raise libc.failure("mount", errno.ENOTDIR, where)
    if setting or clearing:
        mount_setattr(root, "", attr_set=setting, attr_clr=clearing)
    _attach(root, where)


def _attach(tree: int, where: str) -> None:
    target = os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        attach(tree, target)
    finally:
        os.close(target)


def make_parent_private(scene: Scene, where: str) -> None:
    """Only a mount point can be made private: go up until the kernel agrees (EINVAL: not one)."""
    at = where
    while True:
        try:
            mount(None, at, None, MS_PRIVATE)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or at == "/":
                raise
            at = at.rpartition("/")[0] or "/"


def mount_call(scene: Scene, source: str, target: str, kind: str, flags: int, data: str) -> None:
    mount(source or None, target, kind or None, flags, data or None)


def seal_interpreter(scene: Scene) -> None:
    """From here on the files in sight are the image's: a late `import`, or a codec looked up by name, would run the image's code
    as root.

    An audit hook cannot be taken out again; it lives in the child only, and execve ends it (CVE-2019-14271 is this mistake made
    in C).
    """
    if not scene.sealed:
        scene.sealed = True
        sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    # os.open says None for the mode; it is what the deeds use, from a directory's descriptor. open() and the importer name theirs.
    if event in REFUSED or (event == "open" and arguments[1] is not None):
        raise RuntimeError(f"{event} {arguments[:1]} inside the container: it should have been loaded before")


DEEDS: dict[str, Callable[..., object]] = {
    "mount": mount_call,
    "make_parent_private": make_parent_private,
    "mount_rootfs": mount_rootfs,
    "make_file_system": make_file_system,
    "bind_rootfs": bind_rootfs,
    "attach_rootfs": attach_rootfs,
    "seal_interpreter": seal_interpreter,
    "fchdir": lambda scene, name: os.fchdir(scene.descriptors[name]),
    "pivot_root": lambda scene, new, old: pivot_root(new, old),
    "umount2": lambda scene, target, flags: umount2(target, flags),
    "chroot": lambda scene, path: os.chroot(path),
    "chdir": lambda scene, path: os.chdir(path),
}
