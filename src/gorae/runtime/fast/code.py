"""How one step becomes ops: a little assembler. Position-independent: a step's code is made once, and copied ever after.

    struct op, 64 bytes (stub.c has the same)
    0   u8  kind, width, out, negate      out: the slot that takes the result
    4   u16 number, modes                 of the system call; two bits an argument: immediate |
    8   i32 skip                          relative to this op (its strings) | value of a slot | offset in the arena
    12  u8  pass[4]                       errnos with which it goes on, at `skip` if there is one
    16  u64 argument[6]

    CALL   the system call `number`                        SET    slot `out` = argument 0, loaded with `width`; skip
    TEST   (0 & 1) == 2, else skip or fail with errno 3    STORE  *argument 0 = argument 1
    SAME   memory 0 equals 1 for 2 bytes, else as TEST     READ   all of descriptor 0 into 1, at most 2 bytes
    MARK   a step begins                                   FAIL, QUIT

A step's code is its ops, one that skips its data, and its data. What is said of an op that fails is kept beside it (`Tell`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gorae.linux import libc

CALL, TEST, SET, STORE, READ, SAME, FAIL, MARK, QUIT = range(9)
FORMAT = struct.Struct("=BBBBHHi4B6Q")
SIZE = FORMAT.size
WORD = (1 << 64) - 1
ANY = 255
"""In place of an errno: whatever it is. The slot then has it, negative."""


class CannotLowerError(Exception):
    """This step, with these arguments, is for the plain executor."""


@dataclass(frozen=True, slots=True)
class Slot:
    number: int


@dataclass(frozen=True, slots=True)
class Data:
    """Of this step, beside its ops."""

    offset: int


@dataclass(frozen=True, slots=True)
class Shared:
    """An offset in the arena."""

    offset: int


@dataclass(slots=True)
class Label:
    at: int = -1


Value = int | Slot | Data | Shared


@dataclass(frozen=True, slots=True)
class Tell:
    """What a failure of this op means. `give_up`: nothing yet; the plain executor, which can do more, bears the child instead."""

    call: str = ""
    path: str = ""
    more: str = ""
    kind: str = ""  # "", or a word of `flight.KINDS` for a failure with words of its own
    give_up: bool = False


@dataclass(frozen=True, slots=True)
class Lowered:
    code: bytes
    tells: tuple[Tell, ...]


class Code:
    def __init__(self) -> None:
        self._ops: list[tuple[int, int, int, int, int, Label | None, tuple[int, ...], tuple[Value, ...]]] = []
        self._tells: list[Tell] = []
        self._data = bytearray()
        self._known: dict[bytes, Data] = {}
        self._emit(MARK, (), Tell())

    def data(self, raw: bytes) -> Data:
        """Bytes beside the code, aligned, once for equal ones. They are not to be written to: `room` is."""
        known = self._known.get(raw)
        if known is None:
            known = self._known[raw] = self.room(len(raw))
            self._data[known.offset : known.offset + len(raw)] = raw
        return known

    def room(self, size: int) -> Data:
        place = Data(len(self._data))
        self._data += bytes(-(-size // 8) * 8)
        return place

    def text(self, value: str) -> Data:
        try:
            return self.data(libc.text(value) + b"\0")
        except ValueError:
            raise CannotLowerError from None

    def words(self, *values: int) -> Data:
        return self.data(struct.pack(f"={len(values)}Q", *values))

    def call(
        self,
        name: str,
        *arguments: Value,
        out: Slot | None = None,
        errnos: tuple[int, ...] = (),
        to: Label | None = None,
        path: str = "",
        more: str = "",
        kind: str = "",
        give_up: bool = False,
    ) -> None:
        """`errnos`: with these it goes on, at `to` if given. Any other error ends the birth."""
        number = libc.SYS.get(name)
        if number is None:
            raise CannotLowerError
        self._emit(CALL, arguments, Tell(name, path, more, kind, give_up), out, number=number, to=to, errnos=errnos)

    def test(
        self, value: Value, expected: Value, *, mask: int = WORD, width: int = 0, unequal: bool = False, to: Label | None = None,
        error: int = 0, tell: Tell | None = None,
    ) -> None:  # fmt: skip
        """Go on when it is as expected (`unequal`: when it is not); else at `to`, or the birth ends with `error`."""
        self._emit(TEST, (value, mask, expected, error), tell or Tell(), width=width, negate=unequal, to=to)

    def same(self, one: Value, other: Value, size: Value, error: int, tell: Tell) -> None:
        self._emit(SAME, (one, other, size, error), tell)

    def read(self, descriptor: Value, buffer: Value, most: int, out: Slot, path: str) -> None:
        self._emit(READ, (descriptor, buffer, most), Tell("read", path), out)

    def set(self, out: Slot, value: Value, *, width: int = 0) -> None:
        self._emit(SET, (value,), Tell(), out, width=width)

    def store(self, where: Value, value: Value, width: int = 8) -> None:
        self._emit(STORE, (where, value), Tell(), width=width)

    def go(self, to: Label) -> None:
        self._emit(SET, (0,), Tell(), to=to)

    def fail(self, error: Value, tell: Tell) -> None:
        self._emit(FAIL, (error,), tell)

    def quit(self, status: int) -> None:
        self._emit(QUIT, (status,), Tell())

    def close(self, slot: Slot) -> None:
        self.call("close", slot)

    def place(self, label: Label) -> None:
        label.at = len(self._ops)

    def finish(self) -> Lowered:
        end = Label()
        if self._data:
            self.go(end)
        size = len(self._ops) * SIZE
        end.at = len(self._ops) + -(-len(self._data) // SIZE)
        out = bytearray()
        for index, (kind, width, slot, negate, number, to, errnos, arguments) in enumerate(self._ops):
            modes, values = 0, [0] * 6
            for position, value in enumerate(arguments):
                mode, values[position] = self._value(value, size - index * SIZE)
                modes |= mode << 2 * position
            skip = 0 if to is None else (to.at - index) * SIZE
            passed = (*errnos, 0, 0, 0, 0)[:4]
            out += FORMAT.pack(kind, width, slot, negate, number, modes, skip, *passed, *values)
        out += self._data
        return Lowered(bytes(out + bytes(-len(out) % SIZE)), tuple(self._tells))

    @staticmethod
    def _value(value: Value, data: int) -> tuple[int, int]:
        if isinstance(value, Slot):
            return 2, value.number
        if isinstance(value, Data):
            return 1, data + value.offset
        if isinstance(value, Shared):
            return 3, value.offset
        return 0, value & WORD

    def _emit(
        self, kind: int, arguments: tuple[Value, ...], tell: Tell, out: Slot | None = None, *, number: int = 0, width: int = 0,
        negate: bool = False, to: Label | None = None, errnos: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        assert len(errnos) <= 4
        assert len(arguments) <= 6
        self._ops.append((kind, width, out.number if out else 0, int(negate), number, to, errnos, arguments))
        self._tells.append(tell)
