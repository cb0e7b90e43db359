"""The API on a unix socket in front of a fake engine, and clients for it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.api.fake_engine import FakeEngine

from gorae.api.app import Api
from gorae.wire import stdcopy


class Answer:
    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Client:
    """HTTP by hand, so that the tests see every byte."""

    def __init__(self, path: Path, engine: FakeEngine) -> None:
        self.path = path
        self.engine = engine

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))

    def head(self, method: str, target: str, headers: dict[str, str]) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: docker", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()

    async def call(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own. A body that is not bytes goes as JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if not isinstance(body, bytes):
                given.setdefault("Content-Type", "application/json")
            given.setdefault("Content-Length", str(len(data)))
        reader, writer = await self.open()
        try:
            writer.write(self.head(method, target, {**given, "Connection": "close"}) + data)
            await writer.drain()
            raw = await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
        head, _, rest = raw.partition(b"\r\n\r\n")
        answer = Answer(head, rest)
        if answer.headers.get("transfer-encoding") == "chunked":
            answer.body = unchunked(rest)
        return answer

    async def hijack(
        self, target: str, body: Any = None, upgrade: bool = True
    ) -> tuple[Answer, asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.open()
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"} if upgrade else {}
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        writer.write(self.head("POST", target, headers) + data)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        return Answer(head[:-4], b""), reader, writer

    async def create(self, name: str = "one", **config: Any) -> str:
        answer = await self.call("POST", f"/containers/create?name={name}", {"Image": "image", **config})
        assert answer.status == 201, answer.body
        return str(answer.json["Id"])


def unchunked(data: bytes) -> bytes:
    """Raises ValueError for a body without its end."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body


def frames(data: bytes) -> list[tuple[int, bytes]]:
    decoder = stdcopy.Decoder()
    pieces = list(decoder.feed(data))
    assert decoder.at_boundary
    return pieces


@asynccontextmanager
async def serving(path: Path, **options: Any) -> AsyncIterator[Client]:
    """The API at `path`; `options` are its own."""
    engine = FakeEngine()
    server = Api(engine, **options)  # type: ignore[arg-type]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    await server.serve(listener)
    try:
        yield Client(path, engine)
    finally:
        await server.aclose(1.0)
        for task in tuple(engine.containers.tasks):
            task.cancel()
        await asyncio.gather(*engine.containers.tasks, return_exceptions=True)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(tmp_path / "s") as client:
        yield client


@pytest.fixture
def descriptors() -> Iterator[set[str]]:
    return set(os.listdir("/proc/self/fd"))


async def eventually(condition: Any, what: str) -> None:
    """Turns of the event loop until the condition holds, at most ten seconds."""
    deadline = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.002)
