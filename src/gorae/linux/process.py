"""Processes: prctl, pidfds, exit statuses, signals by name, resource limits.

    wait status (man 2 wait)          exit code (Docker's)
    exited with n         n << 8      n
    killed by signal s    s (| 0x80)  128 + s
"""

from __future__ import annotations

import ctypes
import errno
import os

from gorae.linux import libc, system

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_GET_KEEPCAPS = 7
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39

PIDFD_NONBLOCK = os.O_NONBLOCK
PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, struct pidfd_info) with the first 64 bytes, which Linux 6.13 has and later ones understand."""
PIDFD_INFO_PID = 1
PIDFD_INFO_EXIT = 8

SIGNALS: dict[str, int] = {
    "ABRT": 6, "ALRM": 14, "BUS": 7, "CHLD": 17, "CLD": 17, "CONT": 18, "FPE": 8, "HUP": 1, "ILL": 4, "INT": 2, "IO": 29,
    "IOT": 6, "KILL": 9, "PIPE": 13, "POLL": 29, "PROF": 27, "PWR": 30, "QUIT": 3, "SEGV": 11, "STKFLT": 16, "STOP": 19,
    "SYS": 31, "TERM": 15, "TRAP": 5, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "USR1": 10, "USR2": 12, "VTALRM": 26,
    "WINCH": 28, "XCPU": 24, "XFSZ": 25,
    "RTMIN": 34, **{f"RTMIN+{n}": 34 + n for n in range(1, 16)}, **{f"RTMAX-{n}": 64 - n for n in range(14, 0, -1)}, "RTMAX": 64,
}  # fmt: skip
"""Number by name without SIG, for the machines of `syscall_table` (alpha, mips, parisc and sparc number differently).
The C library keeps 32 and 33 for its threads, so its RTMIN is 34."""

_SIGNAL_NAMES = {number: name for name, number in reversed(SIGNALS.items()) if name not in ("CLD", "IOT", "POLL")}

RLIMITS: dict[str, int] = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
RLIM_INFINITY = 0xFFFF_FFFF_FFFF_FFFF


def prctl(option: int, *arguments: libc.Word) -> int:
    return libc.call("prctl", option, *arguments)


def set_dumpable(on: bool) -> None:
    """Whether /proc/PID of this process belongs to its user and may be read and traced by them. execve turns it on again."""
    prctl(PR_SET_DUMPABLE, int(on))


def dumpable() -> bool:
    return prctl(PR_GET_DUMPABLE) == 1


def set_no_new_privs() -> None:
    """No execve gives rights any more (set-user-ID, file capabilities); cannot be undone."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def no_new_privs() -> bool:
    return prctl(PR_GET_NO_NEW_PRIVS) == 1


def set_child_subreaper(on: bool) -> None:
    """Orphaned descendants become this process's children. Not inherited."""
    prctl(PR_SET_CHILD_SUBREAPER, int(on))


def child_subreaper() -> bool:
    value = ctypes.c_int()
    prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value))
    return value.value == 1


def set_keepcaps(on: bool) -> None:
    """Keep the permitted capabilities when the user id leaves 0. execve clears it."""
    prctl(PR_SET_KEEPCAPS, int(on))


def set_name(name: str) -> None:
    """The thread's name in /proc/PID/comm, cut to 15 bytes."""
    prctl(PR_SET_NAME, os.fsencode(name)[:15])


def set_pdeathsig(signal: int) -> None:
    """The signal that this process gets when the *thread* that made it dies; 0 for none. Credentials changes and execve of a
    set-user-ID program clear it. A parent that is already dead sends nothing: compare getppid afterwards."""
    prctl(PR_SET_PDEATHSIG, signal)


