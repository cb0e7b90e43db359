"""The connections of the server: aiohttp's, with what Docker's API needs and what a hostile client makes necessary.

    an answer that grows (wait, events, logs)   its task is cancelled when the client goes away      `cancelling`
    a hijacked connection (attach, exec)        after the response's head both directions are raw    `take_over`

    HTTP ──take_over──▶ raw: every byte goes to the guest, so do end-of-file, pauses and loss

A client has only so many connections, a head only so many bytes and seconds (`limits`). What is no HTTP gets a 400 in Docker's
shape, and a line in the log that quotes nothing of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from gorae.api import limits as bounds
from gorae.api.errors import describe
from gorae.api.limits import Limits

log = logging.getLogger("gorae.api")

REASONS = {408: "Request Timeout", 429: "Too Many Requests", 431: "Request Header Fields Too Large"}


class Guest(Protocol):
    """Whoever has taken a connection over. `client_…` are told what the client's side does."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Raw bytes from the client. Answers (False, b""): the connection is never given back to HTTP."""

    def feed_eof(self) -> None:
        """The connection is gone (aiohttp's word for it)."""

    def client_finished(self) -> None:
        """The client will send no more, but still reads: `shutdown(SHUT_WR)`."""

    def client_full(self) -> None:
        """The client reads too slowly: stop writing to it."""

    def client_drained(self) -> None:
        """It reads again."""


