"""A manifest arrives, and goes again.

    receive   digest ─▶ decode ─▶ pending (a root for the collector) ─▶ its blobs are there and stay
              ─▶ bytes ─▶ manifest ─▶ referrer ─▶ tags
    remove    tags of it ─▶ referrer ─▶ manifest; bytes go with the next collection

Not asked for: layers that may not be distributed, the subject (spec.md, "MUST accept … a subject field that references a manifest
that does not exist"), and the manifests of an index that are elsewhere (a sparse index).
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from gorae.errors import InvalidArgument, Unsupported
from gorae.oci import media_type
from gorae.oci.digest import Digest
from gorae.oci.manifest import LIMIT, Index, Manifest, decode
from gorae.registry import condemned, layout
from gorae.registry.errors import Refusal
from gorae.registry.repository import Repository

SPARSE = "the index names manifests that this repository does not have"
FOREIGN = "layers that may not be distributed are deprecated: their blobs are not in this registry"


@dataclass(frozen=True)
class Receipt:
    digest: Digest
    subject: Digest | None
    warnings: tuple[str, ...]


async def receive(
    repository: Repository, reference: Digest | str, data: bytes, sent_as: str | None, tags: tuple[str, ...] = ()
) -> Receipt:
    """Stores a manifest under its digest and, when `reference` is one, a tag. `Refusal` with the specification's code."""
    if len(data) > LIMIT:
        raise too_large()
    digest = Digest.of(data, reference.algorithm if isinstance(reference, Digest) else "sha256")
    if isinstance(reference, Digest):
        if digest != reference:
            raise Refusal("DIGEST_INVALID", f"the manifest's digest is {digest}, not {reference}", detail={"digest": reference})
    else:
        tags = (reference, *tags)
    document = read(data, sent_as)
    pending = layout.pending(repository.name, digest, secrets.token_hex(8))
    await repository.store.write(pending, data, durable=False)
    try:
        warnings = await _check_parts(repository, document)
        await keep(repository, digest, document, data)
        for word in dict.fromkeys(tags):
            await repository.tag(word, digest)
    finally:
        await repository.store.delete(pending)
    return Receipt(digest, document.subject.digest if document.subject else None, warnings)


async def keep(repository: Repository, digest: Digest, document: Manifest | Index, data: bytes) -> None:
    """A manifest becomes visible under its digest."""
    await _store_bytes(repository, digest, data)
    await repository.announce()
    await repository.store.write(layout.manifest(repository.name, digest), document.mediaType.encode())
    if document.subject is not None:
        key = layout.referrer(repository.name, document.subject.digest, digest)
        await repository.store.write(key, describe(document, digest, len(data)))


async def remove(repository: Repository, digest: Digest) -> None:
    """The manifest, all its tags, and its place among the referrers of its subject. `Refusal` when it is not there."""
    stored = await repository.manifest(digest)
    if stored is None:
        raise unknown_manifest(digest)
    for word, tagged in await repository.tagged():
        if tagged == digest:
            await repository.untag(word)
    subject = read(stored.data, stored.media_type).subject
    if subject is not None:
        await repository.store.delete(layout.referrer(repository.name, subject.digest, digest))
    await repository.store.delete(layout.manifest(repository.name, digest))


def read(data: bytes, sent_as: str | None) -> Manifest | Index:
    try:
        return decode(data, sent_as or None)
    except (InvalidArgument, Unsupported) as error:
        raise Refusal("MANIFEST_INVALID", str(error)) from error


def describe(document: Manifest | Index, digest: Digest, size: int) -> bytes:
    """The descriptor in a referrers list (spec.md, Listing Referrers): the artifact's type and annotations are pulled up."""
    kind = document.artifactType or (document.config.mediaType if isinstance(document, Manifest) else None)
    fields: dict[str, object] = {"mediaType": document.mediaType, "digest": digest, "size": size}
    if kind:
        fields["artifactType"] = kind
    if document.annotations:
        fields["annotations"] = document.annotations
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def references(document: Manifest | Index) -> list[Digest]:
    """Every digest that a manifest keeps alive."""
    if isinstance(document, Index):
        return [each.digest for each in document.manifests]
    return [document.config.digest, *(each.digest for each in document.layers)]


def too_large() -> Refusal:
    return Refusal("MANIFEST_INVALID", f"a manifest has at most {LIMIT} bytes", status=413, detail={"limit": LIMIT})


def unknown_manifest(reference: str) -> Refusal:
    return Refusal("MANIFEST_UNKNOWN", "the repository has no such manifest", detail={"reference": str(reference)})


async def _check_parts(repository: Repository, document: Manifest | Index) -> tuple[str, ...]:
    """Warnings; `Refusal` naming what is missing."""
    if isinstance(document, Index):
        missing = [each for each in document.manifests if await repository.resolve(each.digest) is None]
        return (SPARSE,) if missing else ()
    needed = {document.config.digest: document.config.size}
    warnings: tuple[str, ...] = ()
    for layer in document.layers:
        if layer.mediaType in media_type.FOREIGN:
            warnings = (FOREIGN,)
        else:
            needed[layer.digest] = layer.size
    missing_blobs = []
    for digest, size in needed.items():
        rescued = await condemned.rescue(repository.store, digest)  # first this, see there
        found = await repository.blob_size(digest)
        if found is None or not rescued:
            missing_blobs.append(digest)
        elif found != size:
            raise Refusal("MANIFEST_INVALID", f"{digest} has {found} bytes, not {size}", detail={"digest": digest})
    if missing_blobs:
        raise Refusal(
            "MANIFEST_BLOB_UNKNOWN",
            f"push its blobs first: this repository lacks {', '.join(missing_blobs[:3])}{' …' if len(missing_blobs) > 3 else ''}",
            detail=[{"digest": each} for each in missing_blobs[:100]],
        )
    return warnings


async def _store_bytes(repository: Repository, digest: Digest, data: bytes) -> None:
    """Once the pending entry stands, the collector leaves them alone, unless it condemned them before."""
    key = layout.blob(digest)
    while True:
        if await repository.store.stat(key) is None:
            await repository.store.write(key, data)
        if await condemned.rescue(repository.store, digest) and await repository.store.stat(key) is not None:
            return
        await condemned.gone(repository.store, digest)
