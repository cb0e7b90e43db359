"""From a request to its endpoint, and from any failure to an answer.

    request ─▶ route ─▶ who? ─▶ may they? ─▶ read-only, mirrored? ─▶ endpoint ─▶ store
       ◀──────────────── status, the specification's code, headers ◀── failure, whatever it is

`Registry` is the whole service; `await listen(socket)` as often as there are sockets, and `aclose()` at the end.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from multidict import CIMultiDict

from gorae.errors import Forbidden, GoraeError, InvalidArgument, NotFound, StorageFull, Unavailable
from gorae.registry.auth.access import Access, Guard, Need
from gorae.registry.auth.guards import Bearer, Open
from gorae.registry.errors import Refusal
from gorae.registry.http import routes
from gorae.registry.http.call import Call, base_of, refusal_answer
from gorae.registry.http.connection import Connection, Listener
from gorae.registry.metrics import Metrics
from gorae.registry.names import check_name
from gorae.registry.settings import Settings
from gorae.registry.store.seam import Store
from gorae.registry.upstream.mirror import Upstreams

log = logging.getLogger("gorae.registry")
# aiohttp tells of every malformed request with a traceback: whoever can reach us could fill the disk with them.
wire_log = logging.getLogger("gorae.registry.wire")
wire_log.setLevel(logging.CRITICAL)

BACKLOG = 1024
HANDSHAKE = 15.0
READ_SIZE = 128 << 10
"""What one read of an upload may bring; aiohttp holds up to twice as much for a client that is faster than the disk."""
HEAD_LINE = 16 << 10
COMMON = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff", "Server": "gorae"}


class Registry:
    """One instance in front of one store. The store stays its opener's."""

    def __init__(self, store: Store, settings: Settings, guard: Guard, upstreams: Upstreams) -> None:
        self.store = store
        self.settings = settings
        self.guard = guard
        self.upstreams = upstreams
        self.metrics = Metrics()
        self.common = CIMultiDict(COMMON)
        for words in settings.warnings:
            self.common.add("Warning", f'299 - "{words}"')
        self._server = Listener(
            self._handle,
            idle=settings.idle,
            most=settings.most_connections,
            access_log=None,
            logger=wire_log,
            tcp_keepalive=True,
            auto_decompress=False,
            read_bufsize=READ_SIZE,
            max_line_size=HEAD_LINE,
            max_field_size=HEAD_LINE,
            lingering_time=2.0,
        )
        self._listeners: list[asyncio.AbstractServer] = []
        self._watching = asyncio.create_task(self._server.watch())

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Answer on a bound socket, which is ours from now on."""
        loop = asyncio.get_running_loop()
        handshake = None if tls is None else HANDSHAKE
        self._listeners.append(
            await loop.create_server(self._server, sock=listener, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=handshake)
        )

    async def aclose(self, patience: float = 5.0) -> None:
        """Accept nothing more, finish what is under way for at most `patience` seconds, close all connections."""
        for listener in self._listeners:
            listener.close()
        self._server.pre_shutdown()
        await self._server.shutdown(patience)
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self.upstreams.aclose()

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        begun = time.monotonic()
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.waiting_since = None
        self.metrics.in_flight += 1
        family, response = "none", None
        try:
            try:
                route, name, word = routes.find(request.path)
                family = route.family
                response = await self._answer(request, route, name, word)
            except ConnectionError:
                raise
            except Exception as error:
                response = refusal_answer(_explain(error, request))
            self._dress(response, request)
            return response
        finally:
            self.metrics.in_flight -= 1
            connection.waiting_since = time.monotonic()
            status = 499 if response is None else response.status
            sent = 0 if response is None or request.method == "HEAD" else response.content_length or 0
            self.metrics.answered(
                family, request.method if request.method in _METHODS else "other", status, time.monotonic() - begun, sent
            )

    async def _answer(self, request: BaseRequest, route: routes.Route, name: str, word: str) -> StreamResponse:
        if self.metrics.in_flight > self.settings.most_requests:
            raise Refusal("TOOMANYREQUESTS", "too many requests at once: come again", headers={"Retry-After": "1"})
        action = route.methods.get(request.method)
        if action is None:
            allowed = {"Allow": ", ".join(sorted(route.methods))}
            raise Refusal("UNSUPPORTED", f"{request.method[:20]} is not done here", headers=allowed)
        if name:
            check_name(name)
        access = await self._enter(request, route, action, name)
        if action.changes and self.settings.read_only:
            raise Refusal("UNSUPPORTED", "this registry is read-only")
        if action.changes and self.upstreams.of(name) is not None:
            raise Refusal("UNSUPPORTED", f"{name} is a copy of another registry's: push it there")
        return await action.endpoint(Call(request, self, access, name, word))

    async def _enter(self, request: BaseRequest, route: routes.Route, action: routes.Action, name: str) -> Access:
        """Who it is, with the right that the action needs; `Refusal` otherwise."""
        authorization = request.headers.get("Authorization")
        guard = self.guard
        if isinstance(guard, Bearer) and (route is routes.PAGE or route is routes.METRICS):
            access = await guard.identify_person(authorization)
            if action.need == routes.KNOWN and not access.user:
                raise guard.login()
            return access
        if route is routes.TOKEN:
            return await Open().identify(None)
        access = await guard.identify(authorization)
        if action.need == routes.KNOWN:
            known = isinstance(guard, Open) or access.user
            if not known:
                raise guard.refusal(access, (Need(),), base_of(request, self.settings.url))
        elif action.need and not access.may(action.need, name):
            raise guard.refusal(access, (Need(action.need, name),), base_of(request, self.settings.url))
        return access

    def _dress(self, response: StreamResponse, request: BaseRequest) -> None:
        """Headers that every answer has; what is streamed (blobs) brings them along."""
        if "Server" not in response.headers:
            response.headers.extend(self.common if request.path.startswith("/v2") else {"Server": "gorae"})


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


def _explain(error: Exception, request: BaseRequest) -> Refusal:
    """What a failure is on the wire. What is not meant for clients goes to the log alone."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, StorageFull):
        log.error("%s %s: %s", request.method, request.path, error)
        return Refusal("UNKNOWN", "the registry's storage is full", status=507)
    if isinstance(error, Unavailable):
        log.error("%s %s: %s", request.method, request.path, error)
        return Refusal("UNKNOWN", "the registry's storage does not answer", status=503, headers={"Retry-After": "5"})
    if isinstance(error, InvalidArgument):
        return Refusal("UNKNOWN", str(error), status=400)
    if isinstance(error, NotFound):
        return Refusal("UNKNOWN", str(error), status=404)
    if isinstance(error, Forbidden):
        log.warning("%s %s: %s", request.method, request.path, error)
        return Refusal("DENIED", str(error))
    if isinstance(error, GoraeError):
        log.error("%s %s: %s", request.method, request.path, error)
        return Refusal("UNKNOWN", "the registry failed", status=500)
    log.exception("%s %s", request.method, request.path)
    return Refusal("UNKNOWN", "the registry failed", status=500)
