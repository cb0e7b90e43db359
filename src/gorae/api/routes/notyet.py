"""What Docker's API has and this version of gorae does not: 501 and a message that says so, where 404 looks like a mistake."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.api.call import Call
from gorae.api.router import Route
from gorae.errors import Unsupported

ENDPOINTS: dict[str, tuple[tuple[str, str], ...]] = {
    "build": (("POST", "/build"), ("POST", "/build/cancel"), ("POST", "/session"), ("POST", "/grpc")),
    "reading attestations": (("GET", "/images/{name…}/attestations"),),
    "making volumes": (("POST", "/volumes/create"), ("PUT", "/volumes/{name}")),
    "plugin management": tuple(
        (method, f"/plugins{path}")
        for method, path in (
            ("GET", ""), ("GET", "/privileges"), ("POST", "/pull"), ("GET", "/{name…}/json"), ("DELETE", "/{name…}"),
            ("POST", "/{name…}/enable"), ("POST", "/{name…}/disable"), ("POST", "/{name…}/upgrade"), ("POST", "/create"),
            ("POST", "/{name…}/push"), ("POST", "/{name…}/set"),
        )
    ),
    "swarm mode": (
        ("GET", "/swarm"), ("POST", "/swarm/init"), ("POST", "/swarm/join"), ("POST", "/swarm/leave"), ("POST", "/swarm/update"),
        ("GET", "/swarm/unlockkey"), ("POST", "/swarm/unlock"),
        *(
            (method, f"/{kind}{path}")
            for kind in ("nodes", "services", "tasks", "secrets", "configs")
            for method, path in (
                ("GET", ""), ("POST", "/create"), ("GET", "/{id}"), ("DELETE", "/{id}"), ("POST", "/{id}/update"),
                ("GET", "/{id}/logs"),
            )
        ),
    ),
}  # fmt: skip


def _refusal(what: str, method: str, path: str) -> Route:
    async def refuse(call: Call) -> StreamResponse:
        raise Unsupported(f"{what} is not implemented in this version of gorae")

    return Route(method, path, refuse, upload=True)  # whatever the body is, nobody reads it


ROUTES = tuple(_refusal(what, method, path) for what, endpoints in ENDPOINTS.items() for method, path in endpoints)
