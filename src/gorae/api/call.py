"""One request on its way to an endpoint: what the endpoints read, and the answers they give.

An endpoint is `async def endpoint(call: Call) -> StreamResponse`. It reads parameters and body through the call, so that nonsense
becomes a 400 in one place, and answers with `answer`, `nothing` or a stream of its own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from gorae.api.connection import Connection
from gorae.api.engine import Engine
from gorae.api.errors import explain
from gorae.api.query import Query
from gorae.errors import InvalidArgument
from gorae.wire import codec
from gorae.wire.error import ErrorResponse
from gorae.wire.versions import Version

T = TypeVar("T")

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


@dataclass(frozen=True)
class Call:
    request: BaseRequest
    engine: Engine
    version: Version
    names: dict[str, str]  # what the path says: {"id": …}
    headers: dict[str, str]  # that every answer carries

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
        """The JSON body. 400 when it is absent, of another media type, too long, or not what `shape` says."""
        data = await self._read(codec.LIMIT)
        kind = self.request.headers.get("Content-Type", "")
        if not data:
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        if kind.partition(";")[0].strip().lower() != JSON:
            raise InvalidArgument(f'unsupported Content-Type header ({kind}): must be "{JSON}"')
        return codec.decode(shape, data)

    async def optional_body(self, shape: type[T]) -> T:
        """The same, with the shape's defaults for no body at all."""
        return await self.body(shape) if self.request.body_exists else shape()

    async def no_body(self) -> None:
        """400 for a request that carries one."""
        if await self._read(8):
            raise InvalidArgument("this request takes no body: configuration is given at create")

    async def _read(self, limit: int) -> bytes:
        length = self.request.content_length
        if length is not None and length > limit:
            raise InvalidArgument(f"the body has {length} bytes, at most {limit} are taken")
        await self.proceed()
        parts: list[bytes] = []
        size = 0
        async for part in self.request.content.iter_any():
            size += len(part)
            if size > limit:
                raise InvalidArgument(f"the body has more than the {limit} bytes that are taken")
            parts.append(part)
        return b"".join(parts)

    async def proceed(self) -> None:
        """Tell a client that waits for it (`Expect: 100-continue`) to send its body."""
        if self.request.headers.get("Expect", "").lower() == "100-continue" and self.request.transport is not None:
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def upload(self) -> AsyncIterator[bytes]:
        """The body as it arrives, of any length."""
        await self.proceed()
        async for part in self.request.content.iter_any():
            yield part

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
