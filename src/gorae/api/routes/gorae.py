"""What goes beyond Docker's API, below /gorae/."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.api.adapt.birth import birth as birth_shape
from gorae.api.call import Call
from gorae.api.router import Route


async def birth(call: Call) -> StreamResponse:
    """The steps of a container's last birth; kept when `start` came with the header `X-Gorae-Explain: 1`."""
    return call.answer(birth_shape(call.engine.containers.birth(call.names["id"])))


ROUTES = (Route("GET", "/gorae/containers/{id}/birth", birth),)
