"""One request on its way to an endpoint: what the endpoints read, and the answers they give.

An endpoint is `async def endpoint(call: Call) -> StreamResponse`. It reads parameters and body through the call, so that nonsense
becomes a 400 in one place, and answers with `answer`, `nothing` or a stream of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import ContentEncodingError, ContentLengthError, TransferEncodingError
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from gorae.api.connection import Connection
from gorae.api.engine import Engine
from gorae.api.errors import explain
from gorae.api.limits import Limits, TooLarge, TooSlow, Untrusted
from gorae.api.query import Query
from gorae.errors import InvalidArgument
from gorae.wire import codec
from gorae.wire.error import ErrorResponse
from gorae.wire.versions import Version

T = TypeVar("T")

# What the parser puts into a body that turns out to be malformed or cut short.
PayloadError = (RequestPayloadError, TransferEncodingError, ContentLengthError, ContentEncodingError)

JSON = "application/json"

log = logging.getLogger("gorae.api")


class Finished(StreamResponse):
    """What an endpoint returns when nothing is left to be sent: the connection ends, after what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Gate(Protocol):
    """Whoever must agree to an answer, when its head is known and before any byte of it is sent."""

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raises what the client is told instead."""


async def read_body(request: BaseRequest, limits: Limits) -> bytes:
    """The whole body. TooLarge before a byte too many is kept, TooSlow when it does not come in time."""
    length = request.content_length
    if length is not None and length > limits.body:
        raise TooLarge(f"the body has {length} bytes, at most {limits.body} are taken")
    if not request.body_exists:
        return b""
    proceed(request)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_patience):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limits.body:
                    raise TooLarge(f"the body has more than the {limits.body} bytes that are taken")
                parts.append(part)
    except PayloadError as error:
        raise _unreadable(error) from None
    except TimeoutError:
        raise TooSlow(f"the body did not come within {limits.body_patience:g} s") from None
    return b"".join(parts)


def _unreadable(error: Exception) -> Untrusted:
    return Untrusted(f"the body cannot be read: {type(error).__name__}")


def proceed(request: BaseRequest) -> None:
    """Tell a client that waits for it (`Expect: 100-continue`) to send its body."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


@dataclass(frozen=True)
class Call:
    request: BaseRequest
    engine: Engine
    version: Version
    names: dict[str, str]  # what the path says: {"id": …}
    headers: dict[str, str]  # that every answer carries
    given: bytes | None = None  # the whole body, unless the route takes uploads
    gate: Gate | None = None  # is asked before an answer goes out

    @cached_property
    def query(self) -> Query:
        return Query(self.request.query)

    @property
    def connection(self) -> Connection:
        protocol = self.request.protocol
        assert isinstance(protocol, Connection)
        return protocol

    @property
    def hijacked(self) -> bool:
        return isinstance(self.request.protocol, Connection) and self.request.protocol.raw

    def before(self, major: int, minor: int) -> bool:
        """Whether the client speaks a version older than this one."""
        return self.version < (major, minor)

    async def body(self, shape: type[T]) -> T:
        """The JSON body. 400 when it is absent, of another media type, or not what `shape` says."""
        kind = self.request.headers.get("Content-Type", "")
        if not self.given:
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        if kind.partition(";")[0].strip().lower() != JSON:
            raise InvalidArgument(f'unsupported Content-Type header ({kind}): must be "{JSON}"')
        return codec.decode(shape, self.given)

    async def optional_body(self, shape: type[T]) -> T:
        """The same, with the shape's defaults for no body at all (Content-Length 0 and an empty chunked one are alike)."""
        return await self.body(shape) if self.given else shape()

    async def no_body(self) -> None:
        """400 for a request that carries one."""
        if self.given:
            raise InvalidArgument("this request takes no body: configuration is given at create")

    async def upload(self) -> AsyncIterator[bytes]:
        """The body as it arrives, of any length. Only for routes that say `upload=True`: the others' bodies are read before."""
        if self.given is not None:
            raise RuntimeError(f"{self.request.method} {self.request.path}: its route does not say upload=True")
        proceed(self.request)
        try:
            async for part in self.request.content.iter_any():
                yield part
        except PayloadError as error:
            raise _unreadable(error) from None

    def answer(self, value: object, status: int = 200) -> Response:
        return Response(body=codec.encode(value) + b"\n", status=status, headers=self.headers, content_type=JSON)

    def nothing(self, status: int = 204) -> Response:
        return Response(status=status, headers=self.headers)

    def failure(self, status: int, message: str) -> Response:
        if status == 304:
            return self.nothing(304)
        return self.answer(ErrorResponse(message=message), status)

    @asynccontextmanager
    async def stream(self, media_type: str, **headers: str) -> AsyncIterator[StreamResponse]:
        """An answer that grows. Its headers are on their way when this yields (the stock client waits for those of `wait` before it
        starts the container); the task is cancelled when the client goes away.
        """
        response = StreamResponse(headers={**self.headers, **headers, "Content-Type": media_type})
        if self.request.version >= (1, 1):
            response.enable_chunked_encoding()
        else:
            response.force_close()
        with self.connection.cancelling():
            if self.gate is not None:
                await self.gate.answer(response.status, response.headers, b"")
            await response.prepare(self.request)
            try:
                yield response
            except ConnectionError:
                raise
            except Exception as error:
                # The status is out already: cutting the chunked body is the only way left to say that it is not complete.
                log.warning("%s %s was cut: %s", self.request.method, self.request.path, explain(error)[1])
                raise ConnectionResetError("the answer was cut") from None
            await response.write_eof()
