"""What the store keeps of an image that a registry can be given: its manifests, its layers as they travel, where else they lie.

    configuration ──content_children──▶ layer blobs, manifests by which it came or went

A layer that is kept plain (an import, a commit) is packed once, with gzip, and what came out stays with the image: the next push
has the same digests and nothing to pack.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterable

from isal import isal_zlib

from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.model import Image
from gorae.errors import GoraeError, NotFound, Unsupported
from gorae.oci import manifest as manifests
from gorae.oci import media_type
from gorae.oci import reference as references
from gorae.oci.descriptor import Descriptor
from gorae.oci.digest import Digest
from gorae.oci.manifest import Manifest
from gorae.oci.reference import Reference
from gorae.storage.content.ingest import PORTION
from gorae.storage.content.lease import Lease
from gorae.storage.content.store import BlobInfo
from gorae.storage.root import DataRoot

TRAVELLING = (media_type.OCI_LAYER_GZIP, media_type.OCI_LAYER_ZSTD)
LEVEL = 1  # isal's 0–3; a third of the plain size in a quarter of a second a 100 MB


async def manifest_of(root: DataRoot, lease: Lease, image: Image) -> tuple[bytes, Manifest]:
    """The one by which the image came, unchanged, if all that it names is still here; otherwise a new one."""
    for digest in _manifests(root, image.id):
        try:
            data = root.content.read(digest, manifests.LIMIT)
            found = manifests.decode(data)
        except GoraeError:
            continue
        if isinstance(found, Manifest) and str(found.config.digest) == image.id:
            needed = {digest, image.id, *(str(layer.digest) for layer in found.layers)}
            if await lease.hold("content", needed) == needed:
                return data, found
    layers = tuple([await _layer(root, lease, image, diff_id) for diff_id in image.layers])
    config = root.content.info(image.id)
    made = Manifest(media_type.OCI_MANIFEST, Descriptor(media_type.OCI_CONFIG, Digest(image.id), config.size), layers)
    data = manifests.encode(made)
    kept = await root.content.add(data, lease=lease.id, media_type=made.mediaType)
    await root.content.depend(image.id, [kept.digest, *(str(layer.digest) for layer in layers)])
    return data, made


def sources(catalogue: Catalogue, target: Reference, diff_ids: Iterable[str]) -> dict[str, str]:
    """For layers, another repository on the same registry that has them, as far as we know: by diff id."""
    wanted, found = set(diff_ids), dict[str, str]()
    for summary in catalogue.all():
        for name in summary.repo_digests:
            other = references.parse(name)
            if other.domain == target.domain and other.path != target.path:
                layers = catalogue.find(summary.id).image.layers
                found.update(dict.fromkeys(wanted.intersection(layers), other.path))
    return found


async def _layer(root: DataRoot, lease: Lease, image: Image, diff_id: str) -> Descriptor:
    blob = _packed(root, diff_id)
    if blob is None or not await lease.hold("content", [blob.digest]):
        plain = root.content.find_uncompressed(diff_id)
        if plain is None or not await lease.hold("content", [plain.digest]):
            raise NotFound(f"the content of layer {diff_id} is not here any more")
        if plain.media_type not in ("", media_type.OCI_LAYER):
            raise Unsupported(f"layer {diff_id} is kept as {plain.media_type}, which registries do not know: import it anew")
        blob = await _pack(root, lease, plain.digest, diff_id)
    return Descriptor(blob.media_type, Digest(blob.digest), blob.size)


async def _pack(root: DataRoot, lease: Lease, digest: str, diff_id: str) -> BlobInfo:
    with root.content.opened(digest) as descriptor:
        async with await root.content.writer(lease=lease.id) as ingest:
            with ingest.reading():  # the file is there before the thread begins
                packer = _Packer(descriptor)
                while portion := await asyncio.to_thread(packer.portion):
                    await ingest.write(portion)
            return await ingest.commit(media_type=media_type.OCI_LAYER_GZIP, uncompressed=diff_id)


class _Packer:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gzip = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, 31)  # no name, no time: the same bytes every time
        self._ended = False

    def portion(self) -> bytes:
        while not self._ended:
            plain = os.read(self._descriptor, PORTION)
            self._ended = not plain
            packed: bytes = self._gzip.compress(plain) if plain else self._gzip.flush()
            if packed:
                return packed
        return b""


def _manifests(root: DataRoot, id: str) -> list[str]:
    query = (
        "SELECT content.digest FROM content_children JOIN content ON content.digest = child "
        "WHERE content_children.digest = ? AND media_type IN (?, ?) ORDER BY created DESC"
    )
    values = (id, *sorted(media_type.MANIFESTS))
    return root.database.read(lambda connection: [digest for (digest,) in connection.execute(query, values)])


def _packed(root: DataRoot, diff_id: str) -> BlobInfo | None:
    query = "SELECT digest FROM content WHERE uncompressed = ? AND media_type IN (?, ?) ORDER BY size LIMIT 1"

    def read(connection: sqlite3.Connection) -> str | None:
        row = connection.execute(query, (diff_id, *TRAVELLING)).fetchone()
        return None if row is None else str(row[0])

    digest = root.database.read(read)
    return None if digest is None else root.content.info(digest)
