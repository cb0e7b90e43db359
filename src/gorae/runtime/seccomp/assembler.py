"""Decisions as instructions of the classic BPF machine.

The machine (Documentation/networking/filter.rst) has an accumulator A, jumps only forwards, and reads `struct seccomp_data`:

    0  nr      4  arch      8  instruction_pointer      16 + 8 n  args[n] (64 bits, little-endian: low half first)

An instruction is (code, jt, jf, k): a conditional jump skips `jt` or `jf` instructions, at most 255; BPF_JA skips `k`.

A step function over numbers becomes a balanced tree of "A ≥ k?": about eight comparisons for the 460 calls of x86-64, where libseccomp's list
needs up to some hundred, and the kernel accepts and translates it five times faster.
"""

from __future__ import annotations

from collections.abc import Sequence

from gorae.oci.runtimespec import SeccompArg
from gorae.runtime.seccomp.rules import Decision

# linux/bpf_common.h, linux/filter.h
BPF_LD_W_ABS = 0x00 | 0x00 | 0x20
BPF_ALU_AND_K = 0x04 | 0x50 | 0x00
BPF_JMP_JA = 0x05 | 0x00
BPF_JMP_JEQ_K = 0x05 | 0x10
BPF_JMP_JGT_K = 0x05 | 0x20
BPF_JMP_JGE_K = 0x05 | 0x30
BPF_RET_K = 0x06 | 0x00
BPF_MAXINSNS = 4096

LONGEST_CONDITIONAL_JUMP = 255

# struct seccomp_data, linux/seccomp.h
OFFSET_NR = 0
OFFSET_ARCH = 4
OFFSET_ARGS = 16

Instruction = tuple[int, int, int, int]
Code = list[Instruction]


def load(offset: int) -> Instruction:
    return (BPF_LD_W_ABS, 0, 0, offset)


def ret(value: int) -> Instruction:
    return (BPF_RET_K, 0, 0, value)


def tree(steps: Sequence[tuple[int, Decision]]) -> Code:
    """Code that finds the step of the number in A and carries out its decision; every path ends in a RET."""
    if len(steps) == 1:
        return decision(steps[0][1])
    middle = len(steps) // 2
    left, right = tree(steps[:middle]), tree(steps[middle:])
    return [*branch(BPF_JMP_JGE_K, steps[middle][0], over=len(left)), *left, *right]


def branch(jump: int, k: int, over: int) -> Code:
    """If A `jump` k, skip `over` instructions, else go on."""
    if over <= LONGEST_CONDITIONAL_JUMP:
        return [(jump, over, 0, k)]
    return [(jump, 0, 1, k), (BPF_JMP_JA, 0, 0, over)]


def dispatch(arch: int, body: Code) -> Code:
    """If A (the architecture) is `arch`, run `body`, which returns; else go on behind it with A unchanged."""
    if len(body) <= LONGEST_CONDITIONAL_JUMP:
        return [(BPF_JMP_JEQ_K, 0, len(body), arch), *body]
    return [(BPF_JMP_JEQ_K, 1, 0, arch), (BPF_JMP_JA, 0, 0, len(body)), *body]


def decision(decided: Decision) -> Code:
    code: Code = []
    for alternative in decided.alternatives:
        block: Code = [ret(alternative.result)]
        for condition in reversed(alternative.conditions):
            block = [*test(condition, len(block)), *block]
        code += block
    return [*code, ret(decided.otherwise)]


def test(condition: SeccompArg, failure: int) -> Code:
    """Goes on behind its last instruction if the condition holds, else skips `failure` instructions more.

    The machine is 32 bits wide and an argument 64: the halves are compared one after the other, the high one first. Both count on every
    architecture (a 32-bit program's are zero-extended by the kernel), or a high half of rubbish would slip through.
    """
    offset = OFFSET_ARGS + 8 * condition.index
    low, high = condition.value & 0xFFFFFFFF, condition.value >> 32
    load_low, load_high = load(offset), load(offset + 4)
    match condition.op:
        case "SCMP_CMP_EQ":
            return [load_high, (BPF_JMP_JEQ_K, 0, failure + 2, high), load_low, (BPF_JMP_JEQ_K, 0, failure, low)]
        case "SCMP_CMP_NE":
            return [load_high, (BPF_JMP_JEQ_K, 0, 2, high), load_low, (BPF_JMP_JEQ_K, failure, 0, low)]
        case "SCMP_CMP_MASKED_EQ":
            datum = condition.valueTwo or 0
            return [
                load_high,
                (BPF_ALU_AND_K, 0, 0, high),
                (BPF_JMP_JEQ_K, 0, failure + 3, datum >> 32),
                load_low,
                (BPF_ALU_AND_K, 0, 0, low),
                (BPF_JMP_JEQ_K, 0, failure, datum & 0xFFFFFFFF),
            ]
    above_in_high = 3 if condition.op in ("SCMP_CMP_GT", "SCMP_CMP_GE") else failure + 3
    below_in_high = failure + 2 if condition.op in ("SCMP_CMP_GT", "SCMP_CMP_GE") else 2
    in_low = {
        "SCMP_CMP_GT": (BPF_JMP_JGT_K, 0, failure, low),
        "SCMP_CMP_GE": (BPF_JMP_JGE_K, 0, failure, low),
        "SCMP_CMP_LT": (BPF_JMP_JGE_K, failure, 0, low),
        "SCMP_CMP_LE": (BPF_JMP_JGT_K, failure, 0, low),
    }[condition.op]
    return [
        load_high,
        (BPF_JMP_JGT_K, above_in_high, 0, high),
        (BPF_JMP_JEQ_K, 0, below_in_high, high),
        load_low,
        in_low,
    ]
