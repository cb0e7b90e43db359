"""What the program will see, as ops: `rootfs`, `mounts`, `masks`, `devices`, `sysctl`, call by call as those do it.

A mount goes to a descriptor, or, with mount(2), to "." after fchdir to that descriptor: no path is walked twice. Where the plain
executor would begin its careful walk (a link on the way, several missing components) the op gives up, and plain does it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable

from gorae.linux import libc, mount
from gorae.linux.path import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
from gorae.linux.system import TMPFS_MAGIC
from gorae.runtime import null, sysctl
from gorae.runtime.fast.arena import SCRATCH
from gorae.runtime.fast.code import CannotLowerError, Code, Label, Shared, Slot, Tell, Value
from gorae.runtime.fast.slots import HIDDEN, NULL, ONE, PASSING, PROCFS, ROOT, THREE, TWO
from gorae.runtime.options import parse

AT_FDCWD = libc.AT_FDCWD
COPY = mount.OPEN_TREE_CLONE | mount.OPEN_TREE_CLOEXEC | libc.AT_EMPTY_PATH
INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
WHOLE = mount.MOVE_MOUNT_F_EMPTY_PATH | mount.MOVE_MOUNT_T_EMPTY_PATH
LOOK = os.O_PATH | os.O_CLOEXEC
DIRECTORY = LOOK | os.O_DIRECTORY
STAT = Shared(SCRATCH)
STAT_MODE, STAT_UID, STAT_GID, STAT_RDEV = (Shared(SCRATCH + offset) for offset in (24, 28, 32, 40))
STATFS = Shared(SCRATCH + 256)
STATFS_TYPE, STATFS_FLAGS = STATFS, Shared(SCRATCH + 256 + 80)
PAGE = 4096


def absolute(path: str) -> str:
    if not path.startswith("/"):
        raise CannotLowerError
    return path


def open_inside(
    code: Code, path: str, flags: int, out: Slot, *, root: Value = ROOT, resolve: int = INSIDE, errnos: tuple[int, ...] = (),
    to: Label | None = None, give_up: bool = False,
) -> None:  # fmt: skip
    how = code.words(flags | os.O_CLOEXEC, 0, resolve)
    code.call("openat2", root, code.text(path), how, 24, out=out, errnos=errnos, to=to, path=path, give_up=give_up)


def is_kind(code: Code, kind: int, *, to: Label | None = None, error: int = 0, tell: Tell | None = None) -> None:
    """Of what fstat has just looked at."""
    code.test(STAT_MODE, kind, mask=0o170000, width=4, to=to, error=error, tell=tell)


def set_attributes(
    code: Code, tree: Value, own: tuple[int, int], *, recursive: bool = False, propagation: int = 0, path: str = ""
) -> None:
    flags = libc.AT_EMPTY_PATH | (libc.AT_RECURSIVE if recursive else 0)
    code.call("mount_setattr", tree, code.text(""), flags, code.words(*own, propagation, 0), 32, path=path)


def attach(code: Code, tree: Value, target: Value, path: str) -> None:
    code.call("move_mount", tree, code.text(""), target, code.text(""), WHOLE, path=path)


def open_target(code: Code, destination: str, directory: bool, out: Slot, *, procfs: bool = False) -> None:
    """`mounts.open_target` for a path without links, of which at most the last component is missing."""
    clean = "/" + "/".join(part for part in destination.split("/") if part not in ("", "."))
    if clean != destination or clean == "/" or ".." in clean.split("/"):
        raise CannotLowerError
    if clean.startswith("/proc/") or (clean == "/proc") != procfs:
        raise CannotLowerError
    strict = INSIDE | RESOLVE_NO_SYMLINKS
    above, _, name = clean.rpartition("/")
    found, missing = Label(), Label()
    flags = DIRECTORY if directory else LOOK
    open_inside(code, clean, flags, out, resolve=strict, errnos=(errno.ENOENT,), to=missing, give_up=True)
    code.go(found)
    code.place(missing)
    open_inside(code, above or "/", DIRECTORY, THREE, resolve=strict, give_up=True)
    if directory:
        code.call("mkdirat", THREE, code.text(name), 0o755, path=clean, give_up=True)
    else:
        code.call("mknodat", THREE, code.text(name), stat.S_IFREG | 0o644, 0, path=clean, give_up=True)
    code.call("openat", THREE, code.text(name), flags | os.O_NOFOLLOW, 0, out=out, path=clean)
    code.close(THREE)
    code.place(found)


def mount_call(code: Code, source: str, target: str, kind: str, flags: int, data: str, path: str = "") -> None:
    if len(os.fsencode(data)) >= PAGE:
        raise CannotLowerError
    words = (code.text(source) if source else 0, code.text(target), code.text(kind) if kind else 0)
    code.call("mount", *words, flags, code.text(data) if data else 0, path=path or target)


def mount_rootfs(code: Code, kind: str, source: str, where: str, options: tuple[str, ...]) -> None:
    parsed = parse(options)
    mount_call(code, source or kind, absolute(where), kind, parsed.flags, parsed.data)
    code.call("openat", AT_FDCWD, code.text(where), DIRECTORY, 0, out=ROOT, path=where)


def bind_rootfs(code: Code, source: str, where: str, setting: int, clearing: int) -> None:
    flags = mount.OPEN_TREE_CLONE | mount.OPEN_TREE_CLOEXEC | libc.AT_RECURSIVE
    code.call("open_tree", AT_FDCWD, code.text(absolute(source)), flags, out=ROOT, path=source)
    code.call("fstat", ROOT, STAT)
    is_kind(code, stat.S_IFDIR, error=errno.ENOTDIR, tell=Tell("mount", where))
    if setting or clearing:
        set_attributes(code, ROOT, (setting, clearing))
    code.call("openat", AT_FDCWD, code.text(absolute(where)), DIRECTORY, 0, out=ONE, path=where)
    attach(code, ROOT, ONE, where)
    code.close(ONE)


def mount_in_root(
    code: Code,
    keep: Slot | None,
    kind: str,
    source: str,
    destination: str,
    flags: int,
    data: str,
    propagation: tuple[int, ...],
    _: str,
) -> None:
    open_target(code, destination, True, ONE, procfs=kind == "proc")
    code.call("fchdir", ONE, path=destination)
    mount_call(code, source, ".", kind, flags, data, destination)
    code.close(ONE)
    if keep or propagation:
        kept = keep or PASSING
        open_inside(code, destination, os.O_PATH, kept)
        for wanted in propagation:
            code.call("fchdir", kept, path=destination)
            mount_call(code, "", ".", "", wanted, "", destination)


def bind_in_root(
    code: Code,
    source: str,
    recursive: bool,
    destination: str,
    own: tuple[int, int],
    deep: tuple[int, int],
    propagation: tuple[int, ...],
) -> None:
    flags = mount.OPEN_TREE_CLONE | mount.OPEN_TREE_CLOEXEC | (libc.AT_RECURSIVE if recursive else 0)
    code.call("open_tree", AT_FDCWD, code.text(absolute(source)), flags, out=TWO, path=source)
    if any(deep):
        set_attributes(code, TWO, deep, recursive=True)
    if any(own):
        set_attributes(code, TWO, own)
    for kind in propagation:
        set_attributes(code, TWO, (0, 0), recursive=bool(kind & mount.MS_REC), propagation=kind & ~mount.MS_REC)
    file, opened = Label(), Label()
    code.call("fstat", TWO, STAT)
    is_kind(code, stat.S_IFDIR, to=file)
    open_target(code, destination, True, ONE)
    code.go(opened)
    code.place(file)
    open_target(code, destination, False, ONE)
    code.call("fstat", ONE, STAT)
    code.test(STAT_MODE, stat.S_IFDIR, mask=0o170000, width=4, unequal=True, error=errno.EISDIR, tell=Tell(give_up=True))
    code.place(opened)
    attach(code, TWO, ONE, destination)
    code.close(ONE)
    code.close(TWO)


def make_readonly(code: Code, keep: Slot | None, name: str) -> None:
    slot = ROOT if name == "root" else keep
    assert slot is not None
    set_attributes(code, slot, (mount.MOUNT_ATTR_RDONLY, 0))
    if name != "root":
        code.close(slot)


def symlink_in_root(code: Code, target: str, path: str) -> None:
    directory, _, name = path.rpartition("/")
    open_inside(code, directory or "/", DIRECTORY, ONE, give_up=True)
    code.call("symlinkat", code.text(target), ONE, code.text(name), errnos=(errno.EEXIST,), path=path)
    code.close(ONE)


def make_directory(code: Code, path: str) -> None:
    open_inside(code, path, DIRECTORY, ONE, give_up=True)
    code.close(ONE)


def mknod_in_root(code: Code, path: str, mode: int, major: int, minor: int, uid: int, gid: int) -> None:
    directory, _, name = path.rpartition("/")
    number = os.makedev(major, minor) if not stat.S_ISFIFO(mode) else 0
    open_inside(code, directory or "/", DIRECTORY, ONE, give_up=True)
    code.call("mknodat", ONE, code.text(name), mode, number, path=path, give_up=True)  # EEXIST: plain looks what is there
    if uid or gid:
        code.call("fchownat", ONE, code.text(name), uid, gid, libc.AT_SYMLINK_NOFOLLOW, path=path)
    code.close(ONE)


def link_ptmx(code: Code) -> None:
    open_inside(code, "/dev", DIRECTORY, ONE, give_up=True)
    code.call("unlinkat", ONE, code.text("ptmx"), 0, errnos=(errno.ENOENT,), path="/dev/ptmx")
    code.call("symlinkat", code.text("pts/ptmx"), ONE, code.text("ptmx"), path="/dev/ptmx")
    code.close(ONE)


def open_null(code: Code) -> None:
    code.call("openat", AT_FDCWD, code.text("/dev/null"), LOOK | os.O_NOFOLLOW, 0, out=NULL, path="/dev/null")
    check_null(code, NULL, "/dev/null")


def check_null(code: Code, descriptor: Value, path: str) -> None:
    tell = Tell("open", path, "not the null device")
    code.call("fstat", descriptor, STAT)
    is_kind(code, stat.S_IFCHR, error=errno.ENODEV, tell=tell)
    code.test(STAT_RDEV, null.NUMBER, width=8, error=errno.ENODEV, tell=tell)


def open_hidden(code: Code) -> None:
    code.call("fsopen", code.text("tmpfs"), mount.FSOPEN_CLOEXEC, out=ONE)
    for key, value in (("source", "tmpfs"), ("size", "0"), ("nr_inodes", "1"), ("mode", "755")):
        code.call("fsconfig", ONE, mount.FSCONFIG_SET_STRING, code.text(key), code.text(value), 0)
    code.call("fsconfig", ONE, mount.FSCONFIG_CMD_CREATE, 0, 0, 0)
    attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
    code.call("fsmount", ONE, mount.FSMOUNT_CLOEXEC, attributes, out=HIDDEN)
    code.close(ONE)


def mask_path(code: Code, path: str) -> None:
    gone, file, end = Label(), Label(), Label()
    between = Tell("mask", path, "another mount came between")
    open_inside(code, path, LOOK, ONE, errnos=(errno.ENOENT, errno.ENOTDIR), to=gone)
    code.call("fstat", ONE, STAT)
    is_kind(code, stat.S_IFDIR, to=file)
    cover(code, HIDDEN, path)
    code.call("fstatfs", ONE, STATFS)
    code.test(STATFS_TYPE, TMPFS_MAGIC, width=8, error=errno.EBUSY, tell=between)
    code.go(end)
    code.place(file)
    cover(code, NULL, path, null.ATTRIBUTES)
    check_null(code, ONE, path)
    code.place(end)
    code.close(ONE)
    code.place(gone)


def cover(code: Code, with_what: Value, path: str, attributes: int = 0, recursive: bool = False) -> None:
    """Mount a copy over ONE; then ONE is what is seen there."""
    flags = COPY | (libc.AT_RECURSIVE if recursive else 0)
    code.call("open_tree", with_what, code.text(""), flags, out=TWO, path=path)
    if attributes:
        set_attributes(code, TWO, (attributes, 0), recursive=recursive)
    attach(code, TWO, ONE, path)
    code.close(TWO)
    code.close(ONE)
    open_inside(code, path, LOOK, ONE)


def make_path_readonly(code: Code, path: str) -> None:
    gone = Label()
    open_inside(code, path, LOOK, ONE, errnos=(errno.ENOENT, errno.ENOTDIR), to=gone)
    cover(code, ONE, path, mount.MOUNT_ATTR_RDONLY, recursive=True)
    code.call("fstatfs", ONE, STATFS)
    between = Tell("make_path_readonly", path, "another mount came between")
    code.test(STATFS_FLAGS, os.ST_RDONLY, mask=os.ST_RDONLY, width=8, error=errno.EBUSY, tell=between)
    code.close(ONE)
    code.place(gone)


def open_procfs(code: Code) -> None:
    code.call("fsopen", code.text("proc"), mount.FSOPEN_CLOEXEC, out=ONE)
    code.call("fsconfig", ONE, mount.FSCONFIG_CMD_CREATE, 0, 0, 0)
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
    code.call("fsmount", ONE, mount.FSMOUNT_CLOEXEC, attributes, out=PROCFS)
    code.close(ONE)


def write_procfs(code: Code, path: str, value: str) -> None:
    open_inside(code, path, os.O_WRONLY, ONE, root=PROCFS, resolve=sysctl.STRICT)
    raw = os.fsencode(value)
    code.call("write", ONE, code.data(raw), len(raw), path=f"/proc/{path}")
    code.close(ONE)


def bring_up(code: Code, name: str) -> None:
    """The loopback of a new network namespace: it has no other flag yet that could be lost."""
    if name != "lo":
        raise CannotLowerError
    code.call("socket", 1, 2 | os.O_CLOEXEC, 0, out=ONE)
    code.call("ioctl", ONE, 0x8914, code.data(struct.pack("16sH22x", b"lo", 1)), path=name)  # SIOCSIFFLAGS, IFF_UP
    code.close(ONE)


LOWER: dict[str, Callable[..., None]] = {
    "mount": lambda code, source, target, kind, flags, data: mount_call(code, source, target, kind, flags, data),
    "mount_rootfs": mount_rootfs,
    "bind_rootfs": bind_rootfs,
    "mount_in_root": mount_in_root,
    "bind_in_root": bind_in_root,
    "make_readonly": make_readonly,
    "symlink_in_root": symlink_in_root,
    "make_directory": make_directory,
    "mknod_in_root": mknod_in_root,
    "link_ptmx": link_ptmx,
    "open_null": open_null,
    "open_hidden": open_hidden,
    "mask_path": mask_path,
    "make_path_readonly": make_path_readonly,
    "open_procfs": open_procfs,
    "write_procfs": write_procfs,
    "bring_up": bring_up,
    "fchdir": lambda code, name: code.call("fchdir", ROOT),
    "chdir": lambda code, path: code.call("chdir", code.text(path), path=path),
    "pivot_root": lambda code, new, old: code.call("pivot_root", code.text(new), code.text(old), path=new),
    "umount2": lambda code, target, flags: code.call("umount2", code.text(target), flags, path=target),
    "seal_interpreter": lambda code: None,
}
