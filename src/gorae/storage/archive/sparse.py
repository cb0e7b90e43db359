"""Sparse files in tar, in GNU's four spellings (GNU tar manual, "Sparse Formats"). Pure.

    old GNU   typeflag S: four (offset, length) in the header, more in blocks behind it
    0.0       pax records GNU.sparse.offset and GNU.sparse.numbytes, over and over
    0.1       pax record GNU.sparse.map: "offset,length,offset,length,…"
    1.0       GNU.sparse.major=1; the map is decimal lines in front of the data, padded to 512 bytes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from gorae.errors import CorruptData

Extents = tuple[tuple[int, int], ...]
HUGE = 1 << 62


def checked(extents: Iterable[tuple[int, int]], size: int, stored: int) -> Extents:
    """In order, apart, inside the file, and as long together as what the archive stores."""
    kept = tuple((offset, length) for offset, length in extents if length)
    for offset, length in kept:
        if offset < 0 or length < 0 or offset + length > size:
            raise CorruptData("sparse file: an extent lies outside the file")
    if any(offset + length > following for (offset, length), (following, _) in pairwise(kept)):
        raise CorruptData("sparse file: extents overlap or are out of order")
    if sum(length for _, length in kept) != stored:
        raise CorruptData("sparse file: the map and the stored bytes differ in length")
    return kept


def from_records(records: Sequence[tuple[bytes, bytes]]) -> list[tuple[int, int]] | None:
    """The map of 0.0 or 0.1, None when there is none."""
    numbers: list[int] = []
    for key, value in records:
        if key == b"GNU.sparse.map":
            return pairs([number(item) for item in value.split(b",")] if value else [])
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            if (key == b"GNU.sparse.offset") != (len(numbers) % 2 == 0):
                raise CorruptData("sparse file: offsets and lengths do not alternate")
            numbers.append(number(value))
    return pairs(numbers) if numbers else None


def pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise CorruptData("sparse file: an offset without a length")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19 or (value := int(digits)) > HUGE:
        raise CorruptData(f"sparse file: {digits[:40]!a} is no size")
    return value
