"""The format of a log file: records, each one chunk of output just as it was read from the pipe.

    offset  size
         0     4   magic      f0 9f 90 8b
         4     4   length     of the payload, little-endian, ≤ 1 MiB
         8     8   time       ns since the epoch, when the chunk was read
        16     1   kind       0 BEGIN · 1 STDOUT · 2 STDERR · 3 LOST
        17     3   zero
        20     4   crc32      of bytes 0…19 and the payload
        24     n   payload
      24+n     4   length     once more, so that a reader can walk backwards

A file begins with a BEGIN record whose payload is the file's generation (u64, little-endian): it counts the files of this log, so a
position (generation, offset) survives renames. LOST (u64) counts bytes that could not be written, in its place in the stream.

A tail torn by kill -9, power loss or a full disk fails the checksum or ends early; `find` then looks for the next record that is
whole. Output that contains the magic cannot deceive it for long: the checksum must fit too. (A whole record inside a torn one is
believed: a program can thereby only invent lines of its own log.)
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

BEGIN, STDOUT, STDERR, LOST = range(4)
KINDS = (BEGIN, STDOUT, STDERR, LOST)

MAGIC = b"\xf0\x9f\x90\x8b"
HEAD = struct.Struct("<4sIQB3x")
SUM = struct.Struct("<I")
NUMBER = struct.Struct("<Q")
HEADER = HEAD.size + SUM.size
TRAILER = SUM.size
OVERHEAD = HEADER + TRAILER
MAX_PAYLOAD = 1 << 20


class Record(NamedTuple):
    kind: int
    time: int
    payload: bytes
    end: int  # offset of the byte behind the record, in the buffer given


class Torn(Exception):
    """What stands there is no whole record, and will not become one by reading on."""


def frame(kind: int, time: int, payload: bytes | memoryview) -> tuple[bytes, bytes]:
    """The bytes in front of the payload and behind it: the payload itself is not copied."""
    length = len(payload)
    if length > MAX_PAYLOAD:
        raise ValueError(f"a record of {length} bytes is longer than {MAX_PAYLOAD}")
    head = HEAD.pack(MAGIC, length, time, kind)
    return head + SUM.pack(crc32(payload, crc32(head))), SUM.pack(length)


def encode(kind: int, time: int, payload: bytes) -> bytes:
    before, behind = frame(kind, time, payload)
    return before + payload + behind


def begin(generation: int, time: int) -> bytes:
    return encode(BEGIN, time, NUMBER.pack(generation))


def decode(buffer: bytes | bytearray | memoryview, offset: int = 0) -> Record | None:
    """The record at `offset`; None when the buffer ends inside it; `Torn` when there is none."""
    available = len(buffer) - offset
    if available < HEADER:
        if MAGIC[:available] != bytes(buffer[offset : offset + min(available, 4)]):
            raise Torn
        return None
    magic, length, time, kind = HEAD.unpack_from(buffer, offset)
    if magic != MAGIC or length > MAX_PAYLOAD or kind > LOST:
        raise Torn
    start = offset + HEADER
    end = start + length + TRAILER
    if available < OVERHEAD + length:
        return None
    payload = bytes(buffer[start : start + length])
    expected, again = SUM.unpack_from(buffer, start - SUM.size)[0], SUM.unpack_from(buffer, end - TRAILER)[0]
    if expected != crc32(payload, crc32(buffer[offset : offset + HEAD.size])) or again != length:
        raise Torn
    return Record(kind, time, payload, end)


def decode_backwards(buffer: bytes | bytearray | memoryview, end: int) -> tuple[int, Record] | None:
    """The record that ends at `end` and its offset; None when it begins before the buffer; `Torn` when none ends there."""
    if end < TRAILER:
        return None
    (length,) = SUM.unpack_from(buffer, end - TRAILER)
    if length > MAX_PAYLOAD:
        raise Torn
    start = end - OVERHEAD - length
    if start < 0:
        return None
    record = decode(buffer, start)
    if record is None or record.end != end:
        raise Torn
    return start, record


def find(buffer: bytes | bytearray, offset: int) -> int:
    """Where the next record may begin, at or after `offset`: at a magic, or at the buffer's last bytes that may become one."""
    found = buffer.find(MAGIC, offset)
    if found >= 0:
        return found
    for length in (3, 2, 1):
        at = len(buffer) - length
        if at >= offset and buffer.endswith(MAGIC[:length]):
            return at
    return max(offset, len(buffer))


def generation_of(head: bytes) -> int | None:
    """The generation that a file's first bytes tell; None when it has no whole BEGIN record."""
    try:
        record = decode(head)
    except Torn:
        return None
    if record is None or record.kind != BEGIN or len(record.payload) != NUMBER.size:
        return None
    return int(NUMBER.unpack(record.payload)[0])


BEGIN_SIZE = OVERHEAD + NUMBER.size
