"""Netlink attributes: the one encoder and decoder.

    ┌────────────┬────────────┬──────────────────┬─────────┐
    │ length u16 │  type u16  │ payload          │ padding │   length = 4 + payload; host byte order; padded to 4 bytes
    └────────────┴────────────┴──────────────────┴─────────┘

The length is 16 bits wide. Encoders that let it wrap have let attackers write attributes of their own behind a long one
(CVE-2021-43784), so a payload that does not fit is an error here. linux/netlink.h, netlink(7).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

HEADER = struct.Struct("=HH")
NLA_F_NESTED = 0x8000
TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
LONGEST = 0xFFFF - HEADER.size

Attributes: TypeAlias = dict[int, bytes]


def attribute(kind: int, payload: bytes) -> bytes:
    """OverflowError for a payload that the 16-bit length cannot tell."""
    if len(payload) > LONGEST:
        raise OverflowError(f"netlink attribute {kind}: {len(payload)} bytes, at most {LONGEST} fit")
    return HEADER.pack(HEADER.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string and its NUL. ValueError when it contains one."""
    if "\0" in value:
        raise ValueError(f"netlink attribute {kind}: NUL in {value!a}")
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(1, "little"))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(2, "big"))


def be32(kind: int, value: int) -> bytes:
    """nftables speaks network byte order."""
    return attribute(kind, value.to_bytes(4, "big"))


def be64(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(8, "big"))


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type (without flags) and payload of each attribute, in order. ValueError when lengths do not fit."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            raise ValueError(f"netlink attribute of {length} bytes at {offset} of {len(data)}")
        yield kind & TYPE_MASK, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def parse(data: bytes) -> Attributes:
    """The last one of each type."""
    return dict(each(data))


def string(payload: bytes) -> str:
    return payload.split(b"\0", 1)[0].decode(errors="replace")


def number(payload: bytes) -> int:
    """Host byte order, of any width."""
    return int.from_bytes(payload, "little" if struct.pack("=H", 1) == b"\1\0" else "big")
