"""Volumes: there are none yet, and clients that list or prune them are told so."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.api.call import Call
from gorae.api.router import Route
from gorae.errors import NotFound
from gorae.wire import filters
from gorae.wire.volume import VolumeListResponse

FILTERS = ("dangling", "driver", "label", "name")


async def list_(call: Call) -> StreamResponse:
    filters.check(dict(call.query.filters()), FILTERS)
    return call.answer(VolumeListResponse(volumes=[]))


async def inspect(call: Call) -> StreamResponse:
    raise NotFound(f"get {call.names['name']}: no such volume")


async def prune(call: Call) -> StreamResponse:
    return call.answer({"VolumesDeleted": None, "SpaceReclaimed": 0})


ROUTES = (
    Route("GET", "/volumes", list_),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("DELETE", "/volumes/{name}", inspect),
)
