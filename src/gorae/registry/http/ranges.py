"""Ranges of bytes: RFC 9110 §14 for pulls, the specification's own `<start>-<end>` for chunks of a push."""

from __future__ import annotations

import re

from gorae.registry.errors import Refusal

_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]{1,19}|\*))?")
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, stop) of the one range that is asked for; None for all of it: no range, several, or another unit.

    `Refusal` 416 when it lies behind the end."""
    found = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, stop = max(0, size - int(last)), size
        if not int(last):
            raise unsatisfiable(size)
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None  # not valid, and so to be ignored
    if start >= size:
        raise unsatisfiable(size)
    return start, stop


def parse_chunk(header: str) -> tuple[int, int]:
    """(start, length) of a Content-Range of a push."""
    found = _CHUNK.fullmatch(header.strip())
    if found is None or int(found[2]) < int(found[1]):
        raise Refusal("BLOB_UPLOAD_INVALID", f"Content-Range {header[:80]!a} is not <start>-<end>", status=416)
    return int(found[1]), int(found[2]) - int(found[1]) + 1


def unsatisfiable(size: int) -> Refusal:
    return Refusal(
        "SIZE_INVALID", f"the range lies behind the {size} bytes", status=416, headers={"Content-Range": f"bytes */{size}"}
    )
