"""The mounts of config.json, in its order, each below the container's root.

    plan     a bind            open_tree(source, CLONE) ─▶ mount_setattr ─▶ move_mount onto the target's descriptor
             a file system     mount(2) onto /proc/self/fd/N of the target's descriptor

A target is never a path when it is mounted on: it is walked to with openat2(RESOLVE_IN_ROOT), made component by component, and
the mount goes to the descriptor, so that no link in the image or in a shared volume can move it in between (CVE-2021-30465,
CVE-2024-45310). It must not lie inside /proc (CVE-2019-16884, CVE-2023-28642), and proc, sysfs and /dev go on ordinary
directories only, never through a link.

In a user namespace the child may not reach a bind's source any more, so the parent makes the copy (`before`) and the child only
attaches it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import libc
from gorae.linux.mount import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    OPEN_TREE_CLONE,
    attach,
    mount,
    mount_setattr,
    open_tree,
)
from gorae.linux.path import (
    RESOLVE_NO_SYMLINKS,
    make_directories_in_root,
    make_file_in_root,
    open_in_root,
    path_of,
)
from gorae.linux.system import PROC_SUPER_MAGIC, statfs
from gorae.runtime import cgroupfs, copyup
from gorae.runtime.options import Options, attributes, parse
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Mount, Spec
    from gorae.runtime.scene import Scene

REASONS = {
    "/proc": "its own processes, not the machine's",
    "/dev": "a private /dev; the machine's devices stay outside",
    "/dev/pts": "its own terminals",
    "/dev/shm": "shared memory of its own",
    "/dev/mqueue": "POSIX message queues of its own ipc namespace",
    "/sys": "the kernel's view of devices; read-only, so that nothing there can be turned",
    "/sys/fs/cgroup": "it may read its limits",
}
# What may be mounted inside /proc: single files whose contents only inform (lxcfs replaces them). As in runc.
INFORMATIVE = frozenset(
    "/proc/" + name
    for name in (
        *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev"),
        *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
    )
)
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
ORDINARY = frozenset({"/proc", "/sys", "/dev"})


def is_bind(entry: Mount) -> bool:
    return entry.type == "bind" or bool({"bind", "rbind"} & set(entry.options))


def prepare(spec: Spec) -> Iterator[Step]:
    """For the parent of a user namespace: copies of the binds' sources."""
    for entry in spec.mounts:
        if is_bind(entry):
            yield Step(
                "open_tree",
                (f"mount:{entry.destination}", entry.source or "", parse(entry.options).recursive),
                f"{entry.source}: its directories may be closed to the container's root user",
            )


def plan(spec: Spec, context: Context, prepared: bool) -> Iterator[Step]:
    """`prepared`: the parent has done `prepare`."""
    for entry in spec.mounts:
        options = parse(entry.options)
        reason = REASONS.get(entry.destination, f"{entry.source or entry.type} at {entry.destination}")
        if is_bind(entry):
            yield _bind(entry, options, reason, prepared)
        elif entry.type in ("cgroup", "cgroup2"):
            yield from cgroupfs.plan(entry, options, spec, context)
        else:
            yield filesystem(entry.type or "none", entry.source or entry.type or "none", entry.destination, options, reason)


def _bind(entry: Mount, options: Options, reason: str, prepared: bool) -> Step:
    target = (
        entry.destination,
        attributes(options.flags, options.cleared),
        attributes(options.deep, options.deep_cleared),
        options.propagation,
    )
    if prepared:
        return Step("attach_in_root", (f"mount:{entry.destination}", *target), reason)
    return Step("bind_in_root", (entry.source or "", options.recursive, *target), reason)


def filesystem(kind: str, source: str, destination: str, options: Options, reason: str) -> Step:
    """A file system of its own. A tmpfs and /dev become read-only at the end (`finish`): mount points are still to be made in
    them.
    """
    late = options.flags & MS_RDONLY and _late(kind, destination)
    flags = options.flags & ~MS_RDONLY if late else options.flags
    keep = f"mount:{destination}" if late else ""
    if options.copy_up:
        return Step("copy_up_in_root", (destination, flags, options.data, keep), f"{reason}, with what the image has there")
    return Step("mount_in_root", (kind, source, destination, flags, options.data, options.propagation, keep), reason)


