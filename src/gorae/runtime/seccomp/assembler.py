"""A small assembler for the classic BPF machine: jumps go to labels, offsets are found here.

The machine (Documentation/networking/filter.rst) has an accumulator A and reads `struct seccomp_data`. It jumps only
forwards: a conditional jump skips at most 255 instructions, BPF_JA up to 2³²-1. A conditional jump to a label further away
goes to a BPF_JA put right behind it, which makes everything longer, so that others may become too far: the layout is
repeated until it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gorae.linux.seccomp import BPF_JMP_JA, BPF_LD_W_ABS, BPF_RET_K

LONGEST_CONDITIONAL_JUMP = 255

Instruction = tuple[int, int, int, int]  # code, jt, jf, k: struct sock_filter


@dataclass(frozen=True, eq=False, slots=True)
class Label:
    """A place in the code; each object is another."""


@dataclass(frozen=True, slots=True)
class Plain:
    code: int
    k: int


@dataclass(frozen=True, slots=True)
class Jump:
    """If A `code` k go to `true`, else to `false`; None is the next item."""

    code: int
    k: int
    true: Label | None = None
    false: Label | None = None


Item = Label | Plain | Jump


def load(offset: int) -> Plain:
    return Plain(BPF_LD_W_ABS, offset)


def ret(value: int) -> Plain:
    return Plain(BPF_RET_K, value)


def assemble(items: Sequence[Item]) -> list[Instruction]:
    """The program. Every label that is jumped to must stand behind the jump."""
    far: set[tuple[int, bool]] = set()
    while True:
        positions, labels = layout(items, far)
        further = {
            (index, side)
            for index, item in enumerate(items)
            if isinstance(item, Jump)
            for side, label in ((True, item.true), (False, item.false))
            if label is not None and labels[label] - positions[index] - 1 > LONGEST_CONDITIONAL_JUMP
        }
        if further <= far:
            return emit(items, far, positions, labels)
        far |= further


def layout(items: Sequence[Item], far: set[tuple[int, bool]]) -> tuple[list[int], dict[Label, int]]:
    """The position of each item's first instruction and of each label."""
    positions: list[int] = []
    labels: dict[Label, int] = {}
    at = 0
    for index, item in enumerate(items):
        positions.append(at)
        if isinstance(item, Label):
            labels[item] = at
        else:
            at += 1 + ((index, True) in far) + ((index, False) in far)
    return positions, labels


def emit(items: Sequence[Item], far: set[tuple[int, bool]], positions: list[int], labels: dict[Label, int]) -> list[Instruction]:
    code: list[Instruction] = []
    for index, item in enumerate(items):
        if isinstance(item, Plain):
            code.append((item.code, 0, 0, item.k))
        elif isinstance(item, Jump):
            after = positions[index] + 1
            stones: list[Label] = []  # the labels that are reached by a BPF_JA from here
            skips = [0, 0]
            for side, (label, name) in enumerate(((item.true, True), (item.false, False))):
                if label is None:
                    skips[side] = ((index, True) in far) + ((index, False) in far)
                elif (index, name) in far:
                    skips[side] = len(stones)
                    stones.append(label)
                else:
                    skips[side] = labels[label] - after
            code.append((item.code, skips[0], skips[1], item.k))
            for number, label in enumerate(stones):
                code.append((BPF_JMP_JA, 0, 0, labels[label] - after - number - 1))
    return code
