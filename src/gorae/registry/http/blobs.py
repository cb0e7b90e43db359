"""Blobs: pull, look, delete (spec.md, Pulling Blobs, Checking if content exists, Deleting Blobs)."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from gorae.registry.auth.access import WRITE
from gorae.registry.http import sending
from gorae.registry.http.call import Call, empty
from gorae.registry.names import check_digest
from gorae.registry.repository import unknown_blob

OCTETS = "application/octet-stream"


async def get(call: Call) -> StreamResponse:
    digest = check_digest(call.word)
    upstream = call.registry.upstreams.of(call.name)
    if upstream is not None and await call.repository.blob_size(digest) is None:
        content = await upstream.blob(call.repository, digest)
    else:
        content = await call.repository.open_blob(digest)
    headers = call.registry.common.copy()
    headers.update({"Docker-Content-Digest": digest, "Content-Type": OCTETS, "Cache-Control": "max-age=31536000"})
    return await sending.send(call.request, content, headers, digest)


async def head(call: Call) -> StreamResponse:
    """A pusher asks whether it must send the blob, and relies on the answer: so its time is renewed."""
    digest = check_digest(call.word)
    if call.registry.settings.read_only or not call.access.may(WRITE, call.name):
        size = await call.repository.blob_size(digest)
    else:
        size = await call.repository.renew(digest)
    if size is None:
        upstream = call.registry.upstreams.of(call.name)
        size = None if upstream is None else await upstream.blob_size(call.name, digest)
    if size is None:
        raise unknown_blob(digest)
    headers = {"Docker-Content-Digest": digest, "Content-Type": OCTETS, "Content-Length": str(size), "Accept-Ranges": "bytes"}
    return empty(200, {**headers, "ETag": f'"{digest}"'})


async def delete(call: Call) -> StreamResponse:
    await call.repository.delete_blob(check_digest(call.word))
    return empty(202, {})