class Connection(RequestHandler):
    """One client. Everything here happens in the event loop's thread."""

    def __init__(self, server: ApiServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._growing: set[asyncio.Task[Any]] = set()
        self._guest: Guest | None = None
        self._client: object = None  # who it is, as long as it is counted
        self._head = 0  # bytes of a request's head that has not ended
        self._deadline: asyncio.TimerHandle | None = None  # of that head
        self.raw = False  # whether the head of a hijacked response is out: nothing of HTTP may follow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client, most = _client(transport, self._server.limits)
        if not self._server.census.enter(client, most):
            log.warning("too many connections from %s: %d", client, most)
            _say(transport, 429, f"too many connections: {most} are allowed for one client")
            transport.close()
            self._force_close = True  # of what is still read, nothing is looked at
            return
        self._client = client
        super().connection_made(transport)
        if not isinstance(client, int):
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._guest is not None:
            super().data_received(data)
            return
        waiting = not self._request_count or (self._waiter is not None and not self._waiter.done())
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_ended()
            if isinstance(self._messages[-1][0] if self._messages else None, _ErrInfo):
                self._give_up_bodies()
        elif waiting and not self._force_close:
            self._head += len(data)
            if self._head > self._server.limits.head:
                self._refuse(431, f"the head of the request has more than {self._server.limits.head} bytes")
            elif self._deadline is None:
                self._expect_head()

    def _give_up_bodies(self) -> None:
        """What came makes no sense, so a body that is still being read will never end: aiohttp would leave its reader waiting."""
        bodies = [body for _, body in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        for body in bodies:
            if not body.is_eof():
                body.set_exception(RequestPayloadError("malformed"))

    def _expect_head(self) -> None:
        patience = self._server.limits.head_patience
        self._deadline = self._loop.call_later(patience, self._refuse, 408, f"no request came within {patience:g} s")

    def _head_ended(self) -> None:
        self._head = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, message: str) -> None:
        self._head_ended()
        if self.transport is not None:
            _say(self.transport, status, message)
        self.force_close()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """aiohttp's, with Docker's shape and without quotations: what could not be parsed may hold a password."""
        if status < 500:
            text = re.split(r"[\s:]*(?:bytearray\()?(?:b'|b\"|\n)", message or "malformed request")[0][:200]
            log.debug("malformed request: %s", text)
        else:
            text = "unexpected error in goraed; its log has the details"
            log.error("unexpected error: %s", describe(exc) if exc is not None else text)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        response = Response(status=status, body=_shape(text), content_type="application/json")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        error = kw.get("exc_info")
        log.error("unexpected error: %s", describe(error) if isinstance(error, BaseException) else args[0])

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """Within this, the current task is cancelled when the client has gone (or the server closes)."""
        task = asyncio.current_task()
        assert task is not None
        if self.transport is None:
            raise ConnectionResetError("the client has gone")
        self._growing.add(task)
        try:
            yield
        finally:
            self._growing.discard(task)

    def cancel(self) -> None:
        for task in tuple(self._growing):
            task.cancel()

    def hold(self) -> None:
        """Leave in the kernel what the client sends before the connection is taken over: here it would be parsed as a request."""
        if self.transport is not None and self.transport.is_reading():
            self.transport.pause_reading()

    def release(self) -> None:
        if self.transport is not None and not self.transport.is_closing() and not self.transport.is_reading():
            self.transport.resume_reading()

    def take_over(self, guest: Guest) -> None:
        """From now on every byte from the client goes to `guest`."""
        self._guest = guest
        self.keep_alive(False)
        self.set_parser(guest)  # type: ignore[arg-type]  # aiohttp's own guest is its WebSocket reader
        self.release()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if self._guest is None:
            return None
        self._guest.client_finished()
        if self.transport is not None and self.transport.get_extra_info("sslcontext") is None:
            # A half-closed socket is no longer read, so asyncio would not notice its end.
            number = self.transport.get_extra_info("socket").fileno()
            self._server.hangups.watch(number, self.transport.abort)
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._guest is not None:
            self._guest.client_full()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._guest is not None:
            self._guest.client_drained()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._client is None:
            return
        self._server.census.leave(self._client)
        self._client = None
        self._head_ended()
        if self._guest is not None and self.transport is not None:
            self._server.hangups.forget(self.transport.get_extra_info("socket").fileno())
        self.cancel()
        super().connection_lost(exc)
        self._guest = None


def _client(transport: asyncio.BaseTransport, limits: Limits) -> tuple[object, int]:
    """Who it is (a user's number at a unix socket, else an address) and how many connections it may have."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return user, limits.connections_of_user
    peer = transport.get_extra_info("peername")
    return (peer[0] if peer else "unknown"), limits.connections


def _shape(message: str) -> bytes:
    return json.dumps({"message": message}).encode() + b"\n"


def _say(transport: asyncio.BaseTransport, status: int, message: str) -> None:
    """An answer where there is no request to answer."""
    body = _shape(message)
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "", "")
    head = "\r\n".join((f"HTTP/1.1 {status} {REASONS[status]}", *fields))
    cast(asyncio.Transport, transport).write(head.encode() + body)


class Hangups:
    """Tells when the other end of a half-closed socket is closed altogether.

    An epoll of its own, because EPOLLHUP and EPOLLERR are reported even for an empty mask (epoll_ctl(2)), and the event loop's
    own epoll cannot be asked for that: to it, a socket is readable, writable or not watched.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def watch(self, number: int, callback: Callable[[], object]) -> None:
        if number >= 0 and number not in self._callbacks:
            self._epoll.register(number, 0)
            self._callbacks[number] = callback

    def forget(self, number: int) -> None:
        if self._callbacks.pop(number, None) is not None:
            try:
                self._epoll.unregister(number)
            except OSError:
                pass  # closed already, which unregisters

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._callbacks.clear()

    def _ready(self) -> None:
        for number, _ in self._epoll.poll(0):
            callback = self._callbacks.get(number)
            self.forget(number)
            if callback is not None:
                callback()


class ApiServer(Server):
    """Makes `Connection`s; pass it to `loop.create_unix_server` or `loop.create_server`."""

    def __init__(self, handler: Callable[..., Any], limits: Limits, **options: Any) -> None:
        super().__init__(
            handler, max_line_size=limits.line, max_field_size=limits.field, max_headers=limits.fields, **options
        )
        self.limits = limits
        self.census = bounds.Census()
        self.hangups = Hangups(asyncio.get_running_loop())

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def aclose(self, patience: float) -> None:
        """End what grows or is hijacked, give everything else `patience` seconds to be answered, close every connection."""
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.cancel()
        self.pre_shutdown()
        await self.shutdown(patience)
        self.hangups.close()
