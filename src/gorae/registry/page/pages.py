"""The pages: which one, and for whom.

    /                                       repositories, MANY a page
    /repository/<name>                      its tags
    /repository/<name>?reference=<tag>      an image: layers, how each came about, platforms, who refers to it

What somebody may not read looks like what is not there; who has not logged in is asked to.
"""

from __future__ import annotations

import json

from aiohttp.web_response import Response, StreamResponse

from gorae.oci.digest import Digest
from gorae.oci.imageconfig import ImageConfig
from gorae.oci.manifest import Index, Manifest
from gorae.registry.auth.access import READ
from gorae.registry.errors import Refusal
from gorae.registry.http.call import Call
from gorae.registry.http.paging import page
from gorae.registry.names import check_name, check_reference, tag_order
from gorae.registry.page import facts
from gorae.registry.page.html import HEADERS, Markup, anchor, document, joined, size, table, tag
from gorae.registry.repository import Repository, names

MANY = 50
MOST_WEIGHED = 20
"""Tags of a repository whose sizes are added up on the first page."""


async def show(call: Call) -> StreamResponse:
    try:
        if call.word == "/":
            title, body = "registry", await _front(call)
        else:
            name = check_name(call.word.removeprefix("/repository/"))
            if not call.access.may(READ, name):
                if not call.access.user:
                    raise call.registry.guard.login()
                raise Refusal("NAME_UNKNOWN", "no such repository")
            repository = Repository(call.registry.store, name)
            if not await repository.exists():
                raise Refusal("NAME_UNKNOWN", "no such repository")
            reference = call.query("reference")
            title = name if reference is None else f"{name} {reference}"
            body = await (_tags(call, repository) if reference is None else _image(call, repository, check_reference(reference)))
    except Refusal as refusal:
        if refusal.status == 401:
            raise
        text = document("not there", tag("h1", "Not there"), tag("p", str(refusal)))
        return Response(text=text, status=refusal.status, headers=HEADERS)
    return Response(text=document(title, body), headers=HEADERS)


async def _front(call: Call) -> Markup:
    readable = [name for name in await names(call.registry.store) if call.access.may(READ, name)]
    if not readable and not call.access.user and not call.access.may(READ, "anonymous"):
        raise call.registry.guard.login()
    shown, last = page(readable, MANY, call.query("last"))
    rows = []
    for name in shown:
        repository = Repository(call.registry.store, name)
        tagged = await repository.tagged()
        parts: dict[Digest, int] = {}
        for _, digest in tagged[:MOST_WEIGHED]:
            stored = await repository.manifest(digest)
            parts |= {} if stored is None else await facts.weight(repository, stored)
        more = "" if len(tagged) <= MOST_WEIGHED else "≥ "
        rows.append((anchor(name, f"/repository/{name}"), len(tagged), more + size(sum(parts.values()))))
    pieces: list[object] = [tag("h1", f"{len(readable)} repositories" if len(readable) != 1 else "1 repository")]
    pieces.append(
        table(("repository", "tags", "size"), rows, frozenset({1, 2})) if rows else tag("p", "Nothing has been pushed yet.")
    )
    if last is not None:
        pieces.append(tag("p", anchor("next page", "/", last=last)))
    return joined(pieces)


async def _tags(call: Call, repository: Repository) -> Markup:
    shown, last = page(await repository.tags(), MANY, call.query("last"), tag_order)
    rows = []
    for word in shown:
        stored = await repository.manifest(word)
        if stored is None:
            continue
        found = await facts.image(repository, stored)
        below = await facts.children(repository, found.document) if isinstance(found.document, Index) else []
        parts = dict(found.parts)
        for _, _, child in below:
            parts |= {} if child is None else child.parts
        created = found.config.created if found.config is not None else None
        rows.append(
            (
                anchor(word, f"/repository/{repository.name}", reference=word),
                facts.platforms(found, below) or "—",
                (created or "")[:10] or "—",
                tag("code", stored.digest.short),
                size(sum(parts.values())),
            )
        )
    pieces: list[object] = [tag("h1", repository.name)]
    pieces.append(table(("tag", "platform", "created", "digest", "size"), rows, frozenset({4})) if rows else tag("p", "No tags."))
    if last is not None:
        pieces.append(tag("p", anchor("next page", f"/repository/{repository.name}", last=last)))
    return joined(pieces)


