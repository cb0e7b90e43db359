"""Stream framing, versions, filters, credentials, progress."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import CorruptData, InvalidArgument
from gorae.wire import auth, filters, progress, stdcopy, versions
from gorae.wire.versions import Version

FRAMES = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=20)), max_size=8)


@settings(max_examples=100)
@given(FRAMES, st.lists(st.integers(1, 30), max_size=20))
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(stdcopy.frame(stream, payload) for stream, payload in frames)
    decoder, pieces = stdcopy.Decoder(), []
    for cut in [*cuts, len(data) + 1]:
        pieces += decoder.feed(data[:cut])
        data = data[cut:]
    assert decoder.at_boundary
    for stream in range(4):
        assert b"".join(piece for number, piece in pieces if number == stream) == b"".join(
            payload for number, payload in frames if number == stream
        )
    assert [number for number, _ in pieces if _] == [number for number, piece in pieces if piece]


def test_order_of_streams_is_kept() -> None:
    data = stdcopy.frame(1, b"a") + stdcopy.frame(2, b"b") + stdcopy.frame(1, b"c")
    assert list(stdcopy.Decoder().feed(data)) == [(1, b"a"), (2, b"b"), (1, b"c")]


@pytest.mark.parametrize("data", [b"\4\0\0\0\0\0\0\1x", b"\1\1\0\0\0\0\0\1x", b"HTTP/1.1", b"\1\0\0\0\xff\xff\xff\xff"])
def test_what_is_no_frame(data: bytes) -> None:
    with pytest.raises(CorruptData):
        list(stdcopy.Decoder().feed(data))


def test_a_cut_stream_is_noticed() -> None:
    decoder = stdcopy.Decoder()
    list(decoder.feed(stdcopy.frame(1, b"abc")[:-1]))
    assert not decoder.at_boundary
    other = stdcopy.Decoder()
    list(other.feed(b"\1"))
    assert not other.at_boundary


@pytest.mark.parametrize(("text", "version"), [("1.24", (1, 24)), ("v1.9", (1, 9)), ("2.0", (2, 0)), ("01.040", (1, 40))])
def test_versions(text: str, version: tuple[int, int]) -> None:
    assert Version.parse(text) == version


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "1.2.3", "a.b", "1.-2", "1.99999", "٣.١", "1 .2", "v", "1.2 "])
def test_no_versions(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Version.parse(text)


def test_versions_compare_as_numbers() -> None:
    assert Version(1, 9) < Version(1, 24) < versions.NEWEST
    assert str(Version(1, 24)) == "1.24"


@pytest.mark.parametrize(
    ("server", "spoken"), [("", "1.24"), ("1.30", "1.30"), ("1.56", "1.56"), ("1.99", "1.56"), ("2.0", "1.56")]
)
def test_negotiation(server: str, spoken: str) -> None:
    assert str(versions.negotiate(server)) == spoken


@pytest.mark.parametrize("server", ["1.23", "0.1", "x"])
def test_failed_negotiation(server: str) -> None:
    with pytest.raises(InvalidArgument):
        versions.negotiate(server)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", {}),
        ("null", {}),
        ("{}", {}),
        ('{"a":{"b":true,"c":false}}', {"a": ("b",)}),
        ('{"a":["b","c"]}', {"a": ("b", "c")}),
        ('{"a":null,"b":{}}', {"a": (), "b": ()}),
    ],
)
def test_filters(text: str, parsed: filters.Filters) -> None:
    assert filters.parse(text) == parsed


@pytest.mark.parametrize(
    "text", ["x", "[]", "1", '{"a":1}', '{"a":{"b":"c"}}', '{"a":[1]}', "[" * 99999, '{"a":NaN}', " " * (2 << 20)]
)
def test_no_filters(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        filters.parse(text)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@settings(max_examples=50)
@given(st.dictionaries(WORDS, st.lists(WORDS, max_size=3, unique=True).map(tuple), max_size=3))
def test_filters_survive(wanted: filters.Filters) -> None:
    assert filters.parse(filters.format(wanted)) == wanted


def test_filter_words() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'x'"):
        filters.check({"x": ()}, ["a"])
    assert filters.boolean({"a": ("1",)}, "a", False)
    assert filters.boolean({}, "a", True)
    for values in (("x",), ("true", "false")):
        with pytest.raises(InvalidArgument):
            filters.boolean({"a": values}, "a", False)


def test_credentials() -> None:
    given = {"username": "u", "password": "p", "serveraddress": "s"}
    for encode in (base64.urlsafe_b64encode, lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")):
        decoded = auth.decode_header(encode(json.dumps(given).encode()).decode())
        assert (decoded.username, decoded.password, decoded.server_address) == ("u", "p", "s")
        assert "'p'" not in repr(decoded)
        assert "'p'" not in f"{[decoded]}"
    assert auth.decode_header("") == auth.AuthConfig()
    for bad in ("e", "!!!", base64.b64encode(b"[]").decode(), "é"):
        with pytest.raises(InvalidArgument):
            auth.decode_header(bad)


def test_progress_lines() -> None:
    assert json.loads(progress.line(progress.Line(status="a", id="b"))) == {"status": "a", "id": "b"}
    assert progress.failure("no\nway").count(b"\n") == 1
    assert json.loads(progress.failure("x")) == {"errorDetail": {"message": "x"}, "error": "x"}


@pytest.mark.parametrize("module", ["stdcopy", "versions", "filters"])
def test_what_the_command_line_loads_is_lean(module: str) -> None:
    code = f"import sys, gorae.wire.{module}; print('msgspec' in sys.modules or 'aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
