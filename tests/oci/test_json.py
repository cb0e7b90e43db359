"""The strict reader: equal to Python's own on what is plain JSON, and refusing on all that two readers could read differently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import InvalidArgument
from gorae.oci.json import DEPTH, read_json

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100)
@given(values, st.booleans())
def test_reads_what_others_write(value: object, escape: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=escape).encode()) == value


@settings(max_examples=100)
@given(st.binary(max_size=64))
def test_any_bytes_give_a_value_or_a_refusal(data: bytes) -> None:
    """And what is read, Python's own decoder reads the same."""
    try:
        value = read_json(data)
    except InvalidArgument:
        return
    assert json.loads(data) == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"x": {"b": 1, "\\u0062": 2}}', "'b' stands twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b'["\\u0000"]', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'["a\0b"]', "control character"),
        (b'["\\ud800"]', "surrogate"),
        (b'["\xff"]', "UTF-8 at byte 2"),
        (b'["\xed\xa0\x80"]', "UTF-8"),
        (b"[1] [2]", "Extra data"),
        (b"", "not valid JSON"),
        (b"[" + b"1" * 5000 + b"]", "5000 digits"),
        (b"[" * 100000 + b"]" * 100000, "deeper"),
        (b'{"a":' * (DEPTH + 1) + b"1" + b"}" * (DEPTH + 1), "deeper"),
    ],
)
def test_refuses(data: bytes, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        read_json(data)


def test_depth_counts_only_structure() -> None:
    assert read_json(b"[" * DEPTH + b"]" * DEPTH)
    brackets = "[{" * 200 + '\\"'
    assert read_json(json.dumps([brackets, brackets]).encode()) == [brackets, brackets]


def test_size_is_bounded() -> None:
    assert read_json(b'"aaaa"', limit=6) == "aaaa"
    with pytest.raises(InvalidArgument, match="config: 7 bytes are more than the 6 allowed"):
        read_json(b'"aaaaa"', "config", limit=6)
