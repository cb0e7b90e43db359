"""The codec of the messages."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import BirthError, CommandNotFound, Conflict, GoraeError, InvalidArgument, Unavailable
from gorae.supervisor import protocol
from gorae.supervisor.protocol import (
    Context,
    Decoder,
    ExecExited,
    Exit,
    Exited,
    Living,
    LivingExec,
    Log,
    OutOfMemory,
    RootMount,
    StartRequest,
    Stdio,
    Streams,
)

words = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)
messages = st.dictionaries(words.filter(lambda word: word != "descriptors"), values, max_size=4)


@settings(max_examples=100)
@given(st.lists(messages, max_size=4), st.data())
def test_messages_come_back_however_the_stream_is_cut(given_messages: list[dict[str, Any]], data: st.DataObject) -> None:
    stream = b"".join(map(protocol.encode, given_messages))
    decoder, found = Decoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        decoder.feed(stream[:size])
        stream = stream[size:]
        found += [message for message, _ in decoder.messages()]
    assert found == given_messages
    assert decoder.leftover() == (b"", [])


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    decoder = Decoder(limit=1000)
    decoder.feed(data)
    try:
        for _ in decoder.messages():
            pass
    except InvalidArgument:
        pass
    decoder.close()


NO_MESSAGES = [b"[]", b"1", b"{", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff"]
NO_COUNTS = [b'{"descriptors":-1}', b'{"descriptors":1}', b'{"descriptors":"1"}']


@pytest.mark.parametrize("body", NO_MESSAGES + NO_COUNTS)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    decoder = Decoder()
    decoder.feed(len(body).to_bytes(4, "big") + body)
    with pytest.raises(InvalidArgument):
        list(decoder.messages())


def test_too_long_a_message_is_refused_by_its_length_alone() -> None:
    decoder = Decoder(limit=100)
    decoder.feed((101).to_bytes(4, "big"))
    with pytest.raises(InvalidArgument, match="101"):
        list(decoder.messages())
    with pytest.raises(InvalidArgument):
        protocol.encode({"a": "x" * (9 << 20)})


def descriptors(count: int) -> list[int]:
    return [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]


def is_open(descriptor: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


def test_descriptors_go_to_the_message_that_claims_them() -> None:
    decoder, (first, second, third) = Decoder(), descriptors(3)
    last = protocol.encode({"descriptors": 1})
    decoder.feed(protocol.encode({"descriptors": 2}) + protocol.encode({}) + last[:5], [first, second])
    assert list(decoder.messages()) == [({}, [first, second]), ({}, [])]
    decoder.feed(last[5:], [third])
    assert list(decoder.messages()) == [({}, [third])]
    for descriptor in (first, second, third):
        os.close(descriptor)


def test_descriptors_that_nothing_claims_are_refused_and_closed() -> None:
    decoder, (first,) = Decoder(), descriptors(1)
    decoder.feed(protocol.encode({}), [first])
    with pytest.raises(InvalidArgument, match="belong to no message"):
        list(decoder.messages())
    decoder.close()
    assert not is_open(first)


def test_requests_and_tables_survive_the_wire() -> None:
    request = StartRequest(
        "a",
        "/d",
        {"ociVersion": "1.2.0", "process": {"args": ["x"], "cwd": "/"}},
        Context((RootMount("overlay", "overlay", ("lowerdir=/a",)),), "alice", ("wheel",), True, "/gorae/a", "/b", {"k": "v"}),
        Stdio(True, True, True, 24, 80),
        Log("none"),
        (Streams(True, False, True),),
        True,
    )
    assert protocol.decode(StartRequest, protocol.plain(request), "start") == request
    done = Exit(137, 3, 1, 9, True, "x")
    living = Living("a", 9, 1, "exited", (LivingExec("e", 4, 2, "running"),), done, "/d")
    assert protocol.decode(Living, protocol.plain(living), "table") == living
    for event in (Exited("a", done), ExecExited("a", "e", done), OutOfMemory("a")):
        decoder = Decoder()
        decoder.feed(protocol.event(event))
        assert [protocol.event_of(message) for message, _ in decoder.messages()] == [event]
    assert protocol.event_of({"event": "of the future"}) is None


@pytest.mark.parametrize(
    "error",
    [Conflict("taken"), BirthError("it failed", step="mount", errno=2, path="/x"), CommandNotFound("no such file", step="execve")],
)
def test_errors_arrive_whole(error: GoraeError) -> None:
    found = protocol.error_of(protocol.describe(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_a_fault_of_the_supervisor_is_unavailable() -> None:
    found = protocol.error_of(protocol.describe(KeyError("x")))
    assert type(found) is Unavailable
    assert "KeyError" in str(found)
    assert type(protocol.error_of({"kind": "object"})) is Unavailable
    assert type(protocol.error_of(None)) is Unavailable
