"""Capabilities: what root may do, in 41 bits.

    effective    counts now              bounding   may ever be permitted by execve
    permitted    may become effective    ambient    survives execve of an ordinary program
    inheritable  (kept 0: CVE-2022-29162 and its kin)

A set is an int with bit n for capability n.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterable
from dataclasses import dataclass

from gorae.linux import libc

NAMES: dict[str, int] = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_LINUX_IMMUTABLE": 9,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_BROADCAST": 11,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_IPC_OWNER": 15,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_PACCT": 20,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYS_TIME": 25,
    "CAP_SYS_TTY_CONFIG": 26,
    "CAP_MKNOD": 27,
    "CAP_LEASE": 28,
    "CAP_AUDIT_WRITE": 29,
    "CAP_AUDIT_CONTROL": 30,
    "CAP_SETFCAP": 31,
    "CAP_MAC_OVERRIDE": 32,
    "CAP_MAC_ADMIN": 33,
    "CAP_SYSLOG": 34,
    "CAP_WAKE_ALARM": 35,
    "CAP_BLOCK_SUSPEND": 36,
    "CAP_AUDIT_READ": 37,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_CHECKPOINT_RESTORE": 40,
}

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_IS_SET = 1
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4


@dataclass(frozen=True, slots=True)
class Sets:
    effective: int
    permitted: int
    inheritable: int


def mask(names: Iterable[str]) -> int:
    """The set of `CAP_…` names; KeyError for an unknown one."""
    value = 0
    for name in names:
        value |= 1 << NAMES[name]
    return value


def names(value: int) -> tuple[str, ...]:
    """The names in a set, by number; bits this table does not know are `CAP_n`."""
    known = {number: name for name, number in NAMES.items()}
    return tuple(known.get(number, f"CAP_{number}") for number in range(value.bit_length()) if value >> number & 1)


def last() -> int:
    """The highest capability this kernel knows."""
    number = len(NAMES) - 1
    while number > 0 and not _knows(number):
        number -= 1
    while number < 63 and _knows(number + 1):
        number += 1
    return number


def _knows(number: int) -> bool:
    try:
        libc.call("prctl", _PR_CAPBSET_READ, number)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def bounding() -> int:
    """This thread's bounding set."""
    value = 0
    for number in range(64):
        try:
            value |= libc.call("prctl", _PR_CAPBSET_READ, number) << number
        except OSError as error:
            if error.errno == errno.EINVAL:
                break
            raise
    return value


def get(pid: int = 0) -> Sets:
    """The three sets of a thread; 0 is the calling one."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, pid)
    data = (ctypes.c_uint32 * 6)()
    libc.call("capget", ctypes.byref(header), ctypes.byref(data))
    return Sets(data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32)


def set(effective: int, permitted: int, inheritable: int) -> None:
    """Set the calling thread's three sets. Nothing can be permitted that was not before."""
    low, high = 0xFFFF_FFFF, 32
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(
        effective & low, permitted & low, inheritable & low, effective >> high, permitted >> high, inheritable >> high
    )
    libc.call("capset", ctypes.byref(header), ctypes.byref(data))


def drop_bounding(dropped: int) -> None:
    """Take the capabilities of a set out of the bounding set (needs CAP_SETPCAP); those already out cost nothing."""
    present = dropped & bounding()
    for number in range(present.bit_length()):
        if present >> number & 1:
            libc.call("prctl", _PR_CAPBSET_DROP, number)


def raise_ambient(raised: int) -> None:
    """Add a set to the ambient set; each must be permitted and inheritable (Linux 4.3)."""
    for number in range(raised.bit_length()):
        if raised >> number & 1:
            libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)


def clear_ambient() -> None:
    libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def ambient() -> int:
    value = 0
    for number in range(last() + 1):
        value |= libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_IS_SET, number) << number
    return value
