"""OCI device rules → lines for the v1 controller, or a program for cgroup v2. Pure.

What the rules mean: for each kind of access (r, w, m) the last rule that matches the device decides; where none matches,
access is denied (an allow-list that acts as a deny-list was GHSA-g54h-m393-cpwq). A request is granted when all its kinds
are. Type "a" is both b and c; an absent number or -1 is any; an absent `access` is rwm.

v1 knows less: one default and a set of exceptions, in no order. Under "deny" an exception grants, and one exception must
cover a whole request; under "allow" every exception that touches the request refuses it (security/device_cgroup.c). So the
rules are evaluated for every pattern that they mention

    c *:*   c 1:*   c *:3   c 1:3      (a narrower pattern stands for fewer devices)

and written as exceptions where a narrower pattern never has to take back what a wider one gave. Rules beyond that (all of major 1
but 1:3) cannot be said to v1: `lines` raises `Unsupported`, and a hybrid host uses the program instead. Where there is none, only
the making of nodes (m) may stay allowed against the rules, which gives no access: the rules that Docker writes end with
"deny c 10:229 rwm" after "allow c *:* m".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gorae.cgroup.limits import Write
from gorae.errors import InvalidArgument, Unsupported
from gorae.linux import bpf
from gorae.linux.bpf import Instruction

if TYPE_CHECKING:
    from gorae.oci.runtimespec import DeviceRule

_BITS = {"m": bpf.BPF_DEVCG_ACC_MKNOD, "r": bpf.BPF_DEVCG_ACC_READ, "w": bpf.BPF_DEVCG_ACC_WRITE}
_KINDS = {"b": bpf.BPF_DEVCG_DEV_BLOCK, "c": bpf.BPF_DEVCG_DEV_CHAR}
ALL = 7

# (kind, or None for both; major, minor, or None for any; bits; allow)
_Rule = tuple[str | None, int | None, int | None, int, bool]
# (major, minor); None stands for all numbers that no rule names
_Pattern = tuple[int | None, int | None]


@lru_cache(maxsize=64)
def lines(rules: tuple[DeviceRule, ...], lenient: bool = False) -> tuple[Write, ...]:
    """The writes to devices.allow and devices.deny of a cgroup without children, in order; () for no rules.

    `lenient`: making a node may be allowed where the rules take that back.
    """
    if not rules:
        return ()
    read = _read(rules)
    tables = {kind: _table(read, kind) for kind in ("b", "c")}
    if all(table[None, None] == ALL for table in tables.values()):
        denied = {kind: {pattern: ALL & ~bits for pattern, bits in table.items()} for kind, table in tables.items()}
        found = _exceptions(denied)
        if found is not None:
            return (Write("devices", "devices.allow", "a"), *(Write("devices", "devices.deny", line) for line in found))
    found = _exceptions(tables, bpf.BPF_DEVCG_ACC_MKNOD if lenient else 0)
    if found is None:
        raise Unsupported("these device rules take back a part of what a wider rule allows, which cgroup v1 cannot express")
    return (Write("devices", "devices.deny", "a"), *(Write("devices", "devices.allow", line) for line in found))


@lru_cache(maxsize=64)
def program(rules: tuple[DeviceRule, ...]) -> tuple[Instruction, ...]:
    """A BPF_PROG_TYPE_CGROUP_DEVICE program; no rules give one that denies all.

    From the last rule to the first; R3 holds the kinds of access that no rule has decided yet:

        a rule does not match        go on to the one before
        it denies any kind in R3     answer 0
        it allows                    take its kinds out of R3; answer 1 when none is left
    """
    code = [
        Instruction(bpf.BPF_LDX_W_MEM, 2, 1, 0),
        Instruction(bpf.BPF_MOV32_X, 3, 2),
        Instruction(bpf.BPF_AND32_K, 2, imm=0xFFFF),  # kind
        Instruction(bpf.BPF_RSH32_K, 3, imm=16),  # access
        Instruction(bpf.BPF_LDX_W_MEM, 4, 1, 4),  # major
        Instruction(bpf.BPF_LDX_W_MEM, 5, 1, 8),  # minor
    ]
    for rule in reversed(_read(rules)):
        kind, major, minor, bits, _ = rule
        if bits == 0 or max(major or 0, minor or 0) >= 2**31:  # no device has such a number, and an immediate is signed
            continue
        code += _checked(rule)
        if (kind, major, minor, bits) == (None, None, None, ALL):
            return tuple(code)  # it decides everything, and the verifier refuses what cannot be reached
    return (*code, *_answer(0))


def _checked(rule: _Rule) -> list[Instruction]:
    kind, major, minor, bits, allow = rule
    checks = [(2, None if kind is None else _KINDS[kind]), (4, major), (5, minor)]
    wanted = [(register, number) for register, number in checks if number is not None]
    total = not wanted and bits == ALL
    if total:
        return _answer(int(allow))
    if allow:
        body = [Instruction(bpf.BPF_AND32_K, 3, imm=ALL & ~bits), Instruction(bpf.BPF_JNE_K, 3, off=2, imm=0), *_answer(1)]
    else:
        body = [
            Instruction(bpf.BPF_MOV32_X, 0, 3),
            Instruction(bpf.BPF_AND32_K, 0, imm=bits),
            Instruction(bpf.BPF_JEQ_K, 0, off=2, imm=0),
            *_answer(0),
        ]
    # Each check jumps over those behind it and over the body.
    return [
        Instruction(bpf.BPF_JNE_K, register, off=len(wanted) - 1 - index + len(body), imm=number)
        for index, (register, number) in enumerate(wanted)
    ] + body


def _answer(value: int) -> list[Instruction]:
    return [Instruction(bpf.BPF_MOV64_K, 0, imm=value), Instruction(bpf.BPF_EXIT)]


def _read(rules: tuple[DeviceRule, ...]) -> list[_Rule]:
    read: list[_Rule] = []
    for rule in rules:
        letters = "rwm" if rule.access is None or rule.access == "" else rule.access
        if not set(letters) <= set(_BITS):
            raise InvalidArgument(f"device rule: access {letters!a} must be made of r, w and m")
        bits = 0
        for letter in letters:
            bits |= _BITS[letter]
        kind = None if rule.type == "a" else rule.type
        one = (kind, _number(rule.major), _number(rule.minor), bits, rule.allow)
        if one[:4] == (None, None, None, ALL):
            read.clear()  # it overrides all before it
        read.append(one)
    return read


def _number(number: int | None) -> int | None:
    if number is None or number == -1:
        return None
    if not 0 <= number < 2**32:
        raise InvalidArgument(f"device rule: {number} is no device number (-1 is any)")
    return number


def _table(rules: list[_Rule], kind: str) -> dict[_Pattern, int]:
    """The allowed bits of each pattern that matters, wider patterns first."""
    named = [(major, minor) for k, major, minor, _, _ in rules if k in (None, kind)]
    majors = dict.fromkeys(major for major, _ in named if major is not None)
    minors = dict.fromkeys(minor for major, minor in named if major is None and minor is not None)
    patterns: dict[_Pattern, None] = {(None, None): None}
    patterns.update({(major, None): None for major in majors})
    patterns.update({(None, minor): None for minor in minors})
    patterns.update({(major, minor): None for major in majors for minor in minors})
    patterns.update({pattern: None for pattern in named if None not in pattern})
    return {pattern: _bits(rules, kind, pattern) for pattern in patterns}


def _bits(rules: list[_Rule], kind: str, device: _Pattern) -> int:
    undecided, allowed = ALL, 0
    for rule_kind, major, minor, bits, allow in reversed(rules):
        if rule_kind in (None, kind) and major in (None, device[0]) and minor in (None, device[1]):
            if allow:
                allowed |= undecided & bits
            undecided &= ~bits
            if not undecided:
                break
    return allowed


def _exceptions(tables: dict[str, dict[_Pattern, int]], tolerated: int = 0) -> list[str] | None:
    """Lines like `c 1:3 rwm`; None when a wider pattern has a bit that a narrower one must not have, unless it is tolerated."""
    found = []
    for kind, table in tables.items():
        for (major, minor), bits in table.items():
            above = ((None, None), (major, None), (None, minor))
            wider = [table[each] for each in above if each != (major, minor) and each in table]
            for given in wider:
                if given & ~bits & ~tolerated:
                    return None
                bits |= given & tolerated
            if bits and bits not in wider:
                access = "".join(letter for letter, bit in _BITS.items() if bits & bit)
                found.append(f"{kind} {_star(major)}:{_star(minor)} {access}")
    return found


def _star(number: int | None) -> str:
    return "*" if number is None else str(number)
