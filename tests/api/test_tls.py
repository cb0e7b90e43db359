"""The TLS layer by itself: handshakes that do not end, half-closes, truncations. Who is let in, tests/daemon/test_tls.py asks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.authority import Authority
from tests.api.conftest import eventually
from tests.api.fake_engine import FakeEngine, Program

from gorae.api import app, tls
from gorae.api.app import Api
from gorae.client.endpoint import Endpoint
from gorae.client.engine import Engine
from gorae.daemon import certificates
from gorae.engine.config import Config

ATTACH = "/containers/one/attach"
STREAMS = {"stream": 1, "stdin": 1, "stdout": 1}


class Served:
    def __init__(self, engine: FakeEngine, api: Api, port: int, client: Path) -> None:
        self.engine = engine
        self.api = api
        self.port = port
        self.client = client

    def connect(self) -> Engine:
        return Engine(Endpoint(host="127.0.0.1", port=self.port, tls=str(self.client)))


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(app, "HANDSHAKE_PATIENCE", 0.3)
    authority = Authority(tmp_path / "authority")
    server, client = authority.issue("server", server=True), authority.issue("client")
    config = Config(
        tls_verify=True, tls_ca_certificate=f"{server}/ca.pem", tls_certificate=f"{server}/cert.pem", tls_key=f"{server}/key.pem"
    )
    engine = FakeEngine()
    api = Api(engine)  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0))
    await api.serve(listener, certificates.context(config))
    yield Served(engine, api, listener.getsockname()[1], client)
    await api.aclose(1.0)
    for task in tuple(engine.containers.tasks):
        task.cancel()
    await asyncio.gather(*engine.containers.tasks, return_exceptions=True)


async def test_a_handshake_that_does_not_end(served: Served) -> None:
    """Nothing, half a hello, and something else altogether: closed in time, and the API has never heard of it."""
    for sent in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        try:
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
        except ConnectionResetError:
            pass
        writer.close()
    assert not served.api._server.connections


async def test_handshakes_of_one_client_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKES", 3)
    idle = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 0.2)  # before the patience with the idle ones ends
    writer.close()
    for _, each in idle:
        each.close()


async def test_a_half_close_and_all_that_comes_after_it(served: Served) -> None:
    """Megabytes against a client that reads slowly, after its close_notify."""
    size = 4 << 20

    async def count(program: Program) -> int:
        seen = 0
        while data := await program.read():
            seen += len(data)
        await program.write(str(seen).encode().ljust(size))
        return 0

    served.engine.containers.script = count

    def client() -> bytes:
        with served.connect() as engine:
            engine.create({"Image": "image", "OpenStdin": True, "Tty": True}, name="one")
            response = engine.hijack(ATTACH, STREAMS)
            engine.start("one")
            link = response.connection.socket
            link.sendall(b"x" * (1 << 20))
            link.shutdown(socket.SHUT_WR)
            data = response.connection.leftover()
            while part := link.recv(1 << 16):
                data += part
            link.close()
            return data

    data = await asyncio.wait_for(asyncio.to_thread(client), 30)
    assert len(data) == size
    assert data.strip() == str(1 << 20).encode()


async def test_a_truncation_ends_the_stream(served: Served) -> None:
    """The TCP connection ends without close_notify: the program does not see an end of its input, the attachment is gone."""
    ended = asyncio.Event()

    async def listen(program: Program) -> int:
        while await program.read():
            pass
        ended.set()
        return 0

    served.engine.containers.script = listen

    def client() -> None:
        with served.connect() as engine:
            engine.create({"Image": "image", "OpenStdin": True, "Tty": True}, name="one")
            response = engine.hijack(ATTACH, STREAMS)
            engine.start("one")
            response.connection.socket._link.close()  # type: ignore[union-attr]

    await asyncio.wait_for(asyncio.to_thread(client), 10)
    await asyncio.wait_for(ended.wait(), 10)  # the fake's socket is closed with the attachment
    await eventually(lambda: not served.api._server.connections, "every connection is gone")
