"""The connections of the server: aiohttp's, with two things that Docker's API needs.

    an answer that grows (wait, events, logs)   its task is cancelled when the client goes away      `cancelling`
    a hijacked connection (attach, exec)        after the response's head both directions are raw    `take_over`

    HTTP ──take_over──▶ raw: every byte goes to the guest, so do end-of-file, pauses and loss
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server


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
        self.raw = False  # whether the head of a hijacked response is out: nothing of HTTP may follow

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
        if self.transport is not None:
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
        if self._guest is not None and self.transport is not None:
            self._server.hangups.forget(self.transport.get_extra_info("socket").fileno())
        self.cancel()
        super().connection_lost(exc)
        self._guest = None


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

    def __init__(self, handler: Callable[..., Any], **options: Any) -> None:
        super().__init__(handler, **options)
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
