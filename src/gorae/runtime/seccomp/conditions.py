"""Conditions on arguments as code: the machine is 32 bits wide, an argument 64.

The halves are compared one after the other, the high one first. Both count on every architecture (the kernel zero-extends
those of a 32-bit program): the kernel cuts many arguments to an int, and rubbish in the high half must not carry a
forbidden value past an allow-list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from gorae.linux.seccomp import BPF_ALU_AND_K, BPF_JMP_JEQ_K, BPF_JMP_JGE_K, BPF_JMP_JGT_K, offset_of_argument
from gorae.oci.runtimespec import SeccompArg
from gorae.runtime.seccomp.assembler import Item, Jump, Label, Plain, load, ret
from gorae.runtime.seccomp.rules import Alternative, Decision


def block(decision: Decision) -> list[Item]:
    """Code that returns what the first alternative that holds says, else `otherwise`."""
    items: list[Item] = []
    for list_of_values, group in groupby(decision.alternatives, key=values_of_one_argument):
        alternatives = list(group)
        if list_of_values is not None:
            items += any_of([alternative.conditions[0] for alternative in alternatives], alternatives[0].result)
            continue
        for alternative in alternatives:
            failed = Label()
            for condition in alternative.conditions:
                items += test(condition, failed)
            items += [ret(alternative.result), failed]
    return [*items, ret(decision.otherwise)]


def values_of_one_argument(alternative: Alternative) -> tuple[int, int, int] | None:
    """What alternatives of the form "argument == value" must share to be tested together: argument, high half, result."""
    if len(alternative.conditions) == 1 and alternative.conditions[0].op == "SCMP_CMP_EQ":
        condition = alternative.conditions[0]
        return condition.index, condition.value >> 32, alternative.result
    return None


def any_of(conditions: Sequence[SeccompArg], result: int) -> Iterable[Item]:
    """`result` if the argument is one of the values, which all have the same high half; else go on behind."""
    index, high = conditions[0].index, conditions[0].value >> 32
    found, failed = Label(), Label()
    yield load(offset_of_argument(index, high=True))
    yield Jump(BPF_JMP_JEQ_K, high, false=failed)
    yield load(offset_of_argument(index))
    for condition in conditions[:-1]:
        yield Jump(BPF_JMP_JEQ_K, condition.value & 0xFFFFFFFF, true=found)
    yield Jump(BPF_JMP_JEQ_K, conditions[-1].value & 0xFFFFFFFF, false=failed)
    yield found
    yield ret(result)
    yield failed


def test(condition: SeccompArg, failed: Label) -> Iterable[Item]:
    """Goes on behind its last instruction if the condition holds, else to `failed`."""
    low, high = condition.value & 0xFFFFFFFF, condition.value >> 32
    holds = Label()
    yield load(offset_of_argument(condition.index, high=True))
    match condition.op:
        case "SCMP_CMP_EQ":
            yield Jump(BPF_JMP_JEQ_K, high, false=failed)
            yield load(offset_of_argument(condition.index))
            yield Jump(BPF_JMP_JEQ_K, low, false=failed)
        case "SCMP_CMP_NE":
            yield Jump(BPF_JMP_JEQ_K, high, false=holds)
            yield load(offset_of_argument(condition.index))
            yield Jump(BPF_JMP_JEQ_K, low, true=failed)
        case "SCMP_CMP_MASKED_EQ":
            datum = condition.valueTwo or 0
            yield Plain(BPF_ALU_AND_K, high)
            yield Jump(BPF_JMP_JEQ_K, datum >> 32, false=failed)
            yield load(offset_of_argument(condition.index))
            yield Plain(BPF_ALU_AND_K, low)
            yield Jump(BPF_JMP_JEQ_K, datum & 0xFFFFFFFF, false=failed)
        case "SCMP_CMP_GT" | "SCMP_CMP_GE":
            yield Jump(BPF_JMP_JGT_K, high, true=holds)
            yield Jump(BPF_JMP_JEQ_K, high, false=failed)
            yield load(offset_of_argument(condition.index))
            yield Jump(BPF_JMP_JGT_K if condition.op == "SCMP_CMP_GT" else BPF_JMP_JGE_K, low, false=failed)
        case "SCMP_CMP_LT" | "SCMP_CMP_LE":
            yield Jump(BPF_JMP_JGT_K, high, true=failed)
            yield Jump(BPF_JMP_JEQ_K, high, false=holds)
            yield load(offset_of_argument(condition.index))
            yield Jump(BPF_JMP_JGE_K if condition.op == "SCMP_CMP_LT" else BPF_JMP_JGT_K, low, true=failed)
        case _:
            raise AssertionError(f"operator {condition.op} passed the rules")
    yield holds
