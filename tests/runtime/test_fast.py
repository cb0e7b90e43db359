"""The assembler, the stub and the arena of the fast executor; what it takes and what it leaves to plain."""

from __future__ import annotations

import os
import re
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.runtime.fast import arena, build, code, flight, stub_x86_64
from gorae.runtime.fast.code import ANY, CannotLowerError, Code, Data, Label, Shared, Slot
from gorae.runtime.fast.slots import NAMED

SOURCE = Path(build.__file__).with_name("stub.c").read_text()


def ops(lowered: code.Lowered) -> list[tuple[int, ...]]:
    return [code.FORMAT.unpack_from(lowered.code, at) for at in range(0, len(lowered.tells) * code.SIZE, code.SIZE)]


def test_the_machine_code_is_that_of_the_source() -> None:
    if not (shutil.which("gcc") and shutil.which("objcopy")) or build.compiler() != stub_x86_64.COMPILER:
        pytest.skip("needs the compiler that made it")
    assert build.code() == stub_x86_64.CODE
    assert len(stub_x86_64.CODE) < 2048


def test_the_source_and_python_agree_on_the_arena() -> None:
    layout, kinds, modes = re.findall(r"enum \{(.*?)\};", SOURCE, re.S)
    words = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", layout)}
    ours = {name: getattr(arena, {"PROGRAM": "PROGRAM_AT"}.get(name, name)) for name in words}
    assert words == ours
    names = [name.strip() for name in kinds.split(",")]
    assert [getattr(code, name) for name in names] == list(range(len(names)))
    assert [name.strip() for name in modes.split(",")] == ["IMMEDIATE", "RELATIVE", "SLOT", "ARENA"]
    assert "unsigned char kind, width, out, negate;" in SOURCE
    assert code.SIZE == 64


def test_no_slot_is_used_twice() -> None:
    from gorae.runtime.fast import slots

    numbers = [slot.number for slot in vars(slots).values() if isinstance(slot, Slot)]
    assert len(numbers) == len(set(numbers))
    assert all(slots.TWO.number < slot.number < slots.ENTRANCES for slot in NAMED.values())
    assert slots.LAST < arena.TIMES - arena.SLOTS


def test_arguments_know_where_they_are() -> None:
    made = Code()
    made.call("mount", made.text("a"), Slot(9), Shared(77), -1, made.text("a"))
    (mark, call, jump) = ops(made.finish())
    assert (mark[0], call[0], jump[0]) == (code.MARK, code.CALL, code.SET)
    assert call[5] == 1 | 2 << 2 | 3 << 4 | 0 << 6 | 1 << 8
    assert call[11:16] == (2 * 64, 9, 77, (1 << 64) - 1, 2 * 64)
    assert jump[6] == 2 * 64


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=100), max_size=20))
def test_every_string_is_found_again(strings: list[bytes]) -> None:
    made = Code()
    for raw in strings:
        made.call("write", 1, made.data(raw), len(raw))
    lowered = made.finish()
    assert len(lowered.code) % code.SIZE == 0
    for index, op in enumerate(ops(lowered)):
        if op[0] == code.CALL:
            at = index * code.SIZE + op[12]
            assert lowered.code[at : at + op[13]] == strings[index - 1]
    if any(strings):
        last = ops(lowered)[-1]
        assert (len(lowered.tells) - 1) * code.SIZE + last[6] == len(lowered.code)


def test_room_is_never_shared() -> None:
    made = Code()
    assert made.room(8) != made.room(8)
    assert made.data(bytes(8)) == made.data(bytes(8))
    assert isinstance(made.room(1), Data)


def test_a_nul_is_for_plain() -> None:
    with pytest.raises(CannotLowerError):
        Code().text("a\0b")


def run(made: Code) -> tuple[int, arena.Arena]:
    """The exit status of a child that walks these ops, and its arena to look at. It has no report socket."""
    place = arena.take()
    if place is None:
        pytest.skip("no fast executor on this machine")
    place.prepare(flight.CLONE_PIDFD | flight.CLONE_CLEAR_SIGHAND, -1, 0, False, made.finish().code, {20: 5})
    pid, pidfd = place.spawn()
    os.close(pidfd)
    status = os.waitpid(pid, 0)[1]
    place.release()
    return status >> 8 if not status & 0x7F else -(status & 0x7F), place


def test_ops() -> None:
    made = Code()
    end, other = Label(), Label()
    memory = made.data(struct.pack("=QQ", 0x1122334455667788, 7))
    made.set(Slot(1), memory, width=4)
    made.test(Slot(1), 0x55667788, error=1)
    made.test(memory, 0x88, width=1, error=2)
    made.test(memory, 0x0022, mask=0x00FF, width=8, unequal=True, to=end)
    made.test(memory, 0x88, mask=0xFF, width=8, unequal=True, to=other)
    made.quit(9)
    made.place(other)
    made.call("close", 12345, out=Slot(2), errnos=(ANY,))
    made.test(Slot(2), -9, error=3)
    made.call("close", 12345, errnos=(1, 2, 9))
    room = made.room(8)
    made.store(room, Slot(20))
    made.same(room, made.data(struct.pack("=Q", 5)), 8, 4, code.Tell())
    made.quit(42)
    made.place(end)
    made.quit(8)
    assert run(made)[0] == 42


@pytest.mark.parametrize("what", ["call", "test", "same", "fail"])
def test_the_first_failure_ends_it(what: str) -> None:
    made = Code()
    if what == "call":
        made.call("close", 12345, errnos=(1, 2))
    elif what == "test":
        made.test(1, 2, error=9)
    elif what == "same":
        made.same(made.data(b"a"), made.data(b"b"), 1, 9, code.Tell())
    else:
        made.fail(9, code.Tell())
    made.quit(0)
    status, place = run(made)
    assert status == 1
    assert place.words[arena.ERRNO] == 9
    assert place.words[arena.FAILED_AT] == place.address + arena.PROGRAM + code.SIZE


def test_gaps_leave_out_what_is_kept() -> None:
    kept = [(0x20000, 0x30000), (0x50000, 0x60000), (0x28000, 0x38000), (1 << 63, (1 << 63) + 4096)]
    assert arena._gaps(kept) == [(0x10000, 0x10000), (0x38000, 0x18000), (0x60000, arena.TOP - 0x60000)]
