"""What one client may ask for, and heads that two readers could understand differently. Rows `http` and `json` of the hazards."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from pathlib import Path

import pytest
from tests.api.conftest import Client, serving
from tests.api.fake_engine import FakeEngine

from gorae.api.app import Api
from gorae.api.limits import Census, Limits

CREATE = b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
PING = b"GET /_ping HTTP/1.1\r\nHost: a\r\n"
NEXT = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"  # what a smuggler hides in a body

SHAPES = {
    "length and encoding": CREATE + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "encoding and length": CREATE + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": CREATE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "two equal lengths": CREATE + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "list of lengths": CREATE + b"Content-Length: 2, 2\r\n\r\n{}",
    "signed length": CREATE + b"Content-Length: +2\r\n\r\n{}",
    "negative length": CREATE + b"Content-Length: -2\r\n\r\n{}",
    "hexadecimal length": CREATE + b"Content-Length: 0x2\r\n\r\n{}",
    "length with underscore": CREATE + b"Content-Length: 0_2\r\n\r\n{}",
    "length beyond 64 bits": CREATE + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "space before colon": CREATE + b"Content-Length : 2\r\n\r\n{}",
    "folded line": PING + b"X-A: b\r\n c\r\n\r\n",
    "folded encoding": CREATE + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space after the request line": b"GET /_ping HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF": b"GET /_ping HTTP/1.1\nHost: a\n\n",
    "bare LF between fields": b"GET /_ping HTTP/1.1\r\nHost: a\nX-B: c\r\n\r\n",
    "bare LF at the end": b"GET /_ping HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR": b"GET /_ping HTTP/1.1\r\nHost: a\rX-B: c\r\n\r\n",
    "bare CR after the version": b"GET /_ping HTTP/1.1\r\rHost: a\r\n\r\n",
    "NUL in a value": PING + b"X-A: b\0c\r\n\r\n",
    "NUL in a name": PING + b"X\0A: b\r\n\r\n",
    "NUL in the path": b"GET /_p\0ing HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character": PING + b"X-A: b\x01c\r\n\r\n",
    "another encoding": CREATE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "unknown encoding": CREATE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab and encoding": CREATE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "two encodings": CREATE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity after chunked": CREATE + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "encoding in HTTP/1.0": CREATE.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "hexadecimal chunk": CREATE + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "negative chunk": CREATE + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "bare LF after a chunk's size": CREATE + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "bare LF in a chunk's extension": CREATE + b"Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
    "two hosts": PING + b"Host: b\r\n\r\n",
    "no host": b"GET /_ping HTTP/1.1\r\n\r\n",
    "space in a name": PING + b"X A: b\r\n\r\n",
    "no colon": PING + b"XA\r\n\r\n",
    "no name": PING + b": b\r\n\r\n",
    "name that is not ASCII": PING + b"X-\xc3\xa9: 4\r\n\r\n",
    "HTTP/0.9": b"GET /_ping\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.9": b"GET /_ping HTTP/1.9\r\nHost: a\r\n\r\n",
    "tabs": b"GET\t/_ping\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00",
    "two media types": CREATE + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "compressed body": CREATE + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_heads_that_can_be_read_in_two_ways(api: Client, shape: str, caplog: pytest.LogCaptureFixture) -> None:
    """400 in Docker's shape, the connection ends, what was hidden behind is not answered, nothing is logged but a line."""
    with caplog.at_level(logging.INFO):
        reader, writer = await api.open()
        writer.write(SHAPES[shape] + NEXT)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 " in head.split(b"\r\n")[0]
    assert len(re.findall(rb"HTTP/[0-9.]+ [0-9]{3}", answer)) == 1
    assert json.loads(body)["message"]
    assert not api.engine.containers.rows
    assert not caplog.text
    assert (await api.call("GET", "/_ping")).status == 200


