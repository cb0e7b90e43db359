"""`commit`: an image of one layer more.

    layer's tar ─▶ ingest ─▶ blob, diff id ─▶ snapshot on the parent's ─▶ configuration ─▶ row and name
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Sequence

from gorae.engine.image import changes as instructions
from gorae.engine.image import record
from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.layers import Layers
from gorae.engine.image.model import Image, ImageConfig
from gorae.engine.image.record import Record, chain_ids
from gorae.oci import imageconfig, media_type
from gorae.oci.digest import Digest
from gorae.storage.root import DataRoot


class Committer:
    def __init__(self, root: DataRoot, catalogue: Catalogue, layers: Layers) -> None:
        self._root = root
        self._catalogue = catalogue
        self._layers = layers

    async def run(
        self,
        parent: Image,
        layer: AsyncIterator[bytes],
        *,
        config: ImageConfig,
        changes: Sequence[str],
        names: Sequence[str],
        comment: str,
        author: str,
        created_by: str,
    ) -> Record:
        """The layer is read to its end before anything is visible."""
        config = instructions.apply(config, changes)
        below = self._catalogue.find(parent.id)
        async with self._root.assembling("commit") as lease:
            for index in range(len(parent.layers)):
                await self._layers.ensure(lease, parent.layers, index)
            hashed = hashlib.sha256()
            async with await self._root.content.writer(lease=lease.id) as ingest:
                async for portion in layer:
                    hashed.update(portion)
                    await ingest.write(portion)
                diff_id = f"sha256:{hashed.hexdigest()}"
                blob = await ingest.commit(media_type=media_type.OCI_LAYER, uncompressed=diff_id)
            diff_ids = (*parent.layers, diff_id)
            size = await self._layers.ensure(lease, diff_ids, len(parent.layers), blob)
            now = record.rfc3339(time.time_ns())
            step = imageconfig.History(created=now, created_by=created_by, author=author, comment=comment)
            document = imageconfig.ImageConfig(
                architecture=parent.architecture,
                os=parent.os,
                variant=parent.variant or None,
                rootfs=imageconfig.RootFS("layers", tuple(Digest(each) for each in diff_ids)),
                config=record.to_oci(config),
                created=now,
                author=author,
                history=(*(_past(each) for each in below.history), step),
            )
            data = imageconfig.encode(document)
            found = record.describe(data, [*below.sizes, size])
            blobs = [known.digest for each in diff_ids if (known := self._root.content.find_uncompressed(each)) is not None]
            await self._root.content.add(data, lease=lease.id, media_type=media_type.OCI_CONFIG, children=blobs)
            await self._catalogue.add(found, chain_ids(diff_ids)[-1], names)
        return found


def _past(step: record.Step) -> imageconfig.History:
    return imageconfig.History(
        created=None if step.created is None else record.rfc3339(step.created),
        created_by=step.created_by,
        comment=step.comment,
        empty_layer=step.empty,
    )