def set_oom_score_adj(value: int, pid: int | str = "self") -> None:
    """-1000 (never kill) to 1000. Going below the process's own minimum needs CAP_SYS_RESOURCE."""
    path = f"/proc/{pid}/oom_score_adj"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"%d" % value)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise libc.named(error, "write", path) from None


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A descriptor of the process, readable when it has ended (Linux 5.3)."""
    return libc.call("pidfd_open", pid, flags)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """Signal exactly this process, even if its number has been given to another one; ProcessLookupError when it is gone."""
    libc.call("pidfd_send_signal", pidfd, signal, None, 0)


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """A duplicate of a descriptor of that process (Linux 5.6, as ptrace's rights)."""
    return libc.call("pidfd_getfd", pidfd, descriptor, 0)


def pidfd_exit_status(pidfd: int) -> int | None:
    """The wait status of an ended process, whoever reaped it; None as long as it lives or waits to be reaped.

    Linux 6.15 (PIDFD_GET_INFO with PIDFD_INFO_EXIT). None also on older kernels: use `knows_exit_status` to tell them apart.
    """
    information = _pidfd_information(pidfd, PIDFD_INFO_EXIT)
    if information is None or not information[0] & PIDFD_INFO_EXIT:
        return None
    return ctypes.c_int.from_buffer(information, 60).value & 0xFFFF


def knows_exit_status() -> bool:
    """Whether `pidfd_exit_status` can answer on this kernel. The only sure way would be to let a child die, so this goes by what
    the kernel says of itself: the ioctl exists and the release is at least 6.15."""
    try:
        descriptor = pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        known = _pidfd_information(descriptor, PIDFD_INFO_PID) is not None
    finally:
        os.close(descriptor)
    return known and system.kernel_version() >= (6, 15)


def _pidfd_information(pidfd: int, mask: int) -> ctypes.Array[ctypes.c_uint64] | None:
    """struct pidfd_info: u64 mask, u64 cgroupid, u32 pid tgid ppid, eight user and group ids, s32 exit_code."""
    information = (ctypes.c_uint64 * 8)(mask)
    try:
        libc.call("ioctl", pidfd, PIDFD_GET_INFO, ctypes.byref(information))
    except OSError as error:
        # ENOTTY, EINVAL: older than 6.13. ESRCH: reaped, on a kernel before 6.15, which forgets.
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        raise
    return information


def exit_code(status: int) -> int:
    """Docker's exit code of a wait status: 0 to 255, 128 + n for the signal n."""
    signal = status & 0x7F
    return 128 + signal if signal else status >> 8 & 0xFF


def exit_signal(status: int) -> int | None:
    """The signal that ended the process."""
    return status & 0x7F or None


def core_dumped(status: int) -> bool:
    return bool(status & 0x80)


def signal_number(word: str) -> int:
    """The number of `TERM`, `SIGTERM`, `sigterm`, `SIGRTMIN+3` or `15`; ValueError for what is no signal."""
    name = word.strip().upper()
    if name.isascii() and name.isdigit():
        number = int(name) if len(name) < 4 else 0
        if 1 <= number <= 64:
            return number
    elif (known := SIGNALS.get(name.removeprefix("SIG"))) is not None:
        return known
    raise ValueError(f"invalid signal: {word}")


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `SIG32` for a number without a name."""
    name = _SIGNAL_NAMES.get(number)
    return f"SIG{name}" if name else f"SIG{number}"


def get_rlimit(resource: int, pid: int = 0) -> tuple[int, int]:
    """(soft, hard); RLIM_INFINITY is unlimited."""
    old = (ctypes.c_uint64 * 2)()
    libc.call("prlimit64", pid, resource, None, ctypes.byref(old))
    return old[0], old[1]


def set_rlimit(resource: int, soft: int, hard: int, pid: int = 0) -> None:
    """Raising the hard limit needs CAP_SYS_RESOURCE."""
    new = (ctypes.c_uint64 * 2)(soft, hard)
    libc.call("prlimit64", pid, resource, ctypes.byref(new), None)


def set_groups(groups: tuple[int, ...] | list[int]) -> None:
    """Set the supplementary groups of this thread and read them back (CVE-2023-6507 and user namespaces that deny setgroups)."""
    try:
        os.setgroups(groups)
    except OSError as error:
        raise libc.named(error, "setgroups") from None
    if sorted(set(os.getgroups())) != sorted(set(groups)):
        raise libc.failure("setgroups", errno.EPERM, more="the groups were not set")
