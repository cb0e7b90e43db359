"""Networks: the two that need no plumbing. Making and joining others comes with the network room of the engine."""

from __future__ import annotations

import re

from aiohttp.web_response import StreamResponse
from msgspec import UNSET

from gorae.api.adapt.inspect import NETWORK_IDS
from gorae.api.adapt.moment import ZERO
from gorae.api.call import Call
from gorae.api.router import Route
from gorae.errors import NotFound
from gorae.wire import filters
from gorae.wire.network import EndpointResource, Ipam, Network

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
DRIVERS = {"none": "null", "host": "host"}


async def list_(call: Call) -> StreamResponse:
    wanted = filters.check(dict(call.query.filters()), FILTERS)
    return call.answer([network(name) for name in DRIVERS if _fits(name, wanted)])


async def inspect(call: Call) -> StreamResponse:
    asked = call.names["id"]
    for name, identity in NETWORK_IDS.items():
        if asked == name or (len(asked) >= 4 and identity.startswith(asked)):
            running = await call.engine.containers.list(filters={"status": ("running", "paused")})
            joined = {one.id: EndpointResource(name=one.name) for one in running if one.config.network_mode == name}
            return call.answer(network(name, joined))
    raise NotFound(f"network {asked} not found")


def network(name: str, containers: dict[str, EndpointResource] | None = None) -> Network:
    shown = UNSET if containers is None else containers
    return Network(name=name, id=NETWORK_IDS[name], created=ZERO, driver=DRIVERS[name], ipam=Ipam(), containers=shown)


async def prune(call: Call) -> StreamResponse:
    """There is none that could be unused."""
    return call.answer({"NetworksDeleted": None})


def _fits(name: str, wanted: filters.Filters) -> bool:
    try:
        names = [re.compile(pattern) for pattern in wanted.get("name", ())]
    except re.error:
        names = []
    return (
        (not wanted.get("name") or any(pattern.search(name) for pattern in names) or name in wanted["name"])
        and (not wanted.get("id") or NETWORK_IDS[name].startswith(wanted["id"]))
        and (not wanted.get("driver") or DRIVERS[name] in wanted["driver"])
        and (not wanted.get("scope") or "local" in wanted["scope"])
        and (not wanted.get("type") or "builtin" in wanted["type"])
        and not wanted.get("label")
        and not filters.boolean(wanted, "dangling", False)
    )


ROUTES = (
    Route("GET", "/networks", list_),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
)
