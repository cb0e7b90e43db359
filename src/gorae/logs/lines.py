"""Chunks to lines: puts a line that was torn between two chunks together again, and bounds one that never ends.

    chunk (stdout, t1) "one\\ntw"        ──► Block(stdout, t1, "one\\n", partial=False)
    chunk (stderr, t2) "warning\\n"      ──► Block(stderr, t2, "warning\\n", partial=False)
    chunk (stdout, t3) "o\\nthree\\n"     ──► Block(stdout, t3, "two\\nthree\\n", partial=False)

A line has the time of the chunk that ended it, as in Docker. One that passes 16 KiB without an end is given out in pieces, as
Docker does: `partial` blocks hold a piece of a line that goes on in the stream's next block.
"""

from __future__ import annotations

from typing import NamedTuple

PIECE = 16 << 10


class Block(NamedTuple):
    """Whole lines, each with its newline; or, when `partial`, a piece of one line without its end."""

    stream: int
    time: int
    data: bytes
    partial: bool


class Line(NamedTuple):
    """One line with its newline; when `partial` it goes on in the stream's next Line (or ended without a newline)."""

    stream: int
    time: int
    data: bytes
    partial: bool


class Assembler:
    """Holds at most one unfinished line a stream, shorter than 16 KiB."""

    def __init__(self) -> None:
        self._pending: dict[int, tuple[int, bytes]] = {}

    def feed(self, stream: int, time: int, payload: bytes) -> list[Block]:
        held = self._pending.pop(stream, None)
        if held is not None:
            payload = held[1] + payload
        end = payload.rfind(b"\n") + 1
        if end == len(payload):
            return [Block(stream, time, payload, False)] if end else []
        blocks: list[Block] = []
        if end:
            blocks.append(Block(stream, time, payload[:end], False))
            payload = payload[end:]
        while len(payload) >= PIECE:
            blocks.append(Block(stream, time, payload[:PIECE], True))
            payload = payload[PIECE:]
        if payload:
            self._pending[stream] = (time, payload)
        return blocks

    def flush(self) -> list[Block]:
        """The lines that have no end (yet)."""
        blocks = [Block(stream, time, payload, True) for stream, (time, payload) in self._pending.items()]
        self._pending.clear()
        return blocks


def split(block: Block) -> list[Line]:
    """The lines of a block."""
    stream, time, data, partial = block
    if partial:
        return [Line(stream, time, data, True)]
    lines = data.split(b"\n")
    lines.pop()
    # A named tuple's own __new__ is a Python function: this way a line costs a third.
    new = tuple.__new__
    return [new(Line, (stream, time, line + b"\n", False)) for line in lines]


def drop_lines(block: Block, count: int) -> tuple[Block | None, int]:
    """The block without its first `count` lines, and how many are still to be dropped. A piece goes with the line it belongs to."""
    if count <= 0:
        return block, 0
    if block.partial:
        return None, count
    lines = block.data.count(b"\n")
    if lines <= count:
        return None, count - lines
    rest = block.data.split(b"\n", count)[count]
    return block._replace(data=rest), 0
