"""Networks: list, inspect, create, connect, disconnect, remove, prune."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp.web_response import StreamResponse

from gorae.api.adapt import network as adapt
from gorae.api.call import Call
from gorae.api.router import Route
from gorae.errors import InvalidArgument, NotFound
from gorae.wire.network import ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest


async def list_(call: Call) -> StreamResponse:
    found = call.engine.networks.list(call.query.filters())
    return call.answer([adapt.network(each) for each in found])


async def inspect(call: Call) -> StreamResponse:
    scope = call.query.text("scope")
    network, members = call.engine.networks.inspect(call.names["id"])
    if scope not in ("", "local"):
        raise NotFound(f"network {call.names['id']} not found")
    return call.answer(adapt.network(network, members))


async def create(call: Call) -> StreamResponse:
    request = await call.body(CreateRequest)
    network, warnings = await call.engine.networks.create(adapt.wish(request))
    return call.answer(CreateResponse(id=network.id, warning="\n".join(warnings)), 201)


async def connect(call: Call) -> StreamResponse:
    request = await call.body(ConnectRequest)
    if not request.container:
        raise InvalidArgument("a container is needed to connect to a network")
    settings: dict[str, Any] = msgspec.to_builtins(request.endpoint_config) if request.endpoint_config else {}
    await call.engine.networks.connect(call.names["id"], request.container, settings)
    return call.nothing(200)


async def disconnect(call: Call) -> StreamResponse:
    request = await call.body(DisconnectRequest)
    await call.engine.networks.disconnect(call.names["id"], request.container, force=request.force)
    return call.nothing(200)


async def remove(call: Call) -> StreamResponse:
    await call.engine.networks.remove(call.names["id"])
    return call.nothing()


async def prune(call: Call) -> StreamResponse:
    removed = await call.engine.networks.prune(call.query.filters())
    return call.answer({"NetworksDeleted": list(removed) or None})


ROUTES = (
    Route("GET", "/networks", list_),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
)
