"""Images: list, inspect, history, import, load, save, tag, remove, prune."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from aiohttp.web_response import Response, StreamResponse

from gorae.api.adapt import image as shape
from gorae.api.adapt.imagefilter import kept, select
from gorae.api.call import JSON, Call
from gorae.api.errors import explain
from gorae.api.router import Route
from gorae.api.routes.registry import pull
from gorae.errors import CorruptData, InvalidArgument, Unsupported
from gorae.wire import filters, progress
from gorae.wire.image import ImagesPruneResponse

TAR = "application/x-tar"
LIST_FILTERS = ("before", "dangling", "label", "reference", "since", "until")
PRUNE_FILTERS = ("dangling", "label", "label!", "until")


async def list_(call: Call) -> StreamResponse:
    wanted = filters.check(dict(call.query.filters()), LIST_FILTERS)
    images = call.engine.images
    selected = select(images.list(all=call.query.boolean("all")), wanted, lambda name: images.get(name).created or 0)
    return call.answer([shape.summary(image, call.version) for image in selected])


async def inspect(call: Call) -> StreamResponse:
    return call.answer(shape.inspect(call.engine.images.get(call.names["name"]), call.version))


async def history(call: Call) -> StreamResponse:
    return call.answer(shape.history(call.engine.images.history(call.names["name"])))


async def create(call: Call) -> StreamResponse:
    """Import a root file system from the body, or pull an image."""
    source, name = call.query.text("fromSrc"), call.query.text("fromImage")
    if source == "-":
        return await _import(call)
    if source:
        raise Unsupported("importing from a URL is not implemented in this version of gorae: send the archive with fromSrc=-")
    if not name:
        raise InvalidArgument("one of fromImage and fromSrc is needed")
    return await pull(call, name, call.query.text("tag"))


def bare(name: str) -> str:
    """The stock client completes a bare name with a registry and `library/` before it tags or pulls."""
    return re.sub(r"^[^/]+/library/", "", name)


async def _import(call: Call) -> StreamResponse:
    """One line at the end, so that a failure still has a status of its own."""
    query = call.query
    changes = [line for text in query.list("changes") for line in text.splitlines() if line.strip()]
    with call.connection.cancelling():
        try:
            image = await call.engine.images.import_(
                call.upload(),
                repository=query.text("repo"),
                tag=query.text("tag"),
                message=query.text("message"),
                changes=changes,
                platform=query.text("platform"),
            )
        except CorruptData as error:
            raise InvalidArgument(str(error)) from error
    return Response(body=progress.line(progress.Line(status=image.id)), headers=call.headers, content_type=JSON)


async def load(call: Call) -> StreamResponse:
    """The status is sent after the first step, so that what is no archive at all gets its own. Later failures are a line."""
    quiet = call.query.boolean("quiet")
    if call.query.list("platform"):
        raise Unsupported("choosing a platform in load is not implemented in this version of gorae")
    steps = call.engine.images.load(call.upload())
    try:
        with call.connection.cancelling():
            first = await anext(steps, None)
        async with call.stream(JSON) as response:
            try:
                if first is not None:
                    await response.write(shape.progress_line(first, quiet=quiet))
                async for step in steps:
                    await response.write(shape.progress_line(step, quiet=quiet))
            except ConnectionError:
                raise
            except Exception as error:
                await response.write(progress.failure(explain(error)[1]))
    except CorruptData as error:
        raise InvalidArgument(str(error)) from error
    finally:
        await _close(steps)
    return response


async def save_one(call: Call) -> StreamResponse:
    return await _save(call, [call.names["name"]])


async def save(call: Call) -> StreamResponse:
    names = [name for text in call.query.list("names") for name in text.split(",") if name]
    if not names:
        raise InvalidArgument("names is needed: which images shall be saved?")
    return await _save(call, names)


async def _save(call: Call, names: Sequence[str]) -> StreamResponse:
    for name in names:
        call.engine.images.get(name)  # so that an unknown one is a 404 and not half an archive
    stream = call.engine.images.save(names)
    try:
        async with call.stream(TAR) as response:
            async for part in stream:
                await response.write(part)
    finally:
        await _close(stream)
    return response


async def _close(stream: AsyncIterator[object]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


async def tag(call: Call) -> StreamResponse:
    repository = call.query.text("repo")
    if not repository:
        raise InvalidArgument("repo is needed: which name shall the image get?")
    await call.engine.images.tag(call.names["name"], bare(repository), call.query.text("tag"))
    return call.nothing(201)


async def remove(call: Call) -> StreamResponse:
    query = call.query
    done = await call.engine.images.remove(call.names["name"], force=query.boolean("force"), prune=not query.boolean("noprune"))
    return call.answer(shape.deletions(done))


async def prune(call: Call) -> StreamResponse:
    wanted = filters.check(dict(call.query.filters()), PRUNE_FILTERS)
    pruned = await call.engine.images.prune(dangling=filters.boolean(wanted, "dangling", True), keep=kept(wanted))
    return call.answer(
        ImagesPruneResponse(images_deleted=shape.deletions(pruned.removed) or None, space_reclaimed=pruned.reclaimed)
    )


ROUTES = (
    Route("GET", "/images/json", list_),
    Route("POST", "/images/create", create, upload=True),
    Route("POST", "/images/load", load, upload=True),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/get", save),
    Route("GET", "/images/{name…}/get", save_one),
    Route("GET", "/images/{name…}/json", inspect),
    Route("GET", "/images/{name…}/history", history),
    Route("POST", "/images/{name…}/tag", tag),
    Route("DELETE", "/images/{name…}", remove),
)
