"""What is so on this machine, as plain data, and how it is found out.

Nothing is changed here: system calls are tried with arguments that must fail, so that only ENOSYS tells that one is missing; file
systems and nftables may make the kernel load their module, as the first container would. (`cgroup.detect` may make and remove an
empty directory in each hierarchy.) A fact that cannot be had is None or absent; nothing raises.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from gorae.cgroup.layout import NONE, Layout, detect
from gorae.linux import capability, libc, mount, namespace, process, seccomp, system

ACTIONS = {
    "errno": seccomp.SECCOMP_RET_ERRNO,
    "kill_process": seccomp.SECCOMP_RET_KILL_PROCESS,
    "log": seccomp.SECCOMP_RET_LOG,
    "user_notif": seccomp.SECCOMP_RET_USER_NOTIF,
}

# Arguments with which each call must fail, whoever calls.
_HARMLESS: dict[str, tuple[int | None, ...]] = {
    "clone3": (None, 0),
    "pidfd_open": (-1, 0),
    "pidfd_send_signal": (-1, 0, None, 0),
    "openat2": (-1, None, None, 0),
    "open_tree": (-1, None, 0),
    "move_mount": (-1, None, -1, None, 0),
    "fsopen": (None, 0),
    "fsconfig": (-1, 0, None, None, 0),
    "fsmount": (-1, 0, 0),
    "mount_setattr": (-1, None, 0, None, 0),
    "close_range": (1, 0, 0),
    "bpf": (-1, None, 0),
    "keyctl": (-1,),
}

_NETLINK_NETFILTER = 12
_NFT_MSG_GETGEN = 10 << 8 | 16
_NFT_MSG_NEWGEN = 10 << 8 | 15
_NLMSG_ERROR = 2


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system on which the data root is or will be."""

    path: str
    """The data root, or the nearest directory above that exists."""
    filesystem: str
    free: int
    total: int
    files_free: int | None
    """None where the file system makes inodes as it needs them (btrfs)."""
    read_only: bool


@dataclass(frozen=True, slots=True)
class Facts:
    today: date
    kernel_release: str
    machine: str
    pointer_bits: int
    python: tuple[int, int, int]
    os_release: Mapping[str, str]
    user_id: int
    nested_user_namespace: bool
    """Root here is not the machine's root."""
    effective: int
    """Capability sets of this process."""
    bounding: int
    last_capability: int
    """The highest number that the kernel knows."""
    calls: frozenset[str]
    """Those of the tried system calls that the kernel has and lets through."""
    exit_status_by_pidfd: bool
    namespaces: frozenset[str]
    """OCI's names."""
    cgroup_mode: str
    """v1, hybrid, v2 or none"""
    controllers: frozenset[str]
    control_files: frozenset[str]
    """Of a cgroup that is not the root; empty when unknown."""
    filesystems: frozenset[str]
    """Those of overlay, tmpfs, proc, sysfs, devpts and mqueue that can be mounted."""
    seccomp_actions: frozenset[str]
    filtered: bool
    """A seccomp filter is in force on this process already."""
    nftables: bool | None
    data_root: str
    disk: Disk | None


def gather(data_root: str = "/var/lib/gorae", today: date | None = None) -> Facts:
    """Look. Takes a few milliseconds."""
    layout = _layout()
    return Facts(
        today=today or date.today(),
        kernel_release=system.kernel_release(),
        machine=system.machine(),
        pointer_bits=system.pointer_bits(),
        python=sys.version_info[:3],
        os_release=system.os_release(),
        user_id=os.geteuid(),
        nested_user_namespace=_first_line("/proc/self/uid_map").split() not in ([], ["0", "0", "4294967295"]),
        effective=capability.get().effective,
        bounding=capability.bounding(),
        last_capability=capability.last(),
        calls=frozenset(name for name, arguments in _HARMLESS.items() if _has(name, arguments)),
        exit_status_by_pidfd=process.knows_exit_status(),
        namespaces=frozenset(kind.oci for kind in namespace.available()),
        cgroup_mode=layout.mode,
        controllers=frozenset(layout.controllers),
        control_files=layout.files,
        filesystems=_filesystems(),
        seccomp_actions=_seccomp_actions(),
        filtered=_filtered(),
        nftables=_nftables(),
        data_root=data_root,
        disk=_disk(data_root),
    )


def _layout() -> Layout:
    try:
        return detect()
    except OSError:
        return NONE


def _has(name: str, arguments: tuple[int | None, ...]) -> bool:
    try:
        libc.call(name, *arguments)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def _filesystems() -> frozenset[str]:
    wanted = {"overlay", "tmpfs", "proc", "sysfs", "devpts", "mqueue"}
    try:
        known = wanted & system.filesystems()
    except OSError:
        known = set()
    for name in wanted - known:
        # Only fsopen makes the kernel look for the module; it needs CAP_SYS_ADMIN, without which the configuration must tell.
        with suppress(OSError):
            os.close(mount.fsopen(name))
            known.add(name)
    if "overlay" not in known and _configured("CONFIG_OVERLAY_FS"):
        known.add("overlay")
    return frozenset(known)


def _configured(option: str) -> bool:
    try:
        return option in (system.kernel_config() or {})
    except OSError:
        return False


def _seccomp_actions() -> frozenset[str]:
    """Before Linux 4.14 the kernel cannot be asked; then the status file tells whether there are filters at all."""
    found = {name for name, action in ACTIONS.items() if seccomp.action_available(action)}
    if not found and _status("Seccomp") is not None:
        found.add("errno")
    return frozenset(found)


def _filtered() -> bool:
    return _status("Seccomp") == "2"


def _status(key: str) -> str | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(f"{key}:")), None)
    except OSError:
        return None


def _nftables() -> bool | None:
    """Ask nf_tables for its generation number, as every change of a rule does; None when we may not ask and nothing else tells."""
    header = struct.pack("=IHHII", 20, _NFT_MSG_GETGEN, 1, 1, 0)
    try:
        sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError:
        return False
    try:
        sock.settimeout(2)
        sock.sendto(header + struct.pack("=BBH", 0, 0, 0), (0, 0))
        answer = sock.recv(4096)
    except OSError:
        return None
    finally:
        sock.close()
    _, kind, _, _, _ = struct.unpack_from("=IHHII", answer)
    if kind == _NFT_MSG_NEWGEN:
        return True
    (code,) = struct.unpack_from("=i", answer, 16) if kind == _NLMSG_ERROR else (0,)
    if -code in (errno.EPERM, errno.EACCES):
        return True if _configured("CONFIG_NF_TABLES") else None
    return False


def _disk(data_root: str) -> Disk | None:
    path = os.path.abspath(data_root)
    while not os.path.isdir(path) and path != "/":
        path = os.path.dirname(path)
    try:
        found = os.statvfs(path)
        name = system.statfs(path).name
    except OSError:
        return None
    return Disk(
        path=path,
        filesystem=name,
        free=found.f_bavail * found.f_frsize,
        total=found.f_blocks * found.f_frsize,
        files_free=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""