def _late(kind: str, destination: str) -> bool:
    return kind == "tmpfs" or destination.rstrip("/") == "/dev"


def finish(spec: Spec, context: Context) -> Iterator[Step]:
    """Read-only, now that everything stands."""
    hierarchies = context.cgroup_layout is not None and context.cgroup_layout.mode in ("v1", "hybrid")
    for entry in spec.mounts:
        # `cgroupfs` puts a tmpfs there only when there are several hierarchies to be mounted in it.
        kind = "tmpfs" if entry.type in ("cgroup", "cgroup2") and hierarchies else entry.type or ""
        if not is_bind(entry) and parse(entry.options).flags & MS_RDONLY and _late(kind, entry.destination):
            yield Step("make_readonly", (f"mount:{entry.destination}",), f"{entry.destination} was asked for read-only")


# What follows runs in the child (open_tree in the parent, too).


def open_copy(scene: Scene, name: str, source: str, recursive: bool) -> None:
    scene.keep(name, open_tree(libc.AT_FDCWD, source, OPEN_TREE_CLONE | (libc.AT_RECURSIVE if recursive else 0)))


def bind_in_root(
    scene: Scene,
    source: str,
    recursive: bool,
    destination: str,
    own: tuple[int, int],
    deep: tuple[int, int],
    propagation: tuple[int, ...],
) -> None:
    tree = open_tree(libc.AT_FDCWD, source, OPEN_TREE_CLONE | (libc.AT_RECURSIVE if recursive else 0))
    try:
        attach_tree(scene, tree, destination, own, deep, propagation)
    finally:
        os.close(tree)


def attach_in_root(
    scene: Scene, name: str, destination: str, own: tuple[int, int], deep: tuple[int, int], propagation: tuple[int, ...]
) -> None:
    attach_tree(scene, scene.descriptors[name], destination, own, deep, propagation)
    scene.drop(name)


def attach_tree(
    scene: Scene, tree: int, destination: str, own: tuple[int, int], deep: tuple[int, int], propagation: tuple[int, ...]
) -> None:
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    if any(deep):
        mount_setattr(tree, "", libc.AT_RECURSIVE, attr_set=deep[0], attr_clr=deep[1])
    if any(own):
        mount_setattr(tree, "", attr_set=own[0], attr_clr=own[1])
    for kind in propagation:
        mount_setattr(tree, "", libc.AT_RECURSIVE if kind & MS_REC else 0, propagation=kind & ~MS_REC)
    target = open_target(scene, destination, is_directory, procfs=statfs(tree).type == PROC_SUPER_MAGIC)
    try:
        if stat.S_ISDIR(os.fstat(target).st_mode) != is_directory:
            words = "are you trying to mount a directory onto a file (or vice-versa)? check the type of the source"
            raise libc.failure("mount", errno.ENOTDIR, destination, words)
        attach(tree, target)
    finally:
        os.close(target)


def mount_in_root(
    scene: Scene, kind: str, source: str, destination: str, flags: int, data: str, propagation: tuple[int, ...], keep: str
) -> None:
    target = open_target(scene, destination, True, procfs=kind == "proc", ordinary=kind in ("proc", "sysfs"))
    try:
        mount(source, f"/proc/self/fd/{target}", kind, flags, data or None)
    except OSError as error:
        error.filename = destination
        raise
    finally:
        os.close(target)
    if keep or propagation:
        mounted = open_in_root(scene.descriptors["root"], destination, os.O_PATH | os.O_CLOEXEC)
        try:
            for wanted in propagation:
                mount(None, f"/proc/self/fd/{mounted}", None, wanted)
        except BaseException:
            os.close(mounted)
            raise
        scene.keep(keep or "passing", mounted)


def copy_up_in_root(scene: Scene, destination: str, flags: int, data: str, keep: str) -> None:
    """The tmpfs is filled while nobody else can see it, then put over the directory it was filled from."""
    target = open_target(scene, destination, True)
    try:
        tree = copyup.filled_tmpfs(target, data, attributes(flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC), 0)[0])
        try:
            attach(tree, target)
        except BaseException:
            os.close(tree)
            raise
    finally:
        os.close(target)
    scene.keep(keep or "passing", tree)