async def test_a_malformed_request_is_not_quoted(api: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        reader, writer = await api.open()
        writer.write(PING + b"X-Registry-Auth: hunter2\0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert b"hunter2" not in answer
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("rest", [b"zz\r\n", b"ffffffffffffffffffff\r\n", b"5\r\n{}\r\n\r\n\r\n\r\n"])
async def test_a_body_that_turns_out_malformed(api: Client, rest: bytes) -> None:
    """The head is good and the endpoint is waiting when it becomes clear."""
    reader, writer = await api.open()
    writer.write(CREATE + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert b" 100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.write(rest)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert b" 400 " in answer.split(b"\r\n")[0], answer
    writer.close()
    assert not api.engine.containers.rows


async def test_a_body_cut_short(api: Client) -> None:
    _, writer = await api.open()
    writer.write(CREATE + b'Content-Length: 100\r\n\r\n{"Image":"image"}')
    await writer.drain()
    writer.close()
    assert (await api.call("GET", "/_ping")).status == 200
    assert not api.engine.containers.rows


# Sizes.


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (PING + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 400),
        (b"GET /_ping?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (PING + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n", 400),
        (PING + b"".join(b"X-%d: %b\r\n" % (number, b"a" * 60_000) for number in range(6)) + b"\r\n", 431),
        (PING + b"".join(b"X-%d: %b\r\n" % (number, b"a" * 60_000) for number in range(100)), 431),
        (PING + b"a" * 10_000_000, 400),
    ],
    ids=["field", "line", "fields", "head", "head without end", "name without end"],
)
async def test_heads_are_bounded(api: Client, head: bytes, status: int) -> None:
    reader, writer = await api.open()
    writer.write(head)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    assert f" {status} ".encode() in answer
    writer.close()


async def test_a_head_at_the_limit_is_taken(api: Client) -> None:
    reader, writer = await api.open()
    writer.write(PING + b"".join(b"X-%d: %b\r\n" % (number, b"a" * 60_000) for number in range(4)) + b"\r\n")
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_bounded(tmp_path: Path, chunked: bool) -> None:
    async with serving(tmp_path / "s", limits=Limits(body=1000)) as api:
        for size, status in ((1000, b" 201 "), (1001, b" 413 ")):
            body = b'{"Image":"image"}'.ljust(size)
            reader, writer = await api.open()
            if chunked:
                writer.write(CREATE + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            else:
                writer.write(CREATE + b"Content-Length: %d\r\n\r\n" % size + body)
            assert status in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
            writer.close()
        assert len(api.engine.containers.rows) == 1


async def test_too_much_is_refused_before_it_is_sent(api: Client) -> None:
    reader, writer = await api.open()
    writer.write(CREATE + b"Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n")
    assert b" 413 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    writer.close()


# Times.


@pytest.mark.parametrize("sent", [b"G", PING, PING + b"X-A: b"])
async def test_slow_heads(tmp_path: Path, sent: bytes) -> None:
    async with serving(tmp_path / "s", limits=Limits(head_patience=0.1)) as api:
        for first in (b"", PING + b"\r\n"):
            reader, writer = await api.open()
            if first:
                writer.write(first)
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\nOK"), 10)
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(), 10)
            assert b" 408 " in answer.split(b"\r\n")[0]
            assert "no request came" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
            writer.close()


async def test_a_kept_connection_may_be_idle(tmp_path: Path) -> None:
    """A head that has ended is no longer waited for, and between requests nobody is: only what was begun must go on."""
    async with serving(tmp_path / "s", limits=Limits(head_patience=0.1)) as api:
        reader, writer = await api.open()
        for _ in range(2):
            writer.write(PING[:10])
            await asyncio.sleep(0)
            writer.write(PING[10:] + b"\r\n")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\nOK"), 10)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.3)
        writer.close()


async def test_slow_bodies(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", limits=Limits(body_patience=0.1)) as api:
        reader, writer = await api.open()
        writer.write(CREATE + b'Content-Length: 100\r\n\r\n{"Image"')
        assert b" 408 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        writer.close()


async def test_on_tcp_the_first_request_must_come(tmp_path: Path) -> None:
    api = Api(FakeEngine(), limits=Limits(head_patience=0.1))  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0))
    await api.serve(listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    assert b" 408 " in (await asyncio.wait_for(reader.read(), 10)).split(b"\r\n")[0]
    writer.close()
    await api.aclose(1.0)


# Connections.


async def test_connections_of_one_client(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", limits=Limits(connections_of_user=3)) as api:
        kept = []
        for _ in range(3):
            reader, writer = await api.open()
            writer.write(PING + b"\r\n")
            assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
            kept.append(writer)
        reader, writer = await api.open()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert b" 429 " in answer.split(b"\r\n")[0]
        assert "3 are allowed" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
        writer.close()
        for one in kept:
            one.close()
            await one.wait_closed()
        assert (await api.call("GET", "/_ping")).status == 200


def test_census() -> None:
    census = Census()
    assert [census.enter("a", 2) for _ in range(3)] == [True, True, False]
    assert census.enter("b", 1)
    census.leave("a")
    assert census.enter("a", 2)
    assert not census.enter("b", 1)
    for client in ("a", "a", "b"):
        census.leave(client)
    assert not census._counts


# Documents.


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"Labels":' * 70 + b"1" + b"}" * 70, "deeper"),
        (b"[" * 2_000_000, "deeper"),
        (b'{"HostConfig":{"Memory":NaN}}', "NaN"),
        (b'{"HostConfig":{"Memory":-Infinity}}', "Infinity"),
        (b'{"HostConfig":{"Memory":1e999}}', "too large"),
        (b'{"HostConfig":{"Memory":' + b"9" * 5000 + b"}}", "digits"),
        (b'{"HostConfig":{"Memory":9223372036854775808}}', "64 bits"),
        (b'{"Image":"image","Image":"other"}', "twice"),
        (b'{"Image":"image","image":"other"}', "twice"),
        (b'{"Image":"\\ud800"}', "surrogate"),
        (b'{"Labels":{"\\udfff":"x"}}', "surrogate"),
        (b'{"Image":"a\\u0000b"}', "NUL"),
        (b'{"Image":"\xed\xa0\x80"}', "UTF-8"),
        (b'{"Image":"image"}{}', "Extra data"),
        (b'\xef\xbb\xbf{"Image":"image"}', "BOM"),
        ('{"Image":"image"}'.encode("utf-16"), "UTF-8"),
    ],
)
async def test_documents(api: Client, data: bytes, words: str) -> None:
    answer = await api.call("POST", "/containers/create", data, Content_Type="application/json")
    assert answer.status == 400
    assert words in answer.message
    assert not api.engine.containers.rows


@pytest.mark.parametrize(
    "filters", ["%ff", '{"label":{"%5Cud800":true}}', '{"name":{"a":true},"name":{"b":true}}', '{"name":{"%00":true}}']
)
async def test_filters(api: Client, filters: str) -> None:
    for path in ("/containers/json", "/images/json", "/networks", "/events"):
        assert (await api.call("GET", f"{path}?filters={filters}")).status == 400, path


@pytest.mark.parametrize("name", ["%ff", "%00", "a%00b", "%ed%a0%80"])
async def test_names_in_paths(api: Client, name: str) -> None:
    for method, path in (("GET", f"/containers/{name}/json"), ("GET", f"/images/{name}/json"), ("DELETE", f"/containers/{name}")):
        answer = await api.call(method, path)
        assert answer.status == 400, path
        assert "invalid path" in answer.message
