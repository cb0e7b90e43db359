"""Lists: the tags of a repository, the repositories."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.registry.auth.access import READ
from gorae.registry.auth.guards import User
from gorae.registry.errors import Refusal
from gorae.registry.http.call import Call, json_answer
from gorae.registry.http.paging import link, page, parse_count
from gorae.registry.names import tag_order
from gorae.registry.repository import names


async def tags(call: Call) -> StreamResponse:
    count = parse_count(call.query("n"))
    upstream = call.registry.upstreams.of(call.name)
    found = None if upstream is None else await upstream.tags(call.name)
    if found is None:
        if not await call.repository.exists():
            raise Refusal("NAME_UNKNOWN", "no such repository", detail={"name": call.name})
        found = await call.repository.tags()
    shown, last = page(sorted(found, key=tag_order), count, call.query("last"), tag_order)
    headers = {} if last is None else link(f"/v2/{call.name}/tags/list", count, last)
    return json_answer({"name": call.name, "tags": shown}, 200, headers)


async def catalog(call: Call) -> StreamResponse:
    """What the client may read of it, when its rights are known by repository."""
    count = parse_count(call.query("n"))
    found = await names(call.registry.store)
    if isinstance(call.access, User):  # a token does not know the names it allows before they are asked for
        found = [each for each in found if call.access.may(READ, each)]
    shown, last = page(found, count, call.query("last"))
    headers = {} if last is None else link("/v2/_catalog", count, last)
    return json_answer({"repositories": shown}, 200, headers)
