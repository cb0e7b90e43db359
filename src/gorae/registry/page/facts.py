"""What the page tells about images. A broken or strange manifest is shown as such; it never breaks the page."""

from __future__ import annotations

from dataclasses import dataclass

from gorae.errors import GoraeError
from gorae.oci import media_type
from gorae.oci.digest import Digest
from gorae.oci.imageconfig import ImageConfig
from gorae.oci.imageconfig import decode as decode_config
from gorae.oci.manifest import CONFIG_LIMIT, Index, Manifest, decode
from gorae.registry import layout
from gorae.registry.repository import Repository, Stored

MOST_CHILDREN = 32


@dataclass(frozen=True)
class Image:
    stored: Stored
    document: Manifest | Index | None
    """None when it cannot be read."""
    config: ImageConfig | None

    @property
    def parts(self) -> dict[Digest, int]:
        """The blobs of a manifest and their sizes; an index has none of its own."""
        if not isinstance(self.document, Manifest):
            return {}
        return {each.digest: each.size for each in (self.document.config, *self.document.layers)}


async def image(repository: Repository, stored: Stored) -> Image:
    try:
        document = decode(stored.data, stored.media_type)
    except GoraeError:
        return Image(stored, None, None)
    config = None
    if (
        isinstance(document, Manifest)
        and document.config.mediaType in media_type.CONFIGS
        and (await repository.blob_size(document.config.digest) or CONFIG_LIMIT) < CONFIG_LIMIT
    ):
        data = await repository.store.read(layout.blob(document.config.digest))
        try:
            config = None if data is None else decode_config(data)
        except GoraeError:
            config = None
    return Image(stored, document, config)


async def children(repository: Repository, document: Index) -> list[tuple[str, Digest, Image | None]]:
    """Platform, digest and image of what an index names."""
    found = []
    for each in document.manifests[:MOST_CHILDREN]:
        stored = await repository.manifest(each.digest)
        platform = each.platform
        words = "" if platform is None else "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))
        found.append((words, each.digest, None if stored is None else await image(repository, stored)))
    return found


async def weight(repository: Repository, stored: Stored) -> dict[Digest, int]:
    """Every blob behind a manifest or index, once."""
    found = await image(repository, stored)
    parts = dict(found.parts)
    if isinstance(found.document, Index):
        for _, _, child in await children(repository, found.document):
            if child is not None:
                parts |= child.parts
    return parts


def platforms(found: Image, below: list[tuple[str, Digest, Image | None]]) -> str:
    if found.config is not None:
        return f"{found.config.os}/{found.config.architecture}"
    return ", ".join(words for words, _, _ in below if words and not words.startswith("unknown"))
