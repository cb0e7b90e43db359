"""Attach over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.api.conftest import Client, eventually
from tests.api.fake_engine import cat

from gorae.logs.lines import Block

WS = "http://docker/containers/one/attach/ws"


@pytest.fixture
async def session(api: Client) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api.path))) as session:
        yield session


async def test_output_and_end(api: Client, session: aiohttp.ClientSession) -> None:
    await api.create()
    api.engine.containers.blocks = [[Block(1, 5, b"old\n", False)]]
    async with session.ws_connect(f"{WS}?stream=1&logs=1&stdout=1&stderr=1") as socket:
        await api.call("POST", "/containers/one/start")
        received = b"".join([message.data async for message in socket])
    assert received == b"old\nout\nerr\n"


async def test_input_and_detach_keys(api: Client, session: aiohttp.ClientSession) -> None:
    await api.create(Tty=True, OpenStdin=True)
    api.engine.containers.script = cat
    async with session.ws_connect(f"{WS}?stream=1&stdin=1&stdout=1") as socket:
        await api.call("POST", "/containers/one/start")
        await socket.send_bytes(b"a")
        assert (await socket.receive(10)).data == b"a"
        await socket.send_str("b")
        assert (await socket.receive(10)).data == b"b"
        await socket.send_bytes(b"\x10\x11")
        assert (await socket.receive(10)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_client_that_closes(api: Client, session: aiohttp.ClientSession) -> None:
    await api.create(OpenStdin=True)
    socket = await session.ws_connect(f"{WS}?stream=1&stdin=1&stdout=1")
    program = api.engine.containers.programs[0][1]
    await socket.close()
    assert await asyncio.wait_for(program.read(), 10) == b""
    await eventually(lambda: not any("_join" in str(task.get_coro()) for task in asyncio.all_tasks()), "no task is left")


async def test_errors(api: Client, session: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(f"{WS}?stream=1")
    assert caught.value.status == 404
    await api.create()
    assert (await api.call("GET", "/containers/one/attach/ws?stream=1")).status == 400
