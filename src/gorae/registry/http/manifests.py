"""Manifests: pull, look, push, delete, and who refers to one (spec.md, Pulling Manifests, Pushing Manifests, Deleting, Listing
Referrers)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiohttp.web_response import Response, StreamResponse

from gorae.oci import media_type
from gorae.oci.digest import Digest
from gorae.oci.manifest import LIMIT, Index
from gorae.registry import push
from gorae.registry.errors import Refusal
from gorae.registry.http import body
from gorae.registry.http.call import Call, empty, json_answer
from gorae.registry.http.paging import link, page, parse_count
from gorae.registry.names import check_digest, check_reference
from gorae.registry.repository import Stored

MOST_TAGS = 32
"""That one push by digest may set with ?tag=."""


async def get(call: Call) -> StreamResponse:
    """Also for HEAD: then aiohttp leaves the body out, and says its length."""
    reference = check_reference(call.word)
    upstream = call.registry.upstreams.of(call.name)
    stored = await (call.repository.manifest(reference) if upstream is None else upstream.manifest(call.repository, reference))
    if stored is None:
        raise push.unknown_manifest(reference)
    if not isinstance(reference, Digest):
        stored = await _fitting(call, stored)
    headers = {"Content-Type": stored.media_type, "Docker-Content-Digest": stored.digest, "ETag": f'"{stored.digest}"'}
    if headers["ETag"] in [each.strip().removeprefix("W/") for each in (call.header("If-None-Match") or "").split(",")]:
        return empty(304, {"ETag": headers["ETag"], "Docker-Content-Digest": stored.digest})
    return Response(body=stored.data, headers=headers)


async def put(call: Call) -> StreamResponse:
    reference = check_reference(call.word)
    data = await body.read(call.request, call.registry.settings.patience, LIMIT)
    if data is None:
        raise push.too_large()
    tags: list[str] = call.request.query.getall("tag", [])
    if tags and (not isinstance(reference, Digest) or len(tags) > MOST_TAGS):
        raise Refusal("TAG_INVALID", f"?tag= goes with a push by digest, at most {MOST_TAGS} times")
    for tag in tags:
        if isinstance(check_reference(tag), Digest):
            raise Refusal("TAG_INVALID", f"{tag[:80]!a} is no tag")
    receipt = await push.receive(call.repository, reference, data, _sent_as(call), tuple(tags))
    response = empty(201, {"Location": f"/v2/{call.name}/manifests/{call.word}", "Docker-Content-Digest": receipt.digest})
    if receipt.subject is not None:
        response.headers["OCI-Subject"] = receipt.subject
    for tag in tags:
        response.headers.add("OCI-Tag", tag)
    for words in receipt.warnings:
        response.headers.add("Warning", f'299 - "{words}"')
    return response


async def delete(call: Call) -> StreamResponse:
    reference = check_reference(call.word)
    if isinstance(reference, Digest):
        await push.remove(call.repository, reference)
    elif not await call.repository.untag(reference):
        raise push.unknown_manifest(reference)
    return empty(202, {})


async def referrers(call: Call) -> StreamResponse:
    subject = check_digest(call.word)
    upstream = call.registry.upstreams.of(call.name)
    found = None if upstream is None else await upstream.referrers(call.name, subject)
    if found is None:
        found = [json.loads(each) for each in await call.repository.referrers(subject)]
    wanted = call.query("artifactType")
    headers: dict[str, str] = {}
    if wanted is not None:
        found = [each for each in found if each.get("artifactType") == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
    by_digest = {each["digest"]: each for each in found}
    shown, last = page(sorted(by_digest), parse_count(call.query("n")), call.query("last"))
    shown, last = _bounded(shown, last, by_digest)
    if last is not None:
        filters = {} if wanted is None else {"artifactType": wanted}
        headers |= link(f"/v2/{call.name}/referrers/{subject}", max(len(shown), 1), last, **filters)
    document = {"schemaVersion": 2, "mediaType": media_type.OCI_INDEX, "manifests": [by_digest[each] for each in shown]}
    return json_answer(document, 200, headers, media_type.OCI_INDEX)


def _bounded(shown: Sequence[str], last: str | None, by_digest: dict[str, object]) -> tuple[Sequence[str], str | None]:
    """A page that is no larger than a manifest may be: clients would not read more."""
    size = 128
    for position, each in enumerate(shown):
        size += len(json.dumps(by_digest[each], ensure_ascii=False).encode()) + 1
        if size > LIMIT and position:
            return shown[:position], shown[position - 1]
    return shown, last


async def _fitting(call: Call, stored: Stored) -> Stored:
    """For a tag of an index, and a client that understands single manifests alone: the one for linux/amd64, as Docker's."""
    if stored.media_type not in media_type.INDEXES:
        return stored
    accepted = {word.partition(";")[0].strip() for line in call.request.headers.getall("Accept", []) for word in line.split(",")}
    if not accepted & media_type.MANIFESTS or accepted & (media_type.INDEXES | {"*/*", "application/*"}):
        return stored
    index = push.read(stored.data, stored.media_type)
    assert isinstance(index, Index)
    for each in index.manifests:
        if each.platform is not None and (each.platform.os, each.platform.architecture) == ("linux", "amd64"):
            return await call.repository.manifest(each.digest) or stored
    return stored


def _sent_as(call: Call) -> str | None:
    kind = (call.header("Content-Type") or "").partition(";")[0].strip()
    return kind if kind and kind != "application/octet-stream" else None
