"""The classic BPF machine as seccomp uses it: checks a program as the kernel does (net/core/filter.c) and runs it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

LD_W_ABS, ALU_AND, JA, JEQ, JGT, JGE, RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06

Instruction = tuple[int, int, int, int]


def unpack(program: bytes) -> list[Instruction]:
    return [(code, jt, jf, k) for code, jt, jf, k in struct.iter_unpack("=HBBI", program)]


def check(code: Sequence[Instruction]) -> None:
    """What the kernel refuses with EINVAL."""
    assert 1 <= len(code) <= 4096
    assert code[-1][0] == RET
    for at, (op, jt, jf, k) in enumerate(code):
        assert op in (LD_W_ABS, ALU_AND, JA, JEQ, JGT, JGE, RET), hex(op)
        if op == LD_W_ABS:
            assert k % 4 == 0
            assert k < 64
        if op == JA:
            assert at + 1 + k < len(code)
        if op in (JEQ, JGT, JGE):
            assert at + 1 + max(jt, jf) < len(code)


def run(code: Sequence[Instruction], arch: int, number: int, arguments: Sequence[int] = ()) -> tuple[int, int]:
    """(return value, instructions executed)."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *padded)
    accumulator, at, executed = 0, 0, 0
    while True:
        op, jt, jf, k = code[at]
        executed += 1
        at += 1
        match op:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += jt if accumulator == k else jf
            case 0x25:
                at += jt if accumulator > k else jf
            case 0x35:
                at += jt if accumulator >= k else jf
            case 0x45:
                at += jt if accumulator & k else jf
            case 0x06:
                return k, executed
            case _:
                raise AssertionError(f"no such instruction: {op:#x}")
