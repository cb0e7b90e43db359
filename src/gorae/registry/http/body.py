"""What clients send: streamed, never held, and given up on when it comes too slowly.

A pause of STALL seconds, or less than SLOWEST bytes a second over the first minute and whatever comes after it, ends the request
with 408; what has come before stays in the upload, which can go on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp.web_request import BaseRequest

from gorae.registry.errors import Refusal


@dataclass(frozen=True)
class Patience:
    stall: float = 60.0
    """Seconds without a byte."""
    warm_up: float = 60.0
    slowest: int = 1024
    """Bytes a second, looked at after `warm_up` seconds."""


async def chunks(request: BaseRequest, patience: Patience, most: int = 0) -> AsyncIterator[bytes]:
    """The body, in pieces of a few hundred KiB at most. `most` bytes, if it is not 0, else `Refusal` 413."""
    length = request.content_length
    if most and length is not None and length > most:
        raise _too_large(most)
    await go_on(request)
    begun, received = time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(patience.stall):
                data = await request.content.readany()
        except TimeoutError:
            raise Refusal("BLOB_UPLOAD_INVALID", f"nothing came for {patience.stall:g} seconds", status=408) from None
        if not data:
            break
        received += len(data)
        if most and received > most:
            raise _too_large(most)
        elapsed = time.monotonic() - begun
        if elapsed > patience.warm_up and received < elapsed * patience.slowest:
            raise Refusal("BLOB_UPLOAD_INVALID", f"less than {patience.slowest} bytes a second", status=408)
        yield data


async def read(request: BaseRequest, patience: Patience, most: int) -> bytes | None:
    """A small body; None when it has more than `most` bytes."""
    if request.content_length is not None and request.content_length > most:
        return None
    parts: list[bytes] = []
    left = most
    async for data in chunks(request, patience):
        left -= len(data)
        if left < 0:
            return None
        parts.append(data)
    return b"".join(parts)


async def go_on(request: BaseRequest) -> None:
    """Tells a client that waits for it to send the body (RFC 9110 §10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def exactly(length: int, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`source`, which must have as many bytes as announced."""

    async def counted() -> AsyncIterator[bytes]:
        received = 0
        async for data in source:
            received += len(data)
            if received > length:
                raise Refusal("SIZE_INVALID", f"the chunk has more than the {length} bytes that its Content-Range says")
            yield data
        if received != length:
            raise Refusal("SIZE_INVALID", f"the chunk has {received} bytes, not the {length} that its Content-Range says")

    return counted()


def _too_large(most: int) -> Refusal:
    return Refusal("SIZE_INVALID", f"at most {most} bytes are taken", status=413, detail={"limit": most})
