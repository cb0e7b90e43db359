"""Other people's registries: pull, push, login, what a name leads to there, search.

A failure before the first step has a status of its own; after that, it is the last line (`errorDetail`), as in Docker.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

from aiohttp.web_response import StreamResponse

from gorae.api.adapt import registry as shape
from gorae.api.call import JSON, Call
from gorae.api.errors import explain
from gorae.api.router import Route
from gorae.engine.remote.failure import Refused
from gorae.engine.remote.rules import Credentials
from gorae.errors import InvalidArgument, NotFound, Unavailable, Unsupported
from gorae.oci import reference as references
from gorae.wire import progress
from gorae.wire.auth import AuthConfig, AuthResponse, decode_header

Step = TypeVar("Step")


async def pull(call: Call, name: str, tag: str) -> StreamResponse:
    full = name if not tag else f"{name}{'@' if ':' in tag else ':'}{tag}"
    steps = call.engine.images.pull(full, platform=call.query.text("platform"), credentials=_credentials(call))
    try:
        return await _told(call, steps, shape.pull_line)
    except (InvalidArgument, Unavailable) as error:
        # No registry is meant, or it does not answer. The stock client completes a bare name with a registry and `library/`
        # before it asks; what is here is as new as can be had.
        bare = re.sub(r"^[^/]+/library/", "", full)
        found = None
        with suppress(NotFound, InvalidArgument):
            found = None if references.parse(bare).domain else call.engine.images.get(bare)
        if found is None:
            raise error
        async with call.stream(JSON) as response:
            await response.write(progress.line(progress.Line(status=f"{error}; it is here already")))
            await response.write(progress.line(progress.Line(status=f"Status: Image is up to date for {bare}")))
        return response


async def push(call: Call) -> StreamResponse:
    name, tag = call.names["name"], call.query.text("tag")
    if call.query.text("platform"):
        raise Unsupported("choosing a platform in push is not implemented in this version of gorae")
    steps = call.engine.images.push(f"{name}:{tag}" if tag else name, credentials=_credentials(call))
    return await _told(call, steps, shape.push_line)


async def auth(call: Call) -> StreamResponse:
    try:
        await call.engine.images.log_in(shape.credentials(await call.body(AuthConfig)))
    except Refused as error:
        if error.status in (401, 403):
            return call.failure(401, f"login attempt failed: {error}")
        raise Unavailable(f"login attempt failed: {error}") from error
    except Unavailable as error:
        # The address came with the request: that nobody answers there is no fault of ours.
        raise InvalidArgument(f"login attempt failed: {error}") from error
    return call.answer(AuthResponse(status="Login Succeeded"))


async def distribution(call: Call) -> StreamResponse:
    return call.answer(shape.distribution(await call.engine.images.look_up(call.names["name"], credentials=_credentials(call))))


async def search(call: Call) -> StreamResponse:
    raise Unsupported(
        "image search is not implemented in this version of gorae: it is no part of the registry protocol, and no search service "
        "is built in; ask a registry's own page"
    )


def _credentials(call: Call) -> Credentials:
    return shape.credentials(decode_header(call.request.headers.get("X-Registry-Auth", "")))


async def _told(call: Call, steps: AsyncGenerator[Step, None], line: Callable[[Step], bytes]) -> StreamResponse:
    async with aclosing(steps):
        with call.connection.cancelling():
            first = await anext(steps, None)
        async with call.stream(JSON) as response:
            try:
                if first is not None:
                    await response.write(line(first))
                async for step in steps:
                    await response.write(line(step))
            except ConnectionError:
                raise
            except Exception as error:
                await response.write(progress.failure(explain(error)[1]))
        return response


ROUTES = (
    Route("POST", "/auth", auth),
    Route("GET", "/images/search", search),
    Route("POST", "/images/{name…}/push", push),
    Route("GET", "/distribution/{name…}/json", distribution),
)
