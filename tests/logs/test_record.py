"""The codec: whatever is written comes back; whatever is torn is found out and passed over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.logs import record
from gorae.logs.record import MAGIC, OVERHEAD, Torn

records = st.tuples(st.sampled_from(record.KINDS), st.integers(0, 2**64 - 1), st.binary(max_size=300) | st.just(MAGIC * 9))


@settings(max_examples=100)
@given(st.lists(records, max_size=8))
def test_what_is_written_comes_back_in_both_directions(rows: list[tuple[int, int, bytes]]) -> None:
    buffer = b"".join(record.encode(*row) for row in rows)
    at, forward = 0, []
    while at < len(buffer):
        found = record.decode(buffer, at)
        assert found is not None
        forward.append(tuple(found[:3]))
        at = found.end
    end, backward = len(buffer), []
    while end > 0:
        step = record.decode_backwards(buffer, end)
        assert step is not None
        end, found = step
        backward.append(tuple(found[:3]))
    assert forward == rows
    assert backward[::-1] == rows


@settings(max_examples=100)
@given(records, st.integers(0, 400))
def test_a_record_cut_short_is_never_taken_for_whole(row: tuple[int, int, bytes], cut: int) -> None:
    whole = record.encode(*row)
    assert record.decode(whole[: min(cut, len(whole) - 1)]) is None


@settings(max_examples=100)
@given(records, st.data())
def test_a_flipped_bit_is_found_out(row: tuple[int, int, bytes], data: st.DataObject) -> None:
    whole = bytearray(record.encode(*row))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert record.decode(whole + bytes(400)) is None  # a longer length, which runs past the end
    except Torn:
        pass


@settings(max_examples=60)
@given(st.binary(max_size=200), records)
def test_after_rubbish_the_next_record_is_found(rubbish: bytes, row: tuple[int, int, bytes]) -> None:
    whole = record.encode(*row)
    buffer = rubbish + whole + bytes(OVERHEAD)
    at = record.find(buffer, 0)
    while True:
        try:
            found = record.decode(buffer, at)
        except Torn:
            found = None
        if found is not None:
            break
        at = record.find(buffer, at + 1)
        assert at < len(buffer)
    assert at <= len(rubbish)
    assert found is not None
    assert tuple(found[:3]) == row or at < len(rubbish)


@given(st.binary(max_size=100))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    for call in (lambda: record.decode(data), lambda: record.decode_backwards(data, len(data)), lambda: record.generation_of(data)):
        try:
            call()
        except Torn:
            pass


def test_find_keeps_the_first_bytes_of_a_magic_at_the_end() -> None:
    assert record.find(b"abc" + MAGIC[:3], 0) == 3
    assert record.find(b"abc", 0) == 3


def test_too_long_a_payload_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than"):
        record.encode(record.STDOUT, 0, bytes(record.MAX_PAYLOAD + 1))


def test_the_generation_stands_in_the_first_record() -> None:
    assert record.generation_of(record.begin(7, 1)) == 7
    assert len(record.begin(7, 1)) == record.BEGIN_SIZE
    assert record.generation_of(record.encode(record.STDOUT, 1, b"12345678")) is None
