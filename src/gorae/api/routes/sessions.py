"""The streams of a container: attach (hijacked) and logs."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.api import detach
from gorae.api.call import Call
from gorae.api.router import Route
from gorae.api.streams import LineEncoder, media_type, portions, splice, switch
from gorae.engine.container.model import AttachRequest, LogRequest
from gorae.errors import InvalidArgument


async def attach(call: Call) -> StreamResponse:
    keys, request = _attachment(call)
    await call.no_body()
    call.connection.hold()
    try:
        attachment = await call.engine.containers.attach(call.names["id"], request)
        switch(call, media_type(call, attachment.tty))
    except BaseException:
        call.connection.release()
        raise
    return await splice(call, attachment, stdin=request.stdin, detacher=detach.Detacher(keys))


async def attach_websocket(call: Call) -> StreamResponse:
    """The same for browsers: every output byte in binary messages, without frames, and stdin the other way."""
    from gorae.api import websocket

    keys, request = _attachment(call)
    if not websocket.wanted(call.request):
        raise InvalidArgument("this endpoint speaks WebSocket: the request must ask for that upgrade")
    attachment = await call.engine.containers.attach(call.names["id"], request)
    return await websocket.splice(call, attachment, stdin=request.stdin, detacher=detach.Detacher(keys))


def _attachment(call: Call) -> tuple[bytes, AttachRequest]:
    query = call.query
    request = AttachRequest(
        stdin=query.boolean("stdin"),
        stdout=query.boolean("stdout"),
        stderr=query.boolean("stderr"),
        stream=query.boolean("stream"),
        logs=query.boolean("logs"),
    )
    return detach.parse(query.text("detachKeys")), request


async def logs(call: Call) -> StreamResponse:
    query = call.query
    request = LogRequest(
        stdout=query.boolean("stdout"),
        stderr=query.boolean("stderr"),
        since=query.time("since"),
        until=query.time("until"),
        tail=_tail(query.text("tail", "all")),
        follow=query.boolean("follow"),
    )
    if not (request.stdout or request.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    tty = call.engine.containers.inspect(call.names["id"]).config.tty
    batches = call.engine.containers.logs(call.names["id"], request)
    encoder = LineEncoder(tty=tty, timestamps=query.boolean("timestamps"))
    try:
        async with call.stream(media_type(call, tty)) as response:
            async for blocks in batches:
                for portion in portions(blocks):
                    await response.write(encoder.encode(portion))
    finally:
        if (close := getattr(batches, "aclose", None)) is not None:
            await close()
    return response


def _tail(text: str) -> int | None:
    """`all`, or how many lines; a negative number means all, as dockerd takes it."""
    if text == "all":
        return None
    if not (text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 19):
        raise InvalidArgument(f"invalid value for tail: {text!r} is neither a number nor all")
    return None if int(text) < 0 else int(text)


ROUTES = (
    Route("POST", "/containers/{id}/attach", attach),
    Route("GET", "/containers/{id}/attach/ws", attach_websocket),
    Route("GET", "/containers/{id}/logs", logs),
)
