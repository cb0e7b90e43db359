"""How a visitor gets into a container's tree, and what it can still do there.

    running   the mount namespace of its init, by pidfd (setns(2), Linux 5.8): what the container sees, tmpfs and volumes too
    stopped   a mount namespace of our own: the snapshot's mounts and the volumes, then pivot_root into them
    bare      neither: directories that were opened before (a layer and those below it)

In all cases the root directory is the tree's, nothing of the machine can be named any more, and a path is resolved by the kernel
below it. Nothing is executed or loaded afterwards (CVE-2019-14271), the process cannot be traced or read by anyone inside
(it is not dumpable), and dies with its parent.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable, Sequence

from gorae.linux import capability, mount, namespace, path, process

MEMORY = 512 << 20
CPU = 600  # seconds
READING = ("CAP_DAC_READ_SEARCH",)
COPYING = MARKS = ("CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN")  # for open_tree(2), and trusted.*, where overlayfs keeps its marks
WRITING = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP")
PAGE = 4096
AT_RECURSIVE = 0x8000


def into_running(pidfd: int) -> None:
    process.set_dumpable(False)
    namespace.setns(pidfd, namespace.CLONE_NEWNS)
    os.chdir("/")


def into_stopped(mounts: Iterable[Sequence[object]], volumes: Iterable[Sequence[object]], at: str) -> None:
    """`mounts` are (type, source, options), `volumes` (source, destination, is it writable); `at` is any directory."""
    process.set_dumpable(False)
    namespace.unshare(namespace.CLONE_NEWNS)
    mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
    for kind, source, options in mounts:
        _mount(str(kind), str(source), [str(option) for option in options], at)  # type: ignore[attr-defined]
    root = os.open(at, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for source, destination, writable in volumes:
        _volume(root, str(source), str(destination), bool(writable))
    os.fchdir(root)
    mount.pivot_root(".", ".")
    mount.umount2(".", mount.MNT_DETACH)
    os.chdir("/")
    os.close(root)


def overlay(directories: Sequence[str], at: str) -> int:
    """One tree of several layers, the nearest first: a descriptor of its root, in a mount namespace of our own."""
    if len(directories) == 1:
        return os.open(directories[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    process.set_dumpable(False)
    namespace.unshare(namespace.CLONE_NEWNS)
    mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
    _mount("overlay", "overlay", ["ro", f"lowerdir={':'.join(directories)}"], at)
    return os.open(at, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def confine(capabilities: Iterable[str]) -> None:
    process.set_pdeathsig(signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    process.set_no_new_privs()
    kept = capability.mask(capabilities) & capability.get().permitted
    capability.drop_bounding(capability.bounding() & ~kept)
    capability.set(kept, kept, 0)


def _mount(kind: str, source: str, options: Sequence[str], at: str) -> None:
    read_only = "ro" in options
    if kind == "bind":
        mount.mount(source, at, None, mount.MS_BIND)
        if read_only:
            mount.mount(None, at, None, mount.MS_BIND | mount.MS_REMOUNT | mount.MS_RDONLY)
        return
    words = [option for option in options if option not in ("ro", "rw")]
    data = ",".join(words)
    if len(os.fsencode(data)) < PAGE:
        mount.mount(source, at, kind, mount.MS_RDONLY if read_only else 0, data)
        return
    context = mount.fsopen(kind)
    try:
        for word in words:
            key, equals, value = word.partition("=")
            if key == "lowerdir":
                for directory in value.split(":"):
                    mount.fsconfig_string(context, "lowerdir+", directory)
            elif equals:
                mount.fsconfig_string(context, key, value)
            else:
                mount.fsconfig_flag(context, key)
        if read_only:
            mount.fsconfig_flag(context, "ro")
        mount.fsconfig_create(context)
        made = mount.fsmount(context)
    finally:
        os.close(context)
    try:
        mount.move_mount(made, "", -100, at)
    finally:
        os.close(made)


def _volume(root: int, source: str, destination: str, writable: bool) -> None:
    try:
        tree = mount.open_tree(-100, source, mount.OPEN_TREE_CLONE | AT_RECURSIVE)
    except FileNotFoundError:
        return  # not made before the first start
    try:
        if not writable:
            mount.mount_setattr(tree, "", AT_RECURSIVE, attr_set=mount.MOUNT_ATTR_RDONLY)
        if os.path.isdir(source):
            target = path.make_directories_in_root(root, destination)
        else:
            target = path.make_file_in_root(root, destination)
        try:
            mount.attach(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)
