"""Seccomp filters: classic BPF over one system call's number, machine and arguments.

    struct seccomp_data        struct sock_filter (8 bytes)
    0   int nr                 u16 code   what to do
    4   u32 arch               u8  jt     instructions to skip when true
    8   u64 instruction ptr    u8  jf     … when false
    16  u64 args[6]            u32 k      the operand

How a profile becomes such a program is the runtime's affair.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable
from typing import NamedTuple

from gorae.linux import libc

AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_ARM = 0x40000028
AUDIT_ARCH_AARCH64 = 0xC00000B7
AUDIT_ARCH_RISCV64 = 0xC00000F3
AUDIT_ARCH_PPC64LE = 0xC0000015
AUDIT_ARCH_S390X = 0x80000016
AUDIT_ARCH: dict[str, int] = {
    "x86_64": AUDIT_ARCH_X86_64,
    "x32": AUDIT_ARCH_X86_64,
    "i386": AUDIT_ARCH_I386,
    "aarch64": AUDIT_ARCH_AARCH64,
    "arm": AUDIT_ARCH_ARM,
}
"""By the names of `syscall_table`; x32 shares its number with x86_64 and is told by X32_SYSCALL_BIT in the call's number."""

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_GET_NOTIF_SIZES = 3

SECCOMP_FILTER_FLAG_TSYNC = 0x01
SECCOMP_FILTER_FLAG_LOG = 0x02
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 0x04
SECCOMP_FILTER_FLAG_NEW_LISTENER = 0x08
SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 0x10
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 0x20

SECCOMP_RET_KILL_PROCESS = 0x80000000
SECCOMP_RET_KILL_THREAD = 0x00000000
SECCOMP_RET_TRAP = 0x00030000
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_TRACE = 0x7FF00000
SECCOMP_RET_LOG = 0x7FFC0000
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_DATA = 0x0000FFFF

BPF_LD_W_ABS = 0x20
BPF_LD_IMM = 0x00
BPF_ALU_AND_K = 0x54
BPF_ALU_RSH_K = 0x74
BPF_JMP_JA = 0x05
BPF_JMP_JEQ_K = 0x15
BPF_JMP_JGT_K = 0x25
BPF_JMP_JGE_K = 0x35
BPF_JMP_JSET_K = 0x45
BPF_RET_K = 0x06
BPF_RET_A = 0x16
BPF_MAXINSNS = 4096

OFFSET_NR = 0
OFFSET_ARCH = 4
OFFSET_IP = 8
OFFSET_ARGS = 16

_FORMAT = struct.Struct("=HBBI")


class Instruction(NamedTuple):
    code: int
    jt: int = 0
    jf: int = 0
    k: int = 0


def offset_of_argument(number: int, *, high: bool = False) -> int:
    """Where in seccomp_data a 32-bit half of argument 0…5 lies (little endian machines)."""
    return OFFSET_ARGS + 8 * number + (4 if high else 0)


def pack(instructions: Iterable[Instruction | tuple[int, int, int, int]]) -> bytes:
    """The program as the kernel reads it; struct.error for a jump over more than 255 instructions or an operand beyond 32 bits."""
    return b"".join(_FORMAT.pack(*instruction) for instruction in instructions)


def unpack(program: bytes) -> tuple[Instruction, ...]:
    return tuple(Instruction(*fields) for fields in _FORMAT.iter_unpack(program))


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(program: bytes, flags: int = 0) -> int:
    """Put a packed program in front of every further system call of this thread and its children; it cannot be taken away.

    Needs no_new_privs or CAP_SYS_ADMIN. Returns the notification descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER (the caller's,
    close-on-exec), otherwise 0. Before Linux 3.17 prctl does the same when there are no flags.
    """
    count, rest = divmod(len(program), _FORMAT.size)
    if rest or not 0 < count <= BPF_MAXINSNS:
        raise libc.failure("seccomp", errno.EINVAL, more=f"a program of {len(program)} bytes")
    # A filter may hold NULs: c_char_p carries only the address, the length is beside it.
    prog = _Program(count, program)
    try:
        result = libc.call("seccomp", SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(prog))
    except OSError as error:
        if error.errno != errno.ENOSYS or flags:
            raise
        return libc.call("prctl", 22, 2, ctypes.byref(prog))
    if flags & SECCOMP_FILTER_FLAG_TSYNC and not flags & SECCOMP_FILTER_FLAG_NEW_LISTENER and result:
        raise libc.failure("seccomp", errno.ESRCH, more=f"thread {result} has another filter")
    return result


def action_available(action: int) -> bool:
    """Whether this kernel knows a SECCOMP_RET_* (Linux 4.14; False before)."""
    value = ctypes.c_uint32(action)
    try:
        libc.call("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(value))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True
