"""Files of a container: archive (cp), export, changes (diff), commit."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from aiohttp.web_response import StreamResponse

from gorae.api.adapt import archive as shape
from gorae.api.call import Call
from gorae.api.router import Route
from gorae.api.routes.images import bare
from gorae.errors import CorruptData, InvalidArgument
from gorae.wire.archive import HEADER, CommitResponse
from gorae.wire.config import Config

TAR = "application/x-tar"


async def stat(call: Call) -> StreamResponse:
    found = await call.engine.containers.archives.stat(call.names["id"], _path(call))
    answer = call.nothing(200)
    answer.headers[HEADER] = shape.path_stat(found)
    return answer


async def get(call: Call) -> StreamResponse:
    async with call.engine.containers.archives.get(call.names["id"], _path(call)) as (found, portions):
        return await _send(call, portions, **{HEADER: shape.path_stat(found)})


async def put(call: Call) -> StreamResponse:
    query = call.query
    with call.connection.cancelling():
        try:
            await call.engine.containers.archives.put(
                call.names["id"],
                _path(call),
                call.upload(),
                keeps_kinds=query.boolean("noOverwriteDirNonDir"),
                owned=query.boolean("copyUIDGID"),
            )
        except CorruptData as error:
            raise InvalidArgument(str(error)) from error
    return call.nothing(200)


async def export(call: Call) -> StreamResponse:
    async with call.engine.containers.archives.export(call.names["id"]) as portions:
        return await _send(call, portions)


async def changes(call: Call) -> StreamResponse:
    return call.answer(shape.changes(await call.engine.containers.archives.changes(call.names["id"])))


async def commit(call: Call) -> StreamResponse:
    query = call.query
    container = query.text("container")
    if not container:
        raise InvalidArgument("bad parameter: a container is needed")
    given = await call.optional_body(Config)
    image = await call.engine.containers.commits.run(
        container,
        repository=bare(query.text("repo")),
        tag=query.text("tag"),
        comment=query.text("comment"),
        author=query.text("author"),
        changes=[line for text in query.list("changes") for line in re.split(r"\r?\n", text) if line.strip()],
        pause=query.boolean("pause", True),
        overrides=shape.image_config(given),
    )
    return call.answer(CommitResponse(id=image.id), 201)


async def _send(call: Call, portions: AsyncIterator[bytes], **headers: str) -> StreamResponse:
    async with call.stream(TAR, **headers) as response:
        async for portion in portions:
            await response.write(portion)
    return response


def _path(call: Call) -> str:
    path = call.query.text("path")
    if not path:
        raise InvalidArgument("bad parameter: path cannot be empty")
    return path


ROUTES = (
    Route("HEAD", "/containers/{id}/archive", stat),
    Route("GET", "/containers/{id}/archive", get),
    Route("PUT", "/containers/{id}/archive", put, upload=True),
    Route("GET", "/containers/{id}/export", export),
    Route("GET", "/containers/{id}/changes", changes),
    Route("POST", "/commit", commit),
)
