"""Containers: create, list, inspect, and everything that changes one."""

from __future__ import annotations

import time
from typing import cast, get_args

from aiohttp.web_response import StreamResponse

from gorae.api.adapt import create as wish
from gorae.api.adapt.inspect import inspect as inspect_shape
from gorae.api.adapt.process import top as top_shape
from gorae.api.adapt.summary import summary
from gorae.api.call import JSON, Call
from gorae.api.router import Route
from gorae.engine.container.model import WaitCondition
from gorae.errors import InvalidArgument, NotFound, Unsupported
from gorae.wire import codec
from gorae.wire.config import CreateRequest
from gorae.wire.container import CreateResponse, PruneResponse, WaitError, WaitResponse

LARGEST_SIDE = 65535  # of a terminal: struct winsize has unsigned shorts (ioctl_tty(2))


async def create(call: Call) -> StreamResponse:
    request = await call.body(CreateRequest)
    config = wish.container_config(request, call.version)
    created = await call.engine.containers.create(config, name=call.query.text("name"), platform=call.query.text("platform"))
    return call.answer(CreateResponse(id=created.id, warnings=[*wish.unheeded(request), *created.warnings]), 201)


async def list_(call: Call) -> StreamResponse:
    limit = call.query.integer("limit", 0) or 0
    size = call.query.boolean("size")
    everything = call.query.boolean("all")
    found = await call.engine.containers.list(all=everything, limit=max(limit, 0), size=size, filters=call.query.filters())
    now = time.time_ns()
    return call.answer([summary(each, call.engine.networks.of(each), call.version, now) for each in found])


async def inspect(call: Call) -> StreamResponse:
    container = call.engine.containers.inspect(call.names["id"])
    if call.query.boolean("size"):
        container = await call.engine.containers.sizes(container)
    return call.answer(inspect_shape(container, call.engine.networks.of(container), call.engine.config, call.version))


async def start(call: Call) -> StreamResponse:
    await call.no_body()
    if call.query.text("checkpoint"):
        raise Unsupported("starting from a checkpoint is not implemented in this version of gorae")
    explain = call.request.headers.get("X-Gorae-Explain", "") not in ("", "0")
    await call.engine.containers.start(call.names["id"], explain=explain)
    return call.nothing()


async def stop(call: Call) -> StreamResponse:
    await call.engine.containers.stop(call.names["id"], timeout=_timeout(call), signal=call.query.text("signal"))
    return call.nothing()


async def restart(call: Call) -> StreamResponse:
    await call.engine.containers.restart(call.names["id"], timeout=_timeout(call), signal=call.query.text("signal"))
    return call.nothing()


async def kill(call: Call) -> StreamResponse:
    await call.engine.containers.kill(call.names["id"], signal=call.query.text("signal"))
    return call.nothing()


async def pause(call: Call) -> StreamResponse:
    await call.engine.containers.pause(call.names["id"])
    return call.nothing()


async def unpause(call: Call) -> StreamResponse:
    await call.engine.containers.unpause(call.names["id"])
    return call.nothing()


async def rename(call: Call) -> StreamResponse:
    name = call.query.text("name")
    if not name:
        raise InvalidArgument("neither old nor new names may be empty")
    await call.engine.containers.rename(call.names["id"], name)
    return call.nothing()


async def resize(call: Call) -> StreamResponse:
    height, width = window(call)
    await call.engine.containers.resize(call.names["id"], height, width)
    return call.nothing(200)


def window(call: Call) -> tuple[int, int]:
    return call.query.required_integer("h", 0, LARGEST_SIDE), call.query.required_integer("w", 0, LARGEST_SIDE)


async def remove(call: Call) -> StreamResponse:
    query = call.query
    await call.engine.containers.remove(
        call.names["id"], force=query.boolean("force"), volumes=query.boolean("v"), link=query.boolean("link")
    )
    return call.nothing()


async def prune(call: Call) -> StreamResponse:
    removed, freed = await call.engine.containers.prune(call.query.filters())
    return call.answer(PruneResponse(containers_deleted=list(removed) or None, space_reclaimed=freed))


async def top(call: Call) -> StreamResponse:
    if call.query.text("ps_args", "-ef") != "-ef":
        raise Unsupported("ps arguments other than -ef are not implemented in this version of gorae")
    return call.answer(top_shape(await call.engine.containers.top(call.names["id"])))


async def wait(call: Call) -> StreamResponse:
    """The headers at once, the exit code when there is one: the stock client starts the container between the two."""
    condition = call.query.text("condition", "not-running") if not call.before(1, 30) else "not-running"
    if condition not in get_args(WaitCondition):
        raise InvalidArgument(f'invalid condition: "{condition}"')
    waiting = call.engine.containers.wait(call.names["id"], cast(WaitCondition, condition))
    try:
        async with call.stream(JSON) as response:
            try:
                result = await waiting.result()
                answer = WaitResponse(status_code=result.exit_code)
                # To who waits for the removal, an error would be the removal's; a failed start has had an answer of its own.
                if result.error and condition != "removed":
                    answer = WaitResponse(status_code=result.exit_code, error=WaitError(message=result.error))
            except NotFound as error:
                answer = WaitResponse(status_code=-1, error=WaitError(message=str(error)))
            await response.write(codec.encode(answer) + b"\n")
    finally:
        waiting.close()
    return response


def _timeout(call: Call) -> int | None:
    timeout = call.query.integer("t")
    if timeout is not None and timeout < -1:
        raise InvalidArgument(f"invalid value for t: {timeout} is less than -1")
    return timeout


ROUTES = (
    Route("POST", "/containers/create", create),
    Route("GET", "/containers/json", list_),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{id}/json", inspect),
    Route("GET", "/containers/{id}/top", top),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/resize", resize),
    Route("POST", "/containers/{id}/wait", wait),
    Route("DELETE", "/containers/{id}", remove),
)
