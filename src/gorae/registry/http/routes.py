"""Which path and method is whose, and the rights it needs.

    /v2/                                     GET HEAD                       (known at all)
    /v2/_catalog                             GET                            catalog
    /v2/<name>/tags/list                     GET                            read
    /v2/<name>/manifests/<tag or digest>     GET HEAD · PUT · DELETE        read · write · delete
    /v2/<name>/blobs/<digest>                GET HEAD · DELETE              read · delete
    /v2/<name>/blobs/uploads/[<id>]          POST GET PATCH PUT DELETE      write
    /v2/<name>/referrers/<digest>            GET                            read
    /token                                   GET POST                       (asks itself)
    /metrics                                 GET                            (known at all)
    /   /repository/<name>[/<reference>]     GET HEAD                       read; a person
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp.web_response import StreamResponse

from gorae.registry.auth.access import CATALOG, DELETE, READ, WRITE
from gorae.registry.errors import Refusal
from gorae.registry.http import blobs, listing, manifests, system, uploads
from gorae.registry.http.call import Call
from gorae.registry.page import pages

Endpoint = Callable[[Call], Awaitable[StreamResponse]]

KNOWN = "known"
"""Needs no right, but not to be a stranger where the registry has users."""
NOTHING = ""

_REPOSITORY = re.compile(
    r"/v2/(?P<name>.+)/(?:(?P<uploads>blobs/uploads)/?(?P<upload>[^/]*)|blobs/(?P<blob>[^/]*)|manifests/(?P<manifest>[^/]*)"
    r"|referrers/(?P<referrers>[^/]*)|(?P<tags>tags/list))",
    re.DOTALL,
)


@dataclass(frozen=True)
class Action:
    endpoint: Endpoint
    need: str
    changes: bool = False


@dataclass(frozen=True)
class Route:
    family: str
    methods: dict[str, Action]


def _read(endpoint: Endpoint, need: str = READ, head: Endpoint | None = None) -> dict[str, Action]:
    return {"GET": Action(endpoint, need), "HEAD": Action(head or endpoint, need)}


VERSION = Route("version", _read(system.version, KNOWN))
CATALOG_ROUTE = Route("catalog", _read(listing.catalog, CATALOG))
METRICS = Route("metrics", _read(system.prometheus, KNOWN))
TOKEN = Route("token", {**_read(system.token, NOTHING), "POST": Action(system.token_by_form, NOTHING)})
PAGE = Route("page", _read(pages.show, NOTHING))
TAGS = Route("tags", _read(listing.tags))
MANIFEST = Route(
    "manifest",
    {**_read(manifests.get), "PUT": Action(manifests.put, WRITE, True), "DELETE": Action(manifests.delete, DELETE, True)},
)
BLOB = Route("blob", {**_read(blobs.get, READ, blobs.head), "DELETE": Action(blobs.delete, DELETE, True)})
UPLOADS = Route("uploads", {"POST": Action(uploads.begin, WRITE, True)})
UPLOAD = Route(
    "upload",
    {
        "GET": Action(uploads.status, WRITE),
        "PATCH": Action(uploads.append, WRITE, True),
        "PUT": Action(uploads.finish, WRITE, True),
        "DELETE": Action(uploads.cancel, WRITE, True),
    },
)
REFERRERS = Route("referrers", _read(manifests.referrers))
FIXED = {"/v2/": VERSION, "/v2": VERSION, "/v2/_catalog": CATALOG_ROUTE, "/metrics": METRICS, "/token": TOKEN}


def find(path: str) -> tuple[Route, str, str]:
    """The route, the repository's name and the last word, neither checked. `Refusal` for a path that is nobody's."""
    fixed = FIXED.get(path)
    if fixed is not None:
        return fixed, "", ""
    found = _REPOSITORY.fullmatch(path)
    if found is not None:
        name = found["name"]
        if found["uploads"] is not None:
            return (UPLOAD, name, found["upload"]) if found["upload"] else (UPLOADS, name, "")
        if found["tags"] is not None:
            return TAGS, name, ""
        for family, route in (("blob", BLOB), ("manifest", MANIFEST), ("referrers", REFERRERS)):
            if found[family] is not None:
                return route, name, found[family]
    if path == "/" or path.startswith("/repository/"):
        return PAGE, "", path
    raise Refusal("UNSUPPORTED", "no such page", status=404)
