"""Blobs on their way out: the kernel copies files (sendfile), everything else goes through in pieces; slow readers are given up.

A reader has PATIENCE seconds for each MiB.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from multidict import CIMultiDict

from gorae.registry.http.ranges import parse_range
from gorae.registry.store.seam import Content

PATIENCE = 60.0
SLICE = 1 << 20
SMALL = 64 << 10
"""Read and sent at once with the head."""


async def send(request: BaseRequest, content: Content, headers: Mapping[str, str], etag: str) -> StreamResponse:
    """The whole, or the range that is asked for; 304 for who has it already. Closes `content`."""
    try:
        quoted = f'"{etag}"'
        told = CIMultiDict(headers)
        told.update({"ETag": quoted, "Accept-Ranges": "bytes"})
        if quoted in (each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")):
            return Response(status=304, headers={"ETag": quoted})
        wanted = None
        if request.headers.get("If-Range", quoted) == quoted:
            wanted = parse_range(request.headers.get("Range"), content.size)
        start, stop = wanted or (0, content.size)
        if wanted is not None:
            told["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        status = 200 if wanted is None else 206
        if request.method != "HEAD" and content.file is not None and stop - start <= SMALL:
            return Response(body=os.pread(content.file.fileno(), stop - start, start), status=status, headers=told)
        response = StreamResponse(status=status, headers=told)
        response.content_length = stop - start
        await response.prepare(request)
        if request.method != "HEAD" and stop > start:
            try:
                await _stream(request, response, content, start, stop)
            except BaseException:
                # The head has promised more than came: only a broken connection says so.
                if request.transport is not None:
                    request.transport.abort()
                raise
        await response.write_eof()
        return response
    finally:
        content.close()


async def _stream(request: BaseRequest, response: StreamResponse, content: Content, start: int, stop: int) -> None:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    if content.file is not None and not request.secure:
        loop = asyncio.get_running_loop()
        while start < stop:
            async with asyncio.timeout(PATIENCE):
                sent = await loop.sendfile(transport, content.file, start, min(SLICE, stop - start), fallback=False)
            if not sent:
                raise ConnectionResetError("the blob's file ended early")
            start += sent
        return
    async for chunk in content.chunks(start, stop):
        async with asyncio.timeout(PATIENCE):
            await response.write(chunk)
