"""zstd streams block by block (RFC 8878, section 3), so that neither a bomb nor a cut goes unnoticed.

    frame     magic 4 | descriptor 1 | window 0-1 | dictionary 0-4 | content size 0-8 | blocks … | checksum 0 or 4
    block     3 bytes: last 1 bit, type 2 bits (0 raw, 1 one byte repeated, 2 compressed), size 21 bits | data
    skipped   magic 50..5f 2a 4d 18 | size 4 | anything

A block gives at most 128 KiB, so handing over eight at a time bounds what one call answers. (zstandard's own stream reader is
bounded as well, but takes a stream that is cut off for one that ends.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import zstandard

from gorae.errors import CorruptData

MAGIC = b"\x28\xb5\x2f\xfd"
WINDOW = 128 << 20
TOGETHER = 8
RAW, REPEATED, COMPRESSED = range(3)


def decompressed(read: Callable[[], bytes]) -> Iterator[bytes]:
    """The plain bytes in portions of at most 1 MiB. Raises `CorruptData` as it goes."""
    stream = _Stream(read)
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    while magic := stream.take(4, at_end=True):
        if magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5:
            stream.skip(int.from_bytes(stream.take(4), "little"))
            continue
        if magic != MAGIC:
            raise CorruptData("the zstd stream is damaged: something else follows a frame")
        frame = decompressor.decompressobj()
        for blocks in _blocks(stream):
            try:
                portion = frame.decompress(blocks)
            except zstandard.ZstdError as error:
                raise CorruptData(f"the zstd stream is damaged: {error}") from None
            if portion:
                yield portion
        if not frame.eof:
            raise CorruptData("the zstd stream is damaged: a frame does not end where its blocks do")


def _blocks(stream: _Stream) -> Iterator[bytes]:
    """One frame, in pieces that end with a block."""
    descriptor = stream.take(1)
    flags = descriptor[0]
    single, checksum = flags >> 5 & 1, flags >> 2 & 1
    size = (1 if single else 0, 2, 4, 8)[flags >> 6]
    pieces = [MAGIC, descriptor, stream.take((0 if single else 1) + (0, 1, 2, 4)[flags & 3] + size)]
    count = 0
    while True:
        header = stream.take(3)
        value = int.from_bytes(header, "little")
        last, kind, length = value & 1, value >> 1 & 3, value >> 3
        if kind > COMPRESSED or length > 128 << 10:
            raise CorruptData("the zstd stream is damaged: a block of unknown type or size")
        pieces += [header, stream.take(1 if kind == REPEATED else length)]
        count += 1
        if last:
            pieces.append(stream.take(4 if checksum else 0))
        if last or count == TOGETHER:
            yield b"".join(pieces)
            pieces, count = [], 0
        if last:
            return


class _Stream:
    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._portion = memoryview(b"")

    def take(self, count: int, *, at_end: bool = False) -> bytes:
        """Exactly so many bytes; b"" when there are none left and that is allowed."""
        parts: list[memoryview] = []
        while count:
            if not self._portion:
                self._portion = memoryview(self._read())
                if not self._portion:
                    if at_end and not parts:
                        return b""
                    raise CorruptData("the zstd stream is truncated")
            part = self._portion[:count]
            self._portion = self._portion[len(part) :]
            count -= len(part)
            parts.append(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def skip(self, count: int) -> None:
        while count:
            count -= len(self.take(min(count, 1 << 20)))
