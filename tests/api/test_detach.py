"""The detach keys: grammar and state machine."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.api.detach import DEFAULT, Detacher, parse
from gorae.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", DEFAULT),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-@", b"\0"),
        ("ctrl-[", b"\x1b"),
        ("ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1c\x1d\x1e\x1f"),
        ("ctrl-A,b,Z", b"\x01bZ"),
        ("x", b"x"),
    ],
)
def test_grammar(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", [",", "ctrl-", "ctrl-1", "ctrl-p,", "ab", "é", "ctrl-pp", "ctrl-ctrl-p", "a" * 300])
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)


@pytest.mark.parametrize(
    ("pieces", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10"], b"", False),
        ([b"\x10", b"\x10", b"a"], b"\x10\x10a", False),
    ],
)
def test_default_keys(pieces: list[bytes], passed: bytes, detached: bool) -> None:
    detacher = Detacher()
    assert b"".join(detacher.feed(piece) for piece in pieces) == passed
    assert detacher.detached is detached


@settings(max_examples=100)
@given(
    st.lists(st.binary(max_size=4).map(lambda data: bytes(b"ab\x10\x11"[code % 4] for code in data)), max_size=12),
    st.sampled_from([b"a", b"ab", b"aab", DEFAULT]),
)
def test_pieces_do_not_matter(pieces: list[bytes], keys: bytes) -> None:
    """However the bytes arrive, the outcome is the same, and nothing but the keys (or a beginning of them) is swallowed."""
    whole, split = Detacher(keys), Detacher(keys)
    data = b"".join(pieces)
    passed = whole.feed(data)
    assert b"".join(split.feed(piece) for piece in pieces) == passed
    assert split.detached == whole.detached
    if whole.detached:
        assert data.startswith(passed + keys)
    else:
        assert data.startswith(passed)
        assert keys.startswith(data[len(passed) :])
