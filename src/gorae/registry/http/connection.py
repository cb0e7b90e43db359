"""The connections of the server: aiohttp's, with limits on the clients' patience with us, and ours with them.

    idle or half a request's head   closed after `idle` seconds, however often a byte drips in
    too many                        the next one is closed at once
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

IDLE = 60.0
MOST = 4096
_LOOK = 5.0


class Connection(RequestHandler):
    """One client. `waiting_since` is None while a request is handled."""

    def __init__(self, server: Listener, **options: Any) -> None:
        super().__init__(server, **options)
        self._listener = server
        self.waiting_since: float | None = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._listener.connections) > self._listener.most:
            transport.close()


class Listener(Server):
    """Makes `Connection`s; pass it to `loop.create_server`. `watch` runs as long as it does."""

    def __init__(self, handler: Callable[..., Any], *, idle: float = IDLE, most: int = MOST, **options: Any) -> None:
        super().__init__(handler, keepalive_timeout=idle, **options)
        self.idle = idle
        self.most = most

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def watch(self) -> None:
        """Closes who has been idle, or has been sending a request's head, for too long."""
        while True:
            await asyncio.sleep(min(_LOOK, self.idle / 4))
            before = time.monotonic() - self.idle
            for connection in list(self.connections):
                if (
                    isinstance(connection, Connection)
                    and connection.waiting_since is not None
                    and connection.waiting_since < before
                ):
                    with suppress(AttributeError):  # gone meanwhile
                        connection.force_close()