def make_readonly(scene: Scene, name: str) -> None:
    setting, _ = attributes(MS_RDONLY, 0)
    mount_setattr(scene.descriptors[name], "", attr_set=setting)
    if name != "root":
        scene.drop(name)


def symlink_in_root(scene: Scene, target: str, path: str) -> None:
    """A link that the container needs; one that is there already stays."""
    directory, _, name = path.rpartition("/")
    parent = open_directory(scene.descriptors["root"], directory or "/")
    try:
        os.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)


def make_directory(scene: Scene, path: str) -> None:
    os.close(open_directory(scene.descriptors["root"], path))


def open_target(scene: Scene, destination: str, directory: bool, *, procfs: bool = False, ordinary: bool = False) -> int:
    """An O_PATH descriptor of the place to mount on, made where it is missing; the caller owns it.

    `procfs`: it is a procfs that comes there, which is the one thing allowed on /proc itself. `ordinary`: no link on the way.
    """
    root = scene.descriptors["root"]
    clean = "/" + "/".join(part for part in destination.split("/") if part not in ("", "."))
    if clean == "/" or ".." in clean.split("/"):
        raise libc.failure("mount", errno.EINVAL, destination, "the target must be a path below the root, without ..")
    inside = clean
    try:
        target = open_in_root(root, clean, DIRECTORY if directory else os.O_PATH, resolve=RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno == errno.ELOOP and (ordinary or clean in ORDINARY):
            # A link at /proc would put procfs, and what is written into it, where the image wants (CVE-2019-19921, CVE-2026-41579).
            raise libc.failure(
                "open", errno.ELOOP, destination, "it must be an ordinary directory in the image, not a link"
            ) from None
        if error.errno not in (errno.ELOOP, errno.ENOENT):
            raise
        target = _make_last(root, clean, directory) if error.errno == errno.ENOENT else -1
        if target < 0:
            target = open_directory(root, clean) if directory else make_file_in_root(root, clean, 0o644)
            inside = path_of(target).removeprefix(path_of(root).rstrip("/"))
    try:
        _keep_out_of_proc(target, inside, destination, procfs)
    except BaseException:
        os.close(target)
        raise
    return target


def open_directory(root: int, path: str) -> int:
    """An O_PATH descriptor of a directory in the root, made when it is missing. Nearly always it is there: one call."""
    try:
        return open_in_root(root, path, DIRECTORY)
    except FileNotFoundError:
        return make_directories_in_root(root, path, 0o755)


def _make_last(root: int, path: str, directory: bool) -> int:
    """Nearly always only the last component is missing, and no link is on the way: four calls. -1: the careful walk must do it."""
    above, _, name = path.rpartition("/")
    try:
        parent = open_in_root(root, above or "/", DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)
    except OSError:
        return -1
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.mknod(name, stat.S_IFREG | 0o644, dir_fd=parent)
        return os.open(name, (DIRECTORY if directory else os.O_PATH | os.O_CLOEXEC) | os.O_NOFOLLOW, dir_fd=parent)
    except FileExistsError:
        return -1  # a dangling link, or somebody was quicker
    except OSError as error:
        raise libc.named(error, "mkdirat" if directory else "mknodat", path) from None
    finally:
        os.close(parent)


def _keep_out_of_proc(target: int, inside: str, destination: str, procfs: bool) -> None:
    """`inside`: the target as a path in the root, without links."""
    if inside == "":
        raise libc.failure("mount", errno.EINVAL, destination, "the root directory itself is not a target")
    if inside == "/proc":
        refused = not procfs
    elif inside.startswith("/proc/") or (inside != destination and statfs(target).type == PROC_SUPER_MAGIC):
        refused = inside not in INFORMATIVE
    else:
        refused = False
    if refused:
        raise libc.failure("mount", errno.EPERM, destination, f"{inside} is inside /proc; mounts there would deceive the runtime")


DEEDS: dict[str, Callable[..., object]] = {
    "open_tree": open_copy,
    "bind_in_root": bind_in_root,
    "attach_in_root": attach_in_root,
    "mount_in_root": mount_in_root,
    "copy_up_in_root": copy_up_in_root,
    "make_readonly": make_readonly,
    "symlink_in_root": symlink_in_root,
    "make_directory": make_directory,
}
