"""From an OCI seccomp profile to the program that the kernel runs before each system call.

    A = arch
    x86-64?  A = nr   tree over 0 … 0x3fffffff (x86-64) and 0x40000000 … (x32, or KILL if the profile does not list it)
    i386?    A = nr   tree
    KILL              another architecture's system calls have other meanings: none is let through
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gorae.errors import InvalidArgument, Unsupported
from gorae.linux.seccomp import (
    AUDIT_ARCH_AARCH64,
    AUDIT_ARCH_ARM,
    AUDIT_ARCH_I386,
    AUDIT_ARCH_X86_64,
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_RET_KILL_PROCESS,
)
from gorae.linux.syscall_table import TABLES
from gorae.oci.runtimespec import Seccomp
from gorae.runtime.seccomp.assembler import BPF_MAXINSNS, OFFSET_ARCH, OFFSET_NR, Code, dispatch, load, ret, tree
from gorae.runtime.seccomp.rules import Decision, beyond_result, decisions, default_result, intervals

X32_SYSCALL_BIT = 0x40000000
# A tracer skips a system call by setting its number to -1; that must not look like an x32 call and kill.
SKIPPED = 0xFFFFFFFF
NUMBERS_END = 1 << 32


@dataclass(frozen=True, slots=True)
class Abi:
    """One way into the kernel: the specification's name, the table of numbers, and what tells it from others."""

    name: str
    table: str
    audit: int
    first: int = 0


# What a machine can run; its own ABI comes first and is always part of a filter.
ABIS = {
    "x86_64": (
        Abi("SCMP_ARCH_X86_64", "x86_64", AUDIT_ARCH_X86_64),
        Abi("SCMP_ARCH_X32", "x32", AUDIT_ARCH_X86_64, X32_SYSCALL_BIT),
        Abi("SCMP_ARCH_X86", "i386", AUDIT_ARCH_I386),
    ),
    "aarch64": (
        Abi("SCMP_ARCH_AARCH64", "aarch64", AUDIT_ARCH_AARCH64),
        Abi("SCMP_ARCH_ARM", "arm", AUDIT_ARCH_ARM),
    ),
}

# The specification's list (config-linux.md, "Seccomp"). One that this machine cannot run needs no code: its calls never arrive.
ARCHITECTURES = frozenset(
    "SCMP_ARCH_" + name
    for name in (
        "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 RISCV64"
        " LOONGARCH64 M68K SH SHEB NATIVE"
    ).split()
)

FLAGS = {
    # TSYNC is for programs with threads; the process that installs this filter has one, so there is nothing to do.
    "SECCOMP_FILTER_FLAG_TSYNC": SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_FILTER_FLAG_SPEC_ALLOW,
}


@lru_cache(maxsize=32)
def compile(seccomp: Seccomp, machine: str) -> bytes:
    """The filter as an array of `struct sock_filter`; `machine` as uname(2) says it. Equal profiles are compiled once.

    Raises `InvalidArgument` for a profile that the specification forbids or that is too long for the kernel, `Unsupported` for a machine
    whose system calls are not known and for SCMP_ACT_NOTIFY.
    """
    if machine not in ABIS:
        raise Unsupported(f"seccomp: no system call table for the machine {machine}; run without a profile (seccomp=unconfined)")
    unknown = sorted(set(seccomp.architectures) - ARCHITECTURES)
    if unknown:
        raise InvalidArgument(f'seccomp: unknown architecture "{unknown[0]}"')
    if seccomp.listenerPath is not None:
        raise Unsupported("seccomp: a listener (listenerPath) is not supported")
    native, *others = ABIS[machine]
    spoken = [native, *(abi for abi in others if abi.name in seccomp.architectures)]
    code: Code = [load(OFFSET_ARCH)]
    for audit in dict.fromkeys(abi.audit for abi in spoken):
        steps = steps_of(seccomp, [abi for abi in spoken if abi.audit == audit])
        code += dispatch(audit, [load(OFFSET_NR), *tree(steps)])
    code.append(ret(SECCOMP_RET_KILL_PROCESS))
    if len(code) > BPF_MAXINSNS:
        raise InvalidArgument(f"seccomp: the profile needs {len(code)} instructions, the kernel takes {BPF_MAXINSNS}; use fewer conditions")
    return pack(code)


def steps_of(seccomp: Seccomp, abis: list[Abi]) -> list[tuple[int, Decision]]:
    """The step function over all numbers of one AUDIT_ARCH, which x86-64 shares with x32."""
    default, beyond = default_result(seccomp), beyond_result(seccomp)
    steps: list[tuple[int, Decision]] = []
    for abi in abis:
        numbers = {name: number & ~X32_SYSCALL_BIT for name, number in TABLES[abi.table].items()} if abi.first else TABLES[abi.table]
        shares = abi.audit == AUDIT_ARCH_X86_64 and not abi.first
        end = X32_SYSCALL_BIT if shares else NUMBERS_END
        steps += intervals(decisions(seccomp, numbers), default, beyond, abi.first, end)
    if abis[0].audit == AUDIT_ARCH_X86_64 and len(abis) == 1:
        steps += [(X32_SYSCALL_BIT, Decision((), SECCOMP_RET_KILL_PROCESS)), (SKIPPED, Decision((), default))]
    return steps


def flags(seccomp: Seccomp) -> int:
    """The flags for seccomp(2) that the profile asks for."""
    unknown = [flag for flag in seccomp.flags if flag not in FLAGS]
    if unknown:
        raise InvalidArgument(f'seccomp: unknown flag "{unknown[0]}"; known are {", ".join(FLAGS)}')
    return sum(FLAGS[flag] for flag in set(seccomp.flags))


def pack(code: Iterable[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
