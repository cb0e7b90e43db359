"""The engine itself: _ping, version, info, events, disk usage."""

from __future__ import annotations

import time
from collections.abc import Sequence

from aiohttp.web_response import Response, StreamResponse
from msgspec import UNSET

from gorae.api.adapt import event as event_shape
from gorae.api.adapt import image as image_shape
from gorae.api.adapt import system as system_shape
from gorae.api.adapt.summary import summary
from gorae.api.call import JSON, Call
from gorae.api.router import Route
from gorae.errors import InvalidArgument
from gorae.wire import codec
from gorae.wire.system import DiskUsage, Usage

PING_HEADERS = {
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}

KINDS = frozenset({"container", "image", "volume", "build-cache"})


async def ping(call: Call) -> StreamResponse:
    body = b"OK" if call.request.method == "GET" else b""
    return Response(body=body, headers={**call.headers, **PING_HEADERS}, content_type="text/plain", charset="utf-8")


async def version(call: Call) -> StreamResponse:
    return call.answer(system_shape.version(call.engine.system.version()))


async def info(call: Call) -> StreamResponse:
    return call.answer(system_shape.info(await call.engine.system.info(), call.version))


async def events(call: Call) -> StreamResponse:
    since, until, filters = call.query.time("since"), call.query.time("until"), call.query.filters()
    if since and until and since > until:
        raise InvalidArgument(f"`since` time ({since}) cannot be after `until` time ({until})")
    subscription = call.engine.events.subscribe(since=since, until=until, filters=filters)
    try:
        media_type, before = _event_format(call)
        async with call.stream(media_type) as response:
            async for event in subscription:
                await response.write(before + codec.encode(event_shape.event(event, call.version)) + b"\n")
    finally:
        await subscription.aclose()
    return response


def _event_format(call: Call) -> tuple[str, bytes]:
    """The media type the client asked for, and what begins each of its records (RFC 7464's is a record separator)."""
    accept = call.request.headers.get("Accept", "")
    for kind, before in (("application/json-seq", b"\x1e"), ("application/x-ndjson", b""), ("application/jsonl", b"")):
        if kind in accept:
            return kind, before
    return JSON, b""


async def disk_usage(call: Call) -> StreamResponse:
    asked = set(call.query.list("type")) or set(KINDS)
    if unknown := asked - KINDS:
        raise InvalidArgument(f"unknown object type: {', '.join(sorted(unknown))}")
    now = time.time_ns()
    containers = await call.engine.containers.list(all=True, size=True) if asked & {"container", "image"} else []
    using = {value.image_id for value in containers}
    images = call.engine.images.list(all=True) if "image" in asked else ()
    image_size = sum(value.size for value in images if not value.builtin)
    container_rows = [summary(value, call.engine.networks.of(value), call.version, now) for value in containers]
    image_rows = [
        image_shape.summary(value, call.version, containers=sum(1 for one in containers if one.image_id == value.id))
        for value in images
    ]
    if call.before(1, 52):
        usage = DiskUsage(layers_size=image_size, images=image_rows, containers=container_rows, volumes=[], build_cache=[])
        return call.answer(usage)
    running = [value for value in containers if value.state.running]
    verbose = call.query.boolean("verbose")
    unused = sum(value.size for value in images if value.id not in using and not value.builtin)
    active = sum(1 for value in images if value.id in using)
    size = sum(value.size_rw or 0 for value in containers)
    held = sum(value.size_rw or 0 for value in running)
    nothing = _usage(0, [], 0, 0, verbose)
    return call.answer(
        DiskUsage(
            image_usage=_usage(active, image_rows, image_size, unused, verbose) if "image" in asked else UNSET,
            container_usage=_usage(len(running), container_rows, size, size - held, verbose) if "container" in asked else UNSET,
            volume_usage=nothing if "volume" in asked else UNSET,
            build_cache_usage=nothing if "build-cache" in asked else UNSET,
        )
    )


def _usage(active: int, rows: Sequence[object], size: int, reclaimable: int, verbose: bool) -> Usage:
    return Usage(
        active_count=active,
        total_count=len(rows),
        total_size=size,
        reclaimable=reclaimable,
        items=list(rows) if verbose else UNSET,
    )


async def prune_build_cache(call: Call) -> StreamResponse:
    """Nothing is built yet, so nothing is kept; `docker system prune` asks."""
    return call.answer({"CachesDeleted": None, "SpaceReclaimed": 0})


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events),
    Route("GET", "/system/df", disk_usage),
    Route("POST", "/build/prune", prune_build_cache),
)
