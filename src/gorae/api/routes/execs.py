"""Another program in a running container: create, start (hijacked), inspect, resize."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp.web_response import StreamResponse

from gorae.api import detach
from gorae.api.adapt import create as wish
from gorae.api.adapt.inspect import exec_inspect
from gorae.api.call import Call, Finished
from gorae.api.errors import explain
from gorae.api.router import Route
from gorae.api.routes.containers import window
from gorae.api.streams import head_is_read, media_type, splice, switch, write
from gorae.errors import BirthError, NotFound
from gorae.wire import stdcopy
from gorae.wire.exec import ExecCreateRequest, ExecStartRequest, IdResponse


async def create(call: Call) -> StreamResponse:
    request = await call.body(ExecCreateRequest)
    detach.parse(request.detach_keys)
    identity = await call.engine.containers.exec_create(call.names["id"], wish.exec_config(request))
    return call.answer(IdResponse(id=identity), 201)


async def start(call: Call) -> StreamResponse:
    request = await call.optional_body(ExecStartRequest)
    size = wish.console_size(request.console_size)
    exec_id = call.names["id"]
    wanted = call.engine.containers.exec_inspect(exec_id)
    if request.detach:
        await call.engine.containers.exec_start(exec_id, detach=True, tty=request.tty, console_size=size)
        return call.nothing(200)
    keys = detach.parse(wanted.config.detach_keys)
    call.connection.hold()
    try:
        attachment = await call.engine.containers.exec_start(exec_id, tty=request.tty, console_size=size)
    except BirthError as error:
        # The stock client reads why from the stream, and the exit status (126, 127) from the exec.
        return await _tell(call, error, wanted.config.tty)
    except BaseException:
        call.connection.release()
        raise
    assert attachment is not None  # only a detached start has none
    switch(call, media_type(call, attachment.tty))

    async def until_recorded() -> None:
        """Clients ask for the exit code as soon as the stream has ended, and once only: it must be there by then.

        (A program that has closed its output and goes on keeps the stream open, as with dockerd.)
        """
        pause = 0.0
        with suppress(NotFound):  # its container may be removed meanwhile
            while call.engine.containers.exec_inspect(exec_id).running:
                await asyncio.sleep(pause)
                pause = min(pause * 2 or 0.001, 0.1)

    detacher = detach.Detacher(keys)
    return await splice(call, attachment, stdin=wanted.config.attach_stdin, detacher=detacher, until=until_recorded)


async def _tell(call: Call, error: BirthError, tty: bool) -> StreamResponse:
    text = explain(error)[1].encode() + b"\r\n"
    switch(call, media_type(call, tty))
    await head_is_read(call)
    await write(call, text if tty else stdcopy.frame(stdcopy.STDOUT, text))
    return Finished()


async def inspect(call: Call) -> StreamResponse:
    return call.answer(exec_inspect(call.engine.containers.exec_inspect(call.names["id"])))


async def resize(call: Call) -> StreamResponse:
    height, width = window(call)
    await call.engine.containers.exec_resize(call.names["id"], height, width)
    return call.nothing(200)


ROUTES = (
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("GET", "/exec/{id}/json", inspect),
    Route("POST", "/exec/{id}/resize", resize),
)
