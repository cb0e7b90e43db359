"""Attributes: what is packed is read back, by us and by pyroute2; what does not fit is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.netlink import attribute
from gorae.netlink.attribute import LONGEST


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=200)), max_size=8))
def test_what_is_packed_is_read_back(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute.attribute(kind, payload) for kind, payload in pairs)
    assert len(data) % 4 == 0
    assert list(attribute.each(data)) == pairs


@settings(max_examples=60)
@given(st.binary(max_size=100))
def test_reading_hostile_bytes_ends(data: bytes) -> None:
    try:
        found = list(attribute.each(data))
    except ValueError:
        return
    assert sum(len(payload) + 4 for _, payload in found) <= len(data)


@pytest.mark.parametrize("size", [LONGEST + 1, 65536, 65535 + 8, 1 << 17])
def test_a_length_never_wraps(size: int) -> None:
    """CVE-2021-43784: 65536 + 8 bytes would have said "8 bytes", and the rest would have been attributes of the attacker's."""
    with pytest.raises(OverflowError, match="at most 65531"):
        attribute.attribute(1, bytes(size))
    with pytest.raises(OverflowError):
        attribute.nested(1, attribute.attribute(1, bytes(LONGEST)), b"more")
    with pytest.raises(OverflowError):
        attribute.text(1, "x" * size)


def test_the_longest_that_fits() -> None:
    data = attribute.attribute(7, b"x" * LONGEST)
    assert list(attribute.each(data)) == [(7, b"x" * LONGEST)]


def test_numbers_and_words() -> None:
    assert attribute.number(attribute.parse(attribute.u32(3, 0x01020304))[3]) == 0x01020304
    assert attribute.parse(attribute.be16(3, 80))[3] == b"\0\x50"
    assert attribute.string(attribute.parse(attribute.text(3, "eth0"))[3]) == "eth0"
    with pytest.raises(ValueError, match="NUL"):
        attribute.text(3, "eth0\0x")
