"""What machine is this: the kernel's release, the distribution, file systems and their types."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from dataclasses import dataclass

from gorae.linux import libc

PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572
TMPFS_MAGIC = 0x01021994
RAMFS_MAGIC = 0x858458F6
DEVPTS_SUPER_MAGIC = 0x1CD1
MQUEUE_MAGIC = 0x19800202
NSFS_MAGIC = 0x6E736673
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
OVERLAYFS_SUPER_MAGIC = 0x794C7630
EXT4_SUPER_MAGIC = 0xEF53
XFS_SUPER_MAGIC = 0x58465342
BTRFS_SUPER_MAGIC = 0x9123683E
F2FS_SUPER_MAGIC = 0xF2F52010
ZFS_SUPER_MAGIC = 0x2FC12FC1
NFS_SUPER_MAGIC = 0x6969
SMB2_SUPER_MAGIC = 0xFE534D42
V9FS_MAGIC = 0x01021997
FUSE_SUPER_MAGIC = 0x65735546
ECRYPTFS_SUPER_MAGIC = 0xF15F
SQUASHFS_MAGIC = 0x73717368
EROFS_SUPER_MAGIC = 0xE0F5E1E2
SELINUX_MAGIC = 0xF97CFF8C
SECURITYFS_MAGIC = 0x73636673
BPF_FS_MAGIC = 0xCAFE4A11

FILESYSTEM_NAMES: dict[int, str] = {
    PROC_SUPER_MAGIC: "proc",
    SYSFS_MAGIC: "sysfs",
    TMPFS_MAGIC: "tmpfs",
    RAMFS_MAGIC: "ramfs",
    DEVPTS_SUPER_MAGIC: "devpts",
    MQUEUE_MAGIC: "mqueue",
    NSFS_MAGIC: "nsfs",
    CGROUP_SUPER_MAGIC: "cgroup",
    CGROUP2_SUPER_MAGIC: "cgroup2",
    OVERLAYFS_SUPER_MAGIC: "overlay",
    EXT4_SUPER_MAGIC: "ext4",
    XFS_SUPER_MAGIC: "xfs",
    BTRFS_SUPER_MAGIC: "btrfs",
    F2FS_SUPER_MAGIC: "f2fs",
    ZFS_SUPER_MAGIC: "zfs",
    NFS_SUPER_MAGIC: "nfs",
    SMB2_SUPER_MAGIC: "smb",
    V9FS_MAGIC: "9p",
    FUSE_SUPER_MAGIC: "fuse",
    ECRYPTFS_SUPER_MAGIC: "ecryptfs",
    SQUASHFS_MAGIC: "squashfs",
    EROFS_SUPER_MAGIC: "erofs",
    SELINUX_MAGIC: "selinuxfs",
    SECURITYFS_MAGIC: "securityfs",
    BPF_FS_MAGIC: "bpf",
}


@dataclass(frozen=True, slots=True)
class Statfs:
    type: int
    """One of the *_MAGIC numbers."""
    block_size: int
    blocks: int
    free: int
    """Blocks free at all."""
    available: int
    """Blocks free for those without CAP_SYS_RESOURCE."""
    files: int
    files_free: int

    @property
    def name(self) -> str:
        return FILESYSTEM_NAMES.get(self.type, hex(self.type))


def statfs(where: int | str | bytes) -> Statfs:
    """The file system behind a descriptor (an O_PATH one too) or a path; Python's statvfs hides the type."""
    buffer = (ctypes.c_ulong * 32)()
    if isinstance(where, int):
        libc.call("fstatfs", where, ctypes.byref(buffer))
    else:
        libc.call("statfs", libc.text(where), ctypes.byref(buffer), path=os.fsdecode(where))
    kind, size, blocks, free, available, files, files_free = buffer[:7]
    return Statfs(kind & 0xFFFF_FFFF, size, blocks, free, available, files, files_free)


def kernel_release() -> str:
    """`6.18.44-fc-v782`"""
    return os.uname().release


def kernel_version() -> tuple[int, int]:
    """(6, 18)"""
    return parse_release(kernel_release())


def parse_release(release: str) -> tuple[int, int]:
    """(major, minor) of a release; (0, 0) for what does not begin with two numbers."""
    match = re.match(r"(\d+)\.(\d+)", release, re.ASCII)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def machine() -> str:
    """The kernel's machine, `x86_64`; a 32-bit process may run on it (see `pointer_bits`)."""
    return os.uname().machine


def pointer_bits() -> int:
    return ctypes.sizeof(ctypes.c_void_p) * 8


def os_release(root: str = "/") -> dict[str, str]:
    """The distribution's description (man 5 os-release); empty when there is none."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
                return parse_os_release(file.read(65536))
        except OSError:
            continue
    return {}


def parse_os_release(text: str) -> dict[str, str]:
    """Shell assignments with at most one pair of quotes; lines that are none are left out."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*", line)
        if not match:
            continue
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            quote, value = value[0], value[1:-1]
            if quote == '"':
                value = re.sub(r"\\([\\\"$`])", r"\1", value)
        values[match[1]] = value
    return values


def filesystems() -> frozenset[str]:
    """The file system types the kernel has now; a module that is not loaded yet is missing."""
    try:
        with open("/proc/filesystems", encoding="ascii") as file:
            return frozenset(line.split()[-1] for line in file if line.strip())
    except OSError as error:
        raise libc.named(error, "read", "/proc/filesystems") from None


def kernel_config() -> dict[str, str] | None:
    """How the running kernel was built, `{"CONFIG_OVERLAY_FS": "m", …}`, from /proc/config.gz or /boot; None without either."""
    release = kernel_release()
    for path in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        try:
            with open(path, "rb") as file:
                data = file.read(4 << 20)
            if path.endswith(".gz"):
                # Only a check wants this, so only then zlib is loaded; 31: a gzip header is expected.
                import zlib

                data = zlib.decompressobj(31).decompress(data, 4 << 20)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR):
                raise libc.named(error, "read", path) from None
            continue
        return parse_kernel_config(data.decode("ascii", "replace"))
    return None


def parse_kernel_config(text: str) -> dict[str, str]:
    """Options that are set; "# CONFIG_X is not set" leaves X out."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            values[name] = value.strip('"')
    return values
