"""The application: from a request to its endpoint, and from any failure to an answer.

    request ─▶ framing ─▶ version ─▶ route ─▶ body ─▶ authorization ─▶ endpoint ─▶ engine
       ◀──────── status and {"message": …} ◀── failure, whatever it is

The body is read before anybody is asked, and endpoint and plugins have the same bytes (CVE-2024-41110, CVE-2026-34040: a
plugin that was shown an empty body where the daemon parsed a long one).

`Api` is the whole; `await serve(socket)` as often as there are sockets, and `aclose()` at the end.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from gorae.api import errors, framing, versions
from gorae.api.call import JSON, Call, Finished, read_body
from gorae.api.connection import ApiServer
from gorae.api.engine import Engine
from gorae.api.limits import LIMITS, Census, Limits, Untrusted
from gorae.api.router import Router
from gorae.api.routes import (
    archives,
    containers,
    execs,
    gorae,
    images,
    networks,
    notyet,
    registry,
    resources,
    sessions,
    system,
    volumes,
)
from gorae.wire.versions import NEWEST

if TYPE_CHECKING:
    import ssl

    from gorae.api.authorization.chain import Chain

log = logging.getLogger("gorae.api")

BACKLOG = 1024
READ_SIZE = 256 << 10  # what one read of an upload may bring
HANDSHAKE_PATIENCE = 10.0

FAMILIES = (system, containers, archives, resources, sessions, execs, images, registry, networks, volumes, gorae, notyet)
ROUTER = Router(route for family in FAMILIES for route in family.ROUTES)


class Api:
    """Docker's API in front of one engine. The engine stays its opener's."""

    def __init__(self, engine: Engine, *, authorization: Chain | None = None, limits: Limits = LIMITS) -> None:
        self._engine = engine
        self._authorization = authorization
        self._limits = limits
        self._server = ApiServer(
            self._handle,
            limits,
            access_log=None,
            tcp_keepalive=False,
            auto_decompress=False,
            read_bufsize=READ_SIZE,
        )
        self._listeners: list[asyncio.AbstractServer] = []

    async def serve(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Answer on a bound socket, unix or TCP, which is the API's from now on."""
        loop = asyncio.get_running_loop()
        server: asyncio.AbstractServer
        if listener.family == socket.AF_UNIX:
            server = await loop.create_unix_server(self._server, sock=listener, backlog=BACKLOG)
        elif tls is None:
            server = await loop.create_server(self._server, sock=listener, backlog=BACKLOG)
        else:
            from gorae.api.tls import Secured

            context, handshakes = tls, Census()
            server = await loop.create_server(
                lambda: Secured(context, self._server, handshakes, HANDSHAKE_PATIENCE), sock=listener, backlog=BACKLOG
            )
        self._listeners.append(server)

    async def aclose(self, patience: float = 5.0) -> None:
        """Accept nothing more, finish what is under way for at most `patience` seconds, close all connections."""
        for listener in self._listeners:
            listener.close()
        await self._server.aclose(patience)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        call = Call(request, self._engine, NEWEST, {}, versions.HEADERS)
        try:
            framing.check(request, self._limits)
            version, path = versions.split(request.rel_url.raw_path)
            found = ROUTER.find(request.method, path)
            if found is None:
                return call.failure(404, "page not found")
            route, names = found
            given = None if route.upload else await read_body(request, self._limits)
            gate = await self._authorization.admit(request, given or b"") if self._authorization is not None else None
            call = Call(request, self._engine, version, names, versions.HEADERS, given, gate)
            response = await route.endpoint(call)
            if gate is not None and isinstance(response, Response):
                await gate.answer(response.status, response.headers, _document(response))
            return response
        except ConnectionError:
            return Finished()  # the client has gone, or its answer was cut
        except Exception as error:
            status, message = errors.explain(error)
            if call.hijacked:
                log.warning("%s %s was cut: %s", request.method, request.path, message)
                return Finished()
            log.debug("%s %s: %d %s", request.method, request.path, status, message)
            answer = call.failure(status, message)
            if isinstance(error, Untrusted):
                answer.force_close()
            return answer


def _document(response: Response) -> bytes:
    """What a plugin is shown of an answer: its JSON."""
    return response.body if response.content_type == JSON and isinstance(response.body, bytes) else b""
