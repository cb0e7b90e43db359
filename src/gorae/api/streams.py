"""Hijacked connections: attach and exec.

    client ══ HTTP connection, raw after the response's head ══ Join ══ Attachment (unix socket) ══ supervisor ══ program
              stdin ───────────────────────────────────────────────▶
              ◀──────────────────────────── stdout, stderr: frames, or raw bytes from a terminal

A Join copies what arrives on one side to the other, and nothing else: the framing was made where the pipes are read. When one
side's buffer is full, the other is not read (so a slow client slows the program, not the daemon's memory). The client's
end-of-file becomes the program's; the program's end closes the connection.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import termios
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from aiohttp.web_response import StreamResponse

from gorae.api.adapt.moment import fixed_rfc3339
from gorae.api.call import Call, Finished
from gorae.api.connection import Connection
from gorae.api.detach import Detacher
from gorae.wire import stdcopy

if TYPE_CHECKING:
    from gorae.engine.container.model import Attachment
    from gorae.logs.lines import Block

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"

PORTION = 64 << 10
HEAD_TURNS = 1000


def media_type(call: Call, tty: bool) -> str:
    """Since API 1.42 the type tells whether there are frames; before, it was always the raw one."""
    return RAW if tty or call.before(1, 42) else MULTIPLEXED


class Join(asyncio.Protocol):
    """Protocol of the engine's side, and the guest on the client's connection."""

    def __init__(self, connection: Connection, *, stdin: bool, detacher: Detacher | None) -> None:
        self._client = connection.transport
        self._engine: asyncio.Transport | None = None
        self._stdin = stdin
        self._detacher = detacher
        self._client_full = False
        self.program_ended = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self._end()
        if self._engine is not None:
            self._engine.abort()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    # The engine's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._engine = cast(asyncio.Transport, transport)
        if self._client_full:
            self._engine.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._client is not None and not self._client.is_closing():
            self._client.write(data)

    def eof_received(self) -> bool:
        self.program_ended = True
        self._end()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._engine = None
        self._end()

    def pause_writing(self) -> None:
        if self._client is not None and self._client.is_reading():
            self._client.pause_reading()

    def resume_writing(self) -> None:
        if self._client is not None and not self._client.is_closing() and not self._client.is_reading():
            self._client.resume_reading()

    # The client's side.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._stdin and self._engine is not None and not self._engine.is_closing():
            if self._detacher is not None:
                data = self._detacher.feed(data)
            if data:
                self._engine.write(data)
            if self._detacher is not None and self._detacher.detached:
                self._end()
        return False, b""

    def feed_eof(self) -> None:
        self._client = None
        self.close()

    def client_finished(self) -> None:
        if self._stdin and self._engine is not None and not self._engine.is_closing():
            self._engine.write_eof()

    def client_full(self) -> None:
        self._client_full = True
        if self._engine is not None and self._engine.is_reading():
            self._engine.pause_reading()

    def client_drained(self) -> None:
        self._client_full = False
        if self._engine is not None and not self._engine.is_closing() and not self._engine.is_reading():
            self._engine.resume_reading()


def switch(call: Call, kind: str) -> None:
    """The head of the response, after which the connection is raw: 101 for clients that asked to upgrade, 200 for old ones."""
    transport = call.request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    upgrade = "upgrade" in call.request.headers.get("Connection", "").lower() or "Upgrade" in call.request.headers
    lines = (
        ["HTTP/1.1 101 UPGRADED", f"Content-Type: {kind}", "Connection: Upgrade", "Upgrade: tcp"]
        if upgrade
        else ["HTTP/1.1 200 OK", f"Content-Type: {RAW}"]
    )
    lines += [f"{name}: {value}" for name, value in call.headers.items()]
    call.connection.raw = True
    transport.write("\r\n".join([*lines, "", ""]).encode())


async def head_is_read(call: Call) -> None:
    """Wait until the client has taken the response's head from its socket, for a second at most.

    docker-py reads the head through a buffer and then the stream from the bare socket: what arrived together with the head is lost
    to it. dockerd takes so long to start a program that this never shows; here, output is quicker than a busy client.
    """
    transport = call.request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family != socket.AF_UNIX:
        return
    unread = bytearray(4)
    for turn in range(HEAD_TURNS):
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, unread)  # SIOCOUTQ: what the other end has not read (unix(7))
        if not any(unread):
            return
        await asyncio.sleep(0 if turn < 10 else 0.001)


async def splice(
    call: Call,
    attachment: Attachment,
    *,
    stdin: bool,
    detacher: Detacher | None,
    until: Callable[[], Awaitable[None]] | None = None,
) -> StreamResponse:
    """Join the client and the attachment until one of them has ended. Owns the attachment. `switch` comes before.

    When the program's side has ended, `until` is awaited before the client is told.
    """
    connection = call.connection
    try:
        with connection.cancelling():
            await head_is_read(call)
            if attachment.replay is not None:
                encoder = LineEncoder(tty=attachment.tty, timestamps=False)
                async for blocks in attachment.replay:
                    for portion in portions(blocks):
                        await write(call, encoder.encode(portion))
            if attachment.socket is not None:
                join = Join(connection, stdin=stdin, detacher=detacher if attachment.tty else None)
                await asyncio.get_running_loop().create_unix_connection(lambda: join, sock=attachment.socket)
                try:
                    connection.take_over(join)
                    await join.ended
                    if join.program_ended and until is not None:
                        await until()
                finally:
                    join.close()
    finally:
        attachment.close()
    return Finished()


async def write(call: Call, data: bytes) -> None:
    """Raw bytes to a hijacked connection, once its buffer has room."""
    transport = call.request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    transport.write(data)
    await call.connection._drain_helper()


def portions(blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
    """A batch in pieces of about 64 KiB: a frame a line makes short lines three times as long, and what a slow client has not taken
    waits in memory.
    """
    begin, size = 0, 0
    for index, block in enumerate(blocks):
        size += len(block.data)
        if size >= PORTION:
            yield blocks[begin : index + 1]
            begin, size = index + 1, 0
    if begin < len(blocks):
        yield blocks[begin:]


class LineEncoder:
    """Blocks of a log as attach and logs send them: raw from a terminal, otherwise a frame for each line.

    (One frame for many lines would be as lawful and quicker, but there are clients that take a frame for a line.)
    """

    def __init__(self, *, tty: bool, timestamps: bool) -> None:
        self._tty = tty
        self._timestamps = timestamps
        self._continued: set[int] = set()  # streams whose last piece was not the end of a line
        self._headers: dict[tuple[int, int], bytes] = {}

    def encode(self, blocks: Sequence[Block]) -> bytes:
        parts: list[bytes] = []
        for block in blocks:
            lines = block.data.splitlines(keepends=True) if b"\r" not in block.data else _split(block.data)
            if self._timestamps:
                stamp = fixed_rfc3339(block.time).encode() + b" "
                first = b"" if block.stream in self._continued else stamp
                lines = [(stamp if index else first) + line for index, line in enumerate(lines)]
            (self._continued.add if block.partial else self._continued.discard)(block.stream)
            if self._tty:
                parts += lines
            else:
                for line in lines:
                    parts += (self._header(block.stream, len(line)), line)
        return b"".join(parts)

    def _header(self, stream: int, length: int) -> bytes:
        header = self._headers.get((stream, length))
        if header is None:
            header = stdcopy.HEADER.pack(stream, length)
            if len(self._headers) < 4096:
                self._headers[stream, length] = header
        return header


def _split(data: bytes) -> list[bytes]:
    """At newlines only: `bytes.splitlines` also cuts at a carriage return."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines
