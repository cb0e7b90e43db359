"""Requests and their answers: versions, headers, bodies, errors."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.api.conftest import Client

from gorae.errors import BirthError, CommandNotExecutable, CommandNotFound, Forbidden, StorageFull, Unavailable


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.56"])
async def test_ping(api: Client, prefix: str) -> None:
    answer = await api.call("GET", f"{prefix}/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["api-version"] == "1.56"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["docker-experimental"] == "false"
    assert answer.headers["server"].startswith("Gorae/")
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    head = await api.call("HEAD", f"{prefix}/_ping")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["swarm"] == "inactive"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.23", "too old. Minimum supported API version is 1.24"),
        ("1.57", "too new. Maximum supported API version is 1.56"),
        ("0.9", "too old"),
    ],
)
async def test_version_out_of_range(api: Client, version: str, words: str) -> None:
    answer = await api.call("GET", f"/v{version}/_ping")
    assert answer.status == 400
    assert words in answer.message
    assert f"client version {version} is" in answer.message
    assert answer.headers["api-version"] == "1.56"


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/v1.40", "/vx/_ping", "/containers", "/containers/a/b/c/d", "/v1.40/v1.40/_ping"]
)
async def test_unknown_path(api: Client, path: str) -> None:
    answer = await api.call("GET", path)
    assert (answer.status, answer.message) == (404, "page not found")


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/build", "build is not implemented"),
        ("POST", "/swarm/init", "swarm mode is not implemented"),
        ("GET", "/images/search?term=x", "search"),
    ],
)
async def test_not_yet(api: Client, method: str, path: str, words: str) -> None:
    answer = await api.call(method, path)
    assert answer.status == 501
    assert words in answer.message
    assert "this version of gorae" in answer.message


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "EOF"),
        (b"{", {"Content_Type": "application/json"}, "invalid JSON"),
        (b'{"Image":"a"} x', {"Content_Type": "application/json"}, "invalid JSON"),
        (b'{"Image":"a"}', {"Content_Type": "text/plain"}, "unsupported Content-Type"),
        (b'{"Image":"a"}', {}, "unsupported Content-Type"),
        (b'{"Image":1}', {"Content_Type": "application/json; charset=utf-8"}, "Image: expected `str`, got `int`"),
        (b'{"HostConfig":{"Memory":"1"}}', {"Content_Type": "application/json"}, "HostConfig.Memory: expected `int`"),
        (b'{"HostConfig":{"Memory":NaN}}', {"Content_Type": "application/json"}, "invalid JSON"),
        (b"[]", {"Content_Type": "application/json"}, "expected `object`"),
        (b"[" * 100_000, {"Content_Type": "application/json"}, "nested deeper"),
        (b'{"Image":"a\\u0000"}', {"Content_Type": "application/json"}, "NUL"),
        (b'{"Image":"\xff"}', {"Content_Type": "application/json"}, "invalid JSON"),
    ],
)
async def test_bad_bodies(api: Client, body: bytes, headers: dict[str, str], words: str) -> None:
    answer = await api.call("POST", "/containers/create", body, **headers)
    assert answer.status == 400
    assert words in answer.message
    assert not api.engine.containers.rows


async def test_chunked_body_is_bounded(api: Client) -> None:
    reader, writer = await api.open()
    writer.write(api.head("POST", "/containers/create", {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}))
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    for _ in range(6):
        writer.write(chunk)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b" 413 " in answer.split(b"\r\n")[0]
    writer.close()


async def test_expect_continue(api: Client) -> None:
    reader, writer = await api.open()
    headers = {"Expect": "100-continue", "Content-Type": "application/json", "Content-Length": "13"}
    writer.write(api.head("POST", "/containers/create", headers))
    assert b" 100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.write(b'{"Image":"a"}')
    assert b" 201 " in (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).split(b"\r\n")[0]
    writer.close()


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Forbidden("no"), 403, "no"),
        (Unavailable("supervisor is away"), 503, "supervisor is away"),
        (StorageFull("disk is full"), 500, "disk is full"),
        (BirthError("mount proc: permission", step="mount"), 500, "mount proc"),
        (CommandNotFound('exec: "x"'), 400, "executable file not found"),
        (CommandNotExecutable('exec: "x"'), 400, "permission denied"),
        (CommandNotFound('exec: "x": stat x: no such file or directory'), 400, "no such file or directory"),
    ],
)
async def test_errors_have_statuses(api: Client, failure: Exception, status: int, words: str) -> None:
    api.engine.containers.failure = failure
    answer = await api.call("POST", "/containers/one/start")
    assert answer.status == status
    assert words in answer.message


async def test_unexpected_error_tells_nothing(api: Client, caplog: pytest.LogCaptureFixture) -> None:
    secret = "hunter2"
    api.engine.containers.failure = KeyError(secret)
    with caplog.at_level(logging.DEBUG):
        answer = await api.call("GET", "/containers/json")
    assert answer.status == 500
    assert secret not in answer.message
    assert secret not in caplog.text
    assert "KeyError at" in caplog.text
    assert "fake_engine" in caplog.text


@pytest.mark.parametrize("times", ["x", "-1", "1.1234567890", "9" * 11])
async def test_bad_times(api: Client, times: str) -> None:
    await api.create()
    for path in ("/containers/one/logs?stdout=1&since=", "/events?since="):
        answer = await api.call("GET", path + times)
        assert answer.status == 400, path
        assert "since" in answer.message


@pytest.mark.parametrize(
    "query", ["", "h=1", "w=1", "h=x&w=1", "h=-1&w=1", "h=1&w=65536", "h=1.5&w=1", "h=9999999999999999999999&w=1"]
)
async def test_bad_resize(api: Client, query: str) -> None:
    await api.create()
    answer = await api.call("POST", f"/containers/one/resize?{query}")
    assert answer.status == 400
    assert not [call for call in api.engine.containers.calls if call[0] == "resize"]


@pytest.mark.parametrize("filters", ["x", "[]", '"a"', '{"a":1}', '{"a":{"b":1}}', '{"label":[1]}', "{" * 1000, '{"a":NaN}'])
async def test_bad_filters(api: Client, filters: str) -> None:
    from urllib.parse import quote

    for path in ("/containers/json", "/images/json", "/networks", "/volumes", "/events"):
        answer = await api.call("GET", f"{path}?filters={quote(filters)}")
        assert answer.status == 400, (path, filters)
        assert "invalid filter" in answer.message


async def test_keep_alive_and_pipelining(api: Client) -> None:
    reader, writer = await api.open()
    writer.write(api.head("GET", "/_ping", {}) * 3)
    for _ in range(3):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b" 200 " in head
        assert await reader.readexactly(2) == b"OK"
    writer.close()


@pytest.mark.parametrize("data", [b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nA\r\n\r\n"])
async def test_not_http(api: Client, data: bytes) -> None:
    reader, writer = await api.open()
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
    writer.close()
    assert (await api.call("GET", "/_ping")).status == 200
