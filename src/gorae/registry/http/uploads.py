"""Uploads: begun, mounted, in chunks or at once, resumed, ended (spec.md, Pushing Blobs).

    POST    /blobs/uploads/                      202, or with ?digest= and the whole blob 201
    POST    /blobs/uploads/?mount=D[&from=R]     201, or 202 when it cannot be mounted
    PATCH   /blobs/uploads/<id>                  202 and Range; 416 out of order
    GET     /blobs/uploads/<id>                  204 and Range
    PUT     /blobs/uploads/<id>?digest=D         201, with or without the last chunk
    DELETE  /blobs/uploads/<id>                  204
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp.web_response import StreamResponse

from gorae.oci.digest import Digest
from gorae.registry import layout
from gorae.registry.auth.access import READ
from gorae.registry.errors import Refusal
from gorae.registry.http import body
from gorae.registry.http.call import Call, empty
from gorae.registry.http.ranges import parse_chunk
from gorae.registry.names import check_digest, check_identifier, check_name
from gorae.registry.repository import Repository, names, upload_refusal
from gorae.registry.store.seam import OutOfOrder, UnknownUpload

MOST_SOURCES = 200
"""Repositories that are looked at for a mount that names none."""


async def begin(call: Call) -> StreamResponse:
    mount, whole = call.query("mount"), call.query("digest")
    if mount is not None and await _mount(call, check_digest(mount)):
        return _created(call, check_digest(mount))
    digest = None if whole is None or mount is not None else check_digest(whole)
    identifier = await call.repository.begin_upload()
    if digest is None:
        minimum = call.registry.settings.chunk_minimum
        return _accepted(call, identifier, 0, {"OCI-Chunk-Min-Length": str(minimum)} if minimum else {})
    try:
        await call.repository.append(identifier, 0, _chunks(call))
        await call.repository.commit(identifier, digest)
    except BaseException:
        # Nobody knows its identifier, so nobody can go on with it.
        await call.registry.store.cancel(layout.upload(call.name, identifier))
        raise
    return _created(call, digest)


async def append(call: Call) -> StreamResponse:
    identifier = check_identifier(call.word)
    try:
        size = await _take(call, identifier)
    except (OutOfOrder, UnknownUpload) as error:
        raise _explained(call, identifier, error) from error
    return _accepted(call, identifier, size)


async def status(call: Call) -> StreamResponse:
    identifier = check_identifier(call.word)
    try:
        size = await call.repository.upload_offset(identifier)
    except UnknownUpload as error:
        raise _explained(call, identifier, error) from error
    return empty(204, _where(call, identifier, size))


async def finish(call: Call) -> StreamResponse:
    identifier = check_identifier(call.word)
    given = call.query("digest")
    if given is None:
        raise Refusal("DIGEST_INVALID", "the closing request says the digest of the whole blob: ?digest=")
    digest = check_digest(given)
    try:
        if call.request.body_exists and call.request.content_length != 0:
            await _take(call, identifier)
        await call.repository.commit(identifier, digest)
    except (OutOfOrder, UnknownUpload) as error:
        raise _explained(call, identifier, error) from error
    return _created(call, digest)


async def cancel(call: Call) -> StreamResponse:
    try:
        await call.repository.cancel_upload(check_identifier(call.word))
    except UnknownUpload as error:
        raise upload_refusal(error) from error
    return empty(204, {})


async def _take(call: Call, identifier: str) -> int:
    """Appends the request's body; answers the upload's new size."""
    header = call.header("Content-Range")
    if header is None:
        return await call.repository.append(identifier, None, _chunks(call))
    start, length = parse_chunk(header)
    announced = call.request.content_length
    if announced is not None and announced != length:
        raise Refusal("SIZE_INVALID", f"Content-Length is {announced}, but Content-Range is of {length} bytes")
    return await call.repository.append(identifier, start, body.exactly(length, _chunks(call)))


def _chunks(call: Call) -> AsyncIterator[bytes]:
    return call.registry.metrics.received(
        body.chunks(call.request, call.registry.settings.patience, call.registry.settings.blob_limit)
    )


async def _mount(call: Call, digest: Digest) -> bool:
    """Whether the blob is now the repository's: from where it is said, or from anywhere that the client may read."""
    source = call.query("from")
    if source is not None:
        source = check_name(source)
        if not call.access.may(READ, source):
            return False
        return await Repository(call.registry.store, source).blob_size(digest) is not None and await call.repository.adopt(digest)
    if await call.repository.renew(digest) is not None:
        return True
    for name in [each for each in await names(call.registry.store) if call.access.may(READ, each)][:MOST_SOURCES]:
        if await Repository(call.registry.store, name).blob_size(digest) is not None:
            return await call.repository.adopt(digest)
    return False


def _explained(call: Call, identifier: str, error: OutOfOrder | UnknownUpload) -> Refusal:
    refusal = upload_refusal(error)
    if isinstance(error, OutOfOrder):
        refusal.headers.update(_where(call, identifier, error.offset))
    return refusal


def _where(call: Call, identifier: str, size: int) -> dict[str, str]:
    return {
        "Location": f"/v2/{call.name}/blobs/uploads/{identifier}",
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": identifier,
    }


def _accepted(call: Call, identifier: str, size: int, more: dict[str, str] | None = None) -> StreamResponse:
    return empty(202, {**_where(call, identifier, size), **(more or {})})


def _created(call: Call, digest: Digest) -> StreamResponse:
    return empty(201, {"Location": f"/v2/{call.name}/blobs/{digest}", "Docker-Content-Digest": digest})
