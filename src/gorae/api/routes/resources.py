"""What a container uses and may use: stats, update; and checkpoints, of which there are none."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.api.adapt import create as wish
from gorae.api.adapt.stats import container_stats
from gorae.api.call import JSON, Call
from gorae.api.router import Route
from gorae.errors import NotFound, Unsupported
from gorae.wire import codec
from gorae.wire.container import UpdateResponse
from gorae.wire.hostconfig import UpdateRequest

NO_CHECKPOINTS = (
    "checkpoints are not supported: the processes of a container cannot be frozen to disk by this engine (Docker needs the program "
    "CRIU and its experimental mode for it); commit keeps the file system, pause the memory while the machine is up"
)


async def stats(call: Call) -> StreamResponse:
    stream = call.query.boolean("stream", True)
    one_shot = call.query.boolean("one-shot")
    readings = call.engine.containers.statistics.watch(call.names["id"], stream=stream, one_shot=one_shot)
    try:
        async with call.stream(JSON) as response:
            async for container, sample, before in readings:
                await response.write(codec.encode(container_stats(container, sample, before)) + b"\n")
    finally:
        await readings.aclose()  # type: ignore[attr-defined]
    return response


async def update(call: Call) -> StreamResponse:
    request = await call.body(UpdateRequest)
    policy = wish.restart_policy(request.restart_policy) if request.restart_policy.name else None
    warnings = await call.engine.containers.update(call.names["id"], wish.resources(request), policy)
    return call.answer(UpdateResponse(warnings=[*warnings, *wish.unheeded_update(request)]))


async def checkpoints(call: Call) -> StreamResponse:
    """The list is empty, and that is the truth."""
    call.engine.containers.inspect(call.names["id"])
    return call.answer([])


async def make_checkpoint(call: Call) -> StreamResponse:
    call.engine.containers.inspect(call.names["id"])
    raise Unsupported(NO_CHECKPOINTS)


async def remove_checkpoint(call: Call) -> StreamResponse:
    call.engine.containers.inspect(call.names["id"])
    raise NotFound(f"checkpoint {call.names['checkpoint']} does not exist for container {call.names['id']}: {NO_CHECKPOINTS}")


ROUTES = (
    Route("GET", "/containers/{id}/stats", stats),
    Route("POST", "/containers/{id}/update", update),
    Route("GET", "/containers/{id}/checkpoints", checkpoints),
    Route("POST", "/containers/{id}/checkpoints", make_checkpoint),
    Route("DELETE", "/containers/{id}/checkpoints/{checkpoint}", remove_checkpoint),
)
