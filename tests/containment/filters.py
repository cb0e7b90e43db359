"""The seccomp filter that a process really has, read back from the kernel (ptrace(2), PTRACE_SECCOMP_GET_FILTER), and what it says
to every system call of a table.
"""

from __future__ import annotations

import ctypes
import os
import signal

from gorae.linux.seccomp import (
    AUDIT_ARCH,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_KILL_THREAD,
    SECCOMP_RET_TRACE,
)
from gorae.linux.syscall_table import TABLES
from tests.runtime import bpf_emulator

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, PTRACE_SECCOMP_GET_FILTER = 0x4206, 0x4207, 17, 0x420C
WALL = 0x40000000  # __WALL
WORDS = {
    SECCOMP_RET_ALLOW: "allow",
    SECCOMP_RET_ERRNO | 1: "EPERM",
    SECCOMP_RET_ERRNO | 38: "ENOSYS",
    SECCOMP_RET_KILL_PROCESS: "kill",
    SECCOMP_RET_KILL_THREAD: "kill",
    SECCOMP_RET_TRACE: "trace",
}
X32_SYSCALL_BIT = 0x40000000
Program = list[bpf_emulator.Instruction]
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    result: int = _libc.ptrace(request, pid, address, data)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")
    return result


def loaded(pid: int) -> list[Program]:
    """The filters of a process, the newest first. PermissionError: this kernel does not show them."""
    ptrace(PTRACE_SEIZE, pid)
    try:
        ptrace(PTRACE_INTERRUPT, pid)
        os.waitpid(pid, WALL)
        found = []
        while True:
            try:
                length = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, len(found))
            except FileNotFoundError:  # there is no such filter
                return found
            buffer = ctypes.create_string_buffer(length * 8)
            ptrace(PTRACE_SECCOMP_GET_FILTER, pid, len(found), buffer)
            found.append(bpf_emulator.unpack(buffer.raw))
    finally:
        ptrace(PTRACE_DETACH, pid)
        os.kill(pid, signal.SIGCONT)


def verdict(program: Program, abi: str, number: int, *arguments: int) -> str:
    if abi == "x32":
        number |= X32_SYSCALL_BIT
    value, _ = bpf_emulator.run(program, AUDIT_ARCH[abi], number, arguments)
    return WORDS.get(value, hex(value))


def verdicts(program: Program, abi: str) -> dict[str, str]:
    """What it says to each call of the table, with all arguments zero."""
    return {name: verdict(program, abi, number) for name, number in TABLES[abi].items()}
