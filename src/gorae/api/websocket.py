"""Attach over a WebSocket, for browsers, which cannot hijack a connection.

    stdout and stderr  ─▶ binary messages, unframed (as dockerd: there is no telling them apart)
    binary or text messages ─▶ stdin       close ─▶ detached       end of the program ─▶ close

Imported when first asked for: nothing else needs aiohttp's WebSockets.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from aiohttp.http_websocket import WSMsgType
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_ws import WebSocketResponse

from gorae.api.call import Call
from gorae.api.detach import Detacher
from gorae.wire import stdcopy

if TYPE_CHECKING:
    from gorae.engine.container.model import Attachment

LARGEST_MESSAGE = 1 << 20
READ_SIZE = 64 << 10


def wanted(request: BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def splice(call: Call, attachment: Attachment, *, stdin: bool, detacher: Detacher) -> StreamResponse:
    """Join the client and the attachment until one of them has ended. Owns the attachment."""
    session = WebSocketResponse(max_msg_size=LARGEST_MESSAGE)
    try:
        with call.connection.cancelling():
            await session.prepare(call.request)
            if attachment.replay is not None:
                async for blocks in attachment.replay:
                    for block in blocks:
                        await session.send_bytes(block.data)
            if attachment.socket is not None:
                await _join(session, attachment.socket, attachment.tty, detacher if attachment.tty else None, stdin)
            await session.close()
    finally:
        attachment.close()
    return session


async def _join(
    session: WebSocketResponse, engine: socket.socket, tty: bool, detacher: Detacher | None, stdin: bool
) -> None:
    """Whichever direction ends first ends the other: the program's end, or the client's close or detach keys."""
    out = asyncio.create_task(_output(session, engine, tty))
    into = asyncio.create_task(_input(session, engine, detacher, stdin))
    try:
        done, _ = await asyncio.wait({out, into}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        out.cancel()
        into.cancel()
        await asyncio.gather(out, into, return_exceptions=True)


async def _output(session: WebSocketResponse, engine: socket.socket, tty: bool) -> None:
    loop, decoder = asyncio.get_running_loop(), stdcopy.Decoder()
    while data := await loop.sock_recv(engine, READ_SIZE):
        if tty:
            await session.send_bytes(data)
            continue
        for _, piece in decoder.feed(data):
            await session.send_bytes(piece)


async def _input(session: WebSocketResponse, engine: socket.socket, detacher: Detacher | None, stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    async for message in session:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return
        data: bytes = message.data.encode() if isinstance(message.data, str) else message.data
        if not stdin:
            continue
        if detacher is not None:
            data = detacher.feed(data)
        await loop.sock_sendall(engine, data)
        if detacher is not None and detacher.detached:
            return
