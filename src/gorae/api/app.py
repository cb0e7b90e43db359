"""The application: from a request to its endpoint, and from any failure to an answer.

    request ─▶ version ─▶ route ─▶ endpoint ─▶ engine
       ◀──────── status and {"message": …} ◀── failure, whatever it is

`Api` is the whole; `await serve(socket)` as often as there are sockets, and `aclose()` at the end.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from gorae.api import errors, versions
from gorae.api.call import Call, Finished
from gorae.api.connection import ApiServer
from gorae.api.engine import Engine
from gorae.api.router import Router
from gorae.api.routes import containers, execs, gorae, images, networks, notyet, sessions, system, volumes
from gorae.wire.versions import NEWEST

log = logging.getLogger("gorae.api")

BACKLOG = 1024
READ_SIZE = 256 << 10  # what one read of an upload may bring

FAMILIES = (system, containers, sessions, execs, images, networks, volumes, gorae, notyet)
ROUTER = Router(route for family in FAMILIES for route in family.ROUTES)


class Api:
    """Docker's API in front of one engine. The engine stays its opener's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server = ApiServer(
            self._handle,
            access_log=None,
            tcp_keepalive=False,
            auto_decompress=False,
            read_bufsize=READ_SIZE,
            max_line_size=64 << 10,  # filters travel in the request line
            max_field_size=64 << 10,  # credentials in a header
        )
        self._listeners: list[asyncio.AbstractServer] = []

    async def serve(self, listener: socket.socket) -> None:
        """Answer on a bound unix socket, which is the API's from now on."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_unix_server(self._server, sock=listener, backlog=BACKLOG))

    async def aclose(self, patience: float = 5.0) -> None:
        """Accept nothing more, finish what is under way for at most `patience` seconds, close all connections."""
        for listener in self._listeners:
            listener.close()
        await self._server.aclose(patience)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        call = Call(request, self._engine, NEWEST, {}, versions.HEADERS)
        try:
            version, path = versions.split(request.path)
            found = ROUTER.find(request.method, path)
            if found is None:
                return call.failure(404, "page not found")
            endpoint, names = found
            call = Call(request, self._engine, version, names, versions.HEADERS)
            return await endpoint(call)
        except ConnectionError:
            return Finished()  # the client has gone, or its answer was cut
        except Exception as error:
            status, message = errors.explain(error)
            if call.hijacked:
                log.warning("%s %s was cut: %s", request.method, request.path, message)
                return Finished()
            log.debug("%s %s: %d %s", request.method, request.path, status, message)
            return call.failure(status, message)
