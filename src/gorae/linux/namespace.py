"""Namespaces, and the birth of a process in them.

    kind     /proc/PID/ns/   flag               OCI's word   since
    mount    mnt             CLONE_NEWNS        mount        2.4.19
    …        see KINDS

A raw `clone3` is not `os.fork`: Python's after-fork hooks do not run in the child (neither those of `os.register_at_fork` nor the
interpreter's own), and the C library does not know that it has been cloned. So in the child: one thread, no imports that take
locks, no `threading`, no `signal.raise_signal` (the C library's cached thread id is the parent's: use `os.kill(os.getpid(), …)`),
`os.getpid()` is right (not cached since glibc 2.25), and the end is `os.execve` or `os._exit`. The caller must be
single-threaded, and blocks signals around the call if a handler running in the child would hurt.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass

from gorae.linux import libc

CLONE_NEWTIME = 0x00000080
CLONE_VM = 0x00000100
CLONE_FS = 0x00000200
CLONE_FILES = 0x00000400
CLONE_SIGHAND = 0x00000800
CLONE_PIDFD = 0x00001000
CLONE_PTRACE = 0x00002000
CLONE_VFORK = 0x00004000
CLONE_PARENT = 0x00008000
CLONE_THREAD = 0x00010000
CLONE_NEWNS = 0x00020000
CLONE_SYSVSEM = 0x00040000
CLONE_SETTLS = 0x00080000
CLONE_UNTRACED = 0x00800000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_IO = 0x80000000
CLONE_CLEAR_SIGHAND = 0x1_0000_0000
CLONE_INTO_CGROUP = 0x2_0000_0000

SIGCHLD = 17


@dataclass(frozen=True, slots=True)
class Kind:
    oci: str
    """The OCI runtime specification's word."""
    file: str
    """The name below /proc/PID/ns."""
    flag: int
    since: tuple[int, int]
    """The kernel version that completed it."""


KINDS: tuple[Kind, ...] = (
    Kind("user", "user", CLONE_NEWUSER, (3, 8)),
    Kind("mount", "mnt", CLONE_NEWNS, (2, 4)),
    Kind("pid", "pid", CLONE_NEWPID, (2, 6)),
    Kind("network", "net", CLONE_NEWNET, (2, 6)),
    Kind("ipc", "ipc", CLONE_NEWIPC, (2, 6)),
    Kind("uts", "uts", CLONE_NEWUTS, (2, 6)),
    Kind("cgroup", "cgroup", CLONE_NEWCGROUP, (4, 6)),
    Kind("time", "time", CLONE_NEWTIME, (5, 6)),
)
"""In the order in which a process has to join them: the user namespace first (it gives the capabilities for the others)."""

BY_OCI: dict[str, Kind] = {kind.oci: kind for kind in KINDS}


def clone3(flags: int, *, exit_signal: int = SIGCHLD, cgroup_fd: int = -1) -> tuple[int, int]:
    """Make a child; return `(pid, pidfd)` in the parent, which owns the pidfd, and `(0, -1)` in the child.

    CLONE_PIDFD is always added. With `cgroup_fd` (a directory of cgroup v2) the child is born in that group (Linux 5.7). Before
    Linux 5.3, and where a seccomp filter answers ENOSYS, clone(2) does the same, except for CLONE_NEWTIME and `cgroup_fd`. The
    flags must not hold CLONE_VM: the child returns from this function on its copy of the stack.
    """
    if flags & (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND):
        raise ValueError("clone3: a child that shares memory cannot return into Python")
    flags |= CLONE_PIDFD
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
    pidfd = ctypes.c_int(-1)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup.
    # The last field came with 5.7; an older kernel takes the longer struct as long as what it does not know is 0.
    arguments = (ctypes.c_uint64 * 11)(
        flags, ctypes.addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup_fd if cgroup_fd >= 0 else 0
    )
    try:
        pid = libc.call("clone3", ctypes.byref(arguments), ctypes.sizeof(arguments))
    except OSError as error:
        if error.errno != errno.ENOSYS or cgroup_fd >= 0 or flags & (CLONE_NEWTIME | CLONE_CLEAR_SIGHAND):
            raise
        pid = _clone(flags, exit_signal, pidfd)
    return (pid, pidfd.value) if pid else (0, -1)


def _clone(flags: int, exit_signal: int, pidfd: ctypes.c_int) -> int:
    """clone(2), which writes the pidfd where `parent_tid` points (Linux 5.2). The first three arguments are alike everywhere."""
    return libc.call("clone", flags | exit_signal, 0, ctypes.byref(pidfd))


def unshare(flags: int) -> None:
    libc.call("unshare", flags)


def setns(descriptor: int, flags: int = 0) -> None:
    """Join the namespace behind a /proc/PID/ns/ descriptor, or those in `flags` of the process behind a pidfd (Linux 5.8)."""
    libc.call("setns", descriptor, flags)


def open_namespace(kind: Kind, pid: int | str = "self") -> int:
    """A descriptor of one namespace of a process; it keeps the namespace alive."""
    path = f"/proc/{pid}/ns/{kind.file}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise libc.named(error, "open", path) from None


def identity(kind: Kind, pid: int | str = "self") -> str:
    """The namespace's name as the kernel writes it, `mnt:[4026531841]`."""
    path = f"/proc/{pid}/ns/{kind.file}"
    try:
        return os.readlink(path)
    except OSError as error:
        raise libc.named(error, "readlink", path) from None


def available() -> tuple[Kind, ...]:
    """The kinds that this kernel was built with."""
    return tuple(kind for kind in KINDS if os.path.exists(f"/proc/self/ns/{kind.file}"))
