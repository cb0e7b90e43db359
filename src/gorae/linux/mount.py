"""Mounts: the old calls, the new ones (Linux 5.2), and what is mounted.

    old   mount(source, target, type, flags, data)         umount2(target)          pivot_root(new, old)
    new   fsopen(type) ─▶ fsconfig_*(…) ─▶ fsmount() ─▶ a detached mount ─▶ move_mount(onto a descriptor)
          open_tree(path, OPEN_TREE_CLONE) ───────────▶ a detached copy  ─▶ mount_setattr() ─▶ move_mount()

A descriptor of a detached mount belongs to the caller; closing it unmounts what was never attached. Mounting onto a detached tree
works since Linux 6.15, so that a whole root file system can be put together before anything can see it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass

from gorae.linux import libc

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_POSIXACL = 0x10000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_I_VERSION = 0x800000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000

MNT_FORCE = 1
MNT_DETACH = 2
MNT_EXPIRE = 4
UMOUNT_NOFOLLOW = 8

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_SYMLINKS = 0x01
MOVE_MOUNT_F_AUTOMOUNTS = 0x02
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_AUTOMOUNTS = 0x20
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_SET_GROUP = 0x100
MOVE_MOUNT_BENEATH = 0x200

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_BINARY = 2
FSCONFIG_SET_PATH = 3
FSCONFIG_SET_PATH_EMPTY = 4
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000


def mount(
    source: str | bytes | None,
    target: str | bytes,
    fstype: str | None = None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """mount(2). `data` is the file system's own option string, at most a page."""
    libc.call(
        "mount",
        None if source is None else libc.text(source),
        libc.text(target),
        None if fstype is None else libc.text(fstype),
        flags,
        None if data is None else libc.text(data),
        path=os.fsdecode(target),
    )


def umount2(target: str | bytes, flags: int = 0) -> None:
    libc.call("umount2", libc.text(target), flags, path=os.fsdecode(target))


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    """Swap the root mount. `(".", ".")` in the new root puts the old one on top, to be detached at once (man 2 pivot_root)."""
    libc.call("pivot_root", libc.text(new_root), libc.text(put_old), path=os.fsdecode(new_root))


def open_tree(dirfd: int, path: str | bytes, flags: int = 0) -> int:
    """A descriptor of a mount: O_PATH of an attached one, with OPEN_TREE_CLONE a detached copy (AT_RECURSIVE: and all below)."""
    return libc.call("open_tree", dirfd, libc.text(path), flags | OPEN_TREE_CLOEXEC, path=os.fsdecode(path))


def move_mount(from_dirfd: int, from_path: str | bytes, to_dirfd: int, to_path: str | bytes, flags: int = 0) -> None:
    """Attach or move a mount. An empty path means the descriptor itself; the two EMPTY_PATH flags are then set here."""
    if not from_path:
        flags |= MOVE_MOUNT_F_EMPTY_PATH
    if not to_path:
        flags |= MOVE_MOUNT_T_EMPTY_PATH
    where = os.fsdecode(to_path) or None
    libc.call("move_mount", from_dirfd, libc.text(from_path), to_dirfd, libc.text(to_path), flags, path=where)


def attach(mount_fd: int, target_fd: int) -> None:
    """`move_mount` of a detached mount onto a descriptor: no path is resolved, so no link can lead it astray."""
    move_mount(mount_fd, "", target_fd, "")


def fsopen(fstype: str, flags: int = 0) -> int:
    """A file system context; the caller closes it after `fsmount`."""
    return libc.call("fsopen", libc.text(fstype), flags | FSOPEN_CLOEXEC, path=fstype)


def fspick(dirfd: int, path: str | bytes, flags: int = 0) -> int:
    """A context to reconfigure a mounted file system. FSPICK_EMPTY_PATH (8) is set for an empty path, FSPICK_CLOEXEC (1) always."""
    return libc.call("fspick", dirfd, libc.text(path), flags | 1 | (0 if path else 8), path=os.fsdecode(path))


def fsconfig_flag(context: int, key: str) -> None:
    """Set an option that has no value, `ro`."""
    _fsconfig(context, FSCONFIG_SET_FLAG, key, None, 0)


def fsconfig_string(context: int, key: str, value: str | bytes) -> None:
    """Set `key` to `value`, at most 255 bytes; overlay takes several lower directories one by one as `lowerdir+` (Linux 6.8)."""
    _fsconfig(context, FSCONFIG_SET_STRING, key, libc.text(value), 0)


def fsconfig_fd(context: int, key: str, value: int) -> None:
    _fsconfig(context, FSCONFIG_SET_FD, key, None, value)


def fsconfig_create(context: int) -> None:
    """Make the superblock: the step that costs, and that fails when an option is wrong."""
    _fsconfig(context, FSCONFIG_CMD_CREATE, None, None, 0)


