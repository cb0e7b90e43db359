"""The records of an extended header, "25 path=/some/where/else\\n" (POSIX pax, "pax Extended Header"). Pure.

A length is at most ten digits and the position only goes forward, so reading is linear whatever the bytes are: a regular
expression over digits is quadratic, and 64 KiB of them kept Python's tarfile busy for 5.7 seconds (CVE-2025-8194 and its kin).
"""

from __future__ import annotations

from collections.abc import Iterable

from gorae.errors import CorruptData

NUL_MATTERS = (b"path", b"linkpath", b"uname", b"gname", b"GNU.sparse.name")


def parse(data: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values in order; a key may come twice (GNU.sparse.offset does)."""
    records: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 11)
        digits = data[position:space] if space > position else b""
        if not digits.isdigit():
            raise CorruptData("extended header: a record does not begin with its length")
        end = position + int(digits)
        if end > len(data) or end <= space + 1 or data[end - 1] != 0x0A:
            raise CorruptData("extended header: a record's length is wrong")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise CorruptData("extended header: a record without key and value")
        if b"\0" in key or (key in NUL_MATTERS and b"\0" in value):
            raise CorruptData("extended header: NUL in a name")
        records.append((key, value))
        position = end
    return records


def format(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    out: list[bytes] = []
    for key, value in records:
        rest = len(key) + len(value) + 3  # space, equals sign, line feed
        length = rest
        while length != (total := rest + len(str(length))):
            length = total
        out.append(b"%d %b=%b\n" % (length, key, value))
    return b"".join(out)


def nanoseconds(text: bytes) -> int:
    """A time like "1350244992.023960108" or "-1.5", exactly."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    fraction = fraction[:9]
    if not whole.isdigit() or len(whole) > 19 or (fraction and not fraction.isdigit()):
        raise CorruptData(f"extended header: {text[:40]!a} is no time")
    return sign * (int(whole) * 10**9 + int(fraction.ljust(9, b"0")))


def seconds(nanoseconds: int) -> bytes:
    """The shortest exact form."""
    sign, magnitude = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    whole, fraction = divmod(magnitude, 10**9)
    return f"{sign}{whole}.{fraction:09}".rstrip("0").rstrip(".").encode()