async def _image(call: Call, repository: Repository, reference: Digest | str) -> Markup:
    stored = await repository.manifest(reference)
    if stored is None:
        raise Refusal("MANIFEST_UNKNOWN", f"{repository.name} has no {reference}")
    found = await facts.image(repository, stored)
    mark = "@" if isinstance(reference, Digest) else ":"
    place = f"{call.request.host}/{repository.name}{mark}{reference}"
    rows: list[tuple[object, object]] = [("digest", tag("code", stored.digest)), ("type", tag("code", stored.media_type))]
    if found.config is not None:
        rows += _told(found.config)
    if found.document is not None:
        rows += [(key, value) for key, value in sorted(found.document.annotations.items())]
    pieces: list[object] = [
        tag("h1", f"{repository.name}{mark}{reference}"),
        tag("pre", f"gorae pull {place}"),
        table(("", ""), rows),
    ]
    if isinstance(found.document, Manifest):
        pieces += [
            tag("h2", f"Layers, {size(sum(each.size for each in found.document.layers))}"),
            _layers(found.document, found.config),
        ]
    elif isinstance(found.document, Index):
        pieces += [tag("h2", "Platforms"), await _platforms(repository, found.document)]
    else:
        pieces.append(tag("p", "This manifest cannot be read."))
    referrers = [json.loads(each) for each in await repository.referrers(stored.digest)]
    if referrers:
        cells = [
            (
                anchor(tag("code", Digest(each["digest"]).short), f"/repository/{repository.name}", reference=each["digest"]),
                each.get("artifactType", each["mediaType"]),
            )
            for each in referrers[:MANY]
        ]
        pieces += [tag("h2", "Refers to it"), table(("digest", "artifact"), cells)]
    return joined(pieces)


def _told(config: ImageConfig) -> list[tuple[object, object]]:
    run = config.config
    rows: list[tuple[object, object]] = [("platform", f"{config.os}/{config.architecture}"), ("created", config.created or "—")]
    for label, words in (("entrypoint", run.Entrypoint), ("command", run.Cmd)):
        if words:
            rows.append((label, tag("code", " ".join(words))))
    if run.User:
        rows.append(("user", run.User))
    if run.WorkingDir:
        rows.append(("directory", tag("code", run.WorkingDir)))
    if run.ExposedPorts:
        rows.append(("ports", ", ".join(sorted(run.ExposedPorts))))
    return rows


def _layers(manifest: Manifest, config: ImageConfig | None) -> Markup:
    """Each layer beside the step that made it; steps without a layer in between."""
    steps = list(config.history) if config is not None else []
    layers = iter(manifest.layers)
    rows: list[tuple[object, object, object]] = []
    for step in steps:
        layer = None if step.empty_layer else next(layers, None)
        made = tag("code", step.created_by or step.comment or "—")
        rows.append((made, "" if layer is None else tag("code", layer.digest.short), "" if layer is None else size(layer.size)))
    rows += [(tag("span", "—", kind="dim"), tag("code", each.digest.short), size(each.size)) for each in layers]
    return table(("step", "layer", "size"), rows, frozenset({2}))


async def _platforms(repository: Repository, index: Index) -> Markup:
    rows = []
    for words, digest, child in await facts.children(repository, index):
        label = anchor(words or digest.short, f"/repository/{repository.name}", reference=digest)
        weight = "elsewhere" if child is None else size(sum(child.parts.values()))
        rows.append((label if child is not None else words or digest.short, tag("code", digest.short), weight))
    return table(("platform", "digest", "size"), rows, frozenset({2}))