def fsconfig_reconfigure(context: int) -> None:
    _fsconfig(context, FSCONFIG_CMD_RECONFIGURE, None, None, 0)


def _fsconfig(context: int, command: int, key: str | None, value: bytes | None, auxiliary: int) -> None:
    try:
        libc.call("fsconfig", context, command, None if key is None else libc.text(key), value, auxiliary)
    except OSError as error:
        about = [key] if key else []
        raise libc.failure("fsconfig", error.errno or 0, more="; ".join(about + list(messages(context)))) from None


def messages(context: int) -> tuple[str, ...]:
    """What the file system said about the context so far, oldest first ("overlay: no lowerdir"); each is given once."""
    said: list[str] = []
    while True:
        try:
            line = os.read(context, 4096)
        except OSError:
            # ENODATA: nothing more. EBADF and the like would only hide the error that the caller is reporting.
            return tuple(said)
        if not line:
            return tuple(said)
        said.append(line.decode("utf-8", "replace").partition(" ")[2].strip())


def fsmount(context: int, flags: int = 0, attributes: int = 0) -> int:
    """A detached mount of the context's superblock with MOUNT_ATTR_* `attributes`."""
    return libc.call("fsmount", context, flags | FSMOUNT_CLOEXEC, attributes)


def mount_setattr(
    dirfd: int,
    path: str | bytes,
    flags: int = 0,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns_fd: int = -1,
) -> None:
    """Change a mount's MOUNT_ATTR_* and propagation (MS_PRIVATE, …), with AT_RECURSIVE of all below it in one go (Linux 5.12).

    An empty path means the descriptor itself. With `userns_fd` the mount becomes id-mapped (it must be detached).
    """
    if not path:
        flags |= libc.AT_EMPTY_PATH
    if userns_fd >= 0:
        attr_set |= MOUNT_ATTR_IDMAP
    attributes = (ctypes.c_uint64 * 4)(attr_set, attr_clr, propagation, max(userns_fd, 0))
    where = os.fsdecode(path) or None
    libc.call("mount_setattr", dirfd, libc.text(path), flags, ctypes.byref(attributes), ctypes.sizeof(attributes), path=where)


@dataclass(frozen=True, slots=True)
class MountInfo:
    """One line of /proc/PID/mountinfo (man 5 proc), with its octal escapes undone."""

    id: int
    parent: int
    device: str
    """`major:minor` of what stat says of files there."""
    root: str
    """The directory within the file system that is mounted here; not `/` for a bind mount of a part."""
    mount_point: str
    options: tuple[str, ...]
    optional: tuple[str, ...]
    """`shared:N`, `master:N`, `propagate_from:N`, `unbindable`; empty for a private mount."""
    fs_type: str
    source: str
    super_options: tuple[str, ...]


def mountinfo(pid: int | str = "self") -> tuple[MountInfo, ...]:
    """The mounts that process sees, in mount order."""
    path = f"/proc/{pid}/mountinfo"
    try:
        with open(path, "rb", buffering=0) as file:
            return parse_mountinfo(file.readall())
    except OSError as error:
        raise libc.named(error, "read", path) from None


def parse_mountinfo(data: bytes) -> tuple[MountInfo, ...]:
    """Lines that cannot be understood raise OSError EINVAL: the kernel wrote them, so the reader is what is wrong."""
    found: list[MountInfo] = []
    for line in data.split(b"\n"):
        if not line:
            continue
        try:
            # An empty source (`mount("", …)`) leaves two spaces in a row, hence split at single ones.
            words = line.split(b" ")
            separator = words.index(b"-", 6)
            number, parent, device, root, point, options, *optional = words[:separator]
            fs_type, source, super_options = words[separator + 1 :]
            found.append(
                MountInfo(
                    id=int(number),
                    parent=int(parent),
                    device=device.decode(),
                    root=_plain(root),
                    mount_point=_plain(point),
                    options=tuple(_plain(options).split(",")),
                    optional=tuple(word.decode() for word in optional if word),
                    fs_type=_plain(fs_type),
                    source=_plain(source),
                    super_options=tuple(_plain(super_options).split(",")),
                )
            )
        except ValueError:
            raise libc.failure("mountinfo", errno.EINVAL, more=repr(line)) from None
    return tuple(found)


def _plain(word: bytes) -> str:
    r"""Undo the kernel's escapes: space \040, tab \011, newline \012, backslash \134 and, in sources, # \043."""
    if b"\\" not in word:
        return os.fsdecode(word)
    out = bytearray()
    position = 0
    while position < len(word):
        digits = word[position + 1 : position + 4]
        if word[position] == 0x5C and len(digits) == 3 and all(0x30 <= digit <= 0x37 for digit in digits):
            out.append(int(digits, 8) & 0xFF)
            position += 4
        else:
            out.append(word[position])
            position += 1
    return os.fsdecode(bytes(out))
