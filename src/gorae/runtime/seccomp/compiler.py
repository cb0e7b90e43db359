"""From an OCI seccomp profile to the program that the kernel runs before each system call.

    A = arch            x86-64? to ①     i386? to ②     else KILL: another architecture's numbers have other meanings
    ①  A = nr           tree over 0 … 0x3fffffff (x86-64) and 0x40000000 … (x32, or KILL if the profile does not list it)
    ②  A = nr           tree
    conditions          one block for each call that looks at arguments, shared by ① and ②

A tree asks "A ≥ k?" seven times to place a number among the hundred runs of equal fate that the 460 calls of x86-64 fall
into. libseccomp's list needs hundreds of comparisons, and the kernel takes five times longer to accept it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gorae.errors import InvalidArgument, Unsupported
from gorae.linux.seccomp import (
    AUDIT_ARCH_AARCH64,
    AUDIT_ARCH_ARM,
    AUDIT_ARCH_I386,
    AUDIT_ARCH_X86_64,
    BPF_JMP_JEQ_K,
    BPF_JMP_JGE_K,
    BPF_MAXINSNS,
    OFFSET_ARCH,
    OFFSET_NR,
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_RET_KILL_PROCESS,
    pack,
)
from gorae.linux.syscall_table import TABLES, X32_SYSCALL_BIT
from gorae.oci.runtimespec import Seccomp
from gorae.runtime.seccomp.assembler import Item, Jump, Label, assemble, load, ret
from gorae.runtime.seccomp.conditions import block
from gorae.runtime.seccomp.rules import Decision, beyond_result, decisions, default_result, intervals

# A tracer skips a system call by setting its number to -1; that must not look like an x32 call and kill.
SKIPPED = 0xFFFFFFFF
NUMBERS_END = 1 << 32


@dataclass(frozen=True, slots=True)
class Abi:
    """One way into the kernel: the specification's name, the table of numbers, and the architecture that the kernel reports."""

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
_NAMES = """
    X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64
    RISCV64 LOONGARCH64 M68K SH SHEB NATIVE
"""
ARCHITECTURES = frozenset("SCMP_ARCH_" + name for name in _NAMES.split())

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_FILTER_FLAG_SPEC_ALLOW,
}


@lru_cache(maxsize=32)
def compile(seccomp: Seccomp, machine: str) -> bytes:
    """The filter as an array of `struct sock_filter`; `machine` as uname(2) says it. Equal profiles are compiled once.

    Raises `InvalidArgument` for a profile that the specification forbids or that is too long for the kernel, `Unsupported` for a
    machine whose system calls are not known and for SCMP_ACT_NOTIFY.
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
    code = assemble(program({audit: steps_of(seccomp, audit, spoken) for audit in dict.fromkeys(abi.audit for abi in spoken)}))
    if len(code) > BPF_MAXINSNS:
        raise InvalidArgument(
            f"seccomp: the profile needs {len(code)} instructions and the kernel takes {BPF_MAXINSNS}; use fewer conditions"
        )
    return pack(code)


def program(trees: dict[int, list[tuple[int, Decision]]]) -> list[Item]:
    entries = {audit: Label() for audit in trees}
    blocks: dict[Decision, Label] = {}
    items: list[Item] = [load(OFFSET_ARCH)]
    items += [Jump(BPF_JMP_JEQ_K, audit, true=entry) for audit, entry in entries.items()]
    items.append(ret(SECCOMP_RET_KILL_PROCESS))
    for audit, steps in trees.items():
        returns: dict[Decision, Label] = {}
        for _, decision in steps:
            (blocks if decision.alternatives else returns).setdefault(decision, Label())
        items += [entries[audit], load(OFFSET_NR), *tree(steps, blocks | returns)]
        for decision, label in returns.items():
            items += [label, ret(decision.otherwise)]
    for decision, label in blocks.items():
        items += [label, *block(decision)]
    return items


def tree(steps: Sequence[tuple[int, Decision]], labels: dict[Decision, Label]) -> list[Item]:
    """Code that jumps to the label of the step in which the number in A lies."""
    if len(steps) == 1:  # the whole range has one fate
        return [Jump(BPF_JMP_JGE_K, 0, true=labels[steps[0][1]], false=labels[steps[0][1]])]
    middle = len(steps) // 2
    left, right = steps[:middle], steps[middle:]
    target = labels[right[0][1]] if len(right) == 1 else Label()
    jump = Jump(BPF_JMP_JGE_K, right[0][0], true=target, false=labels[left[0][1]] if len(left) == 1 else None)
    items: list[Item] = [jump]
    if len(left) > 1:
        items += tree(left, labels)
    if len(right) > 1:
        items += [target, *tree(right, labels)]
    return items


def steps_of(seccomp: Seccomp, audit: int, spoken: Sequence[Abi]) -> list[tuple[int, Decision]]:
    """The step function over all numbers of one AUDIT_ARCH, which x86-64 shares with x32."""
    default, beyond = default_result(seccomp), beyond_result(seccomp)
    steps: list[tuple[int, Decision]] = []
    mine = [abi for abi in spoken if abi.audit == audit]
    for abi in mine:
        end = X32_SYSCALL_BIT if audit == AUDIT_ARCH_X86_64 and not abi.first else NUMBERS_END
        steps += intervals(decisions(seccomp, TABLES[abi.table]), default, beyond, abi.first, end)
    if audit == AUDIT_ARCH_X86_64 and len(mine) == 1:
        steps += [(X32_SYSCALL_BIT, Decision((), SECCOMP_RET_KILL_PROCESS)), (SKIPPED, Decision((), default))]
    return steps


def flags(seccomp: Seccomp) -> int:
    """The flags for seccomp(2) that the profile asks for."""
    unknown = [flag for flag in seccomp.flags if flag not in FLAGS]
    if unknown:
        raise InvalidArgument(f'seccomp: unknown flag "{unknown[0]}"; known are {", ".join(FLAGS)}')
    return sum(FLAGS[flag] for flag in set(seccomp.flags))
