"""`import`: the tar of a root file system becomes an image of one layer.

    stream ─▶ ingest ─▶ blob ───────────────┐
                │ grown(n)                    ├─▶ configuration ─▶ row and name
                └▶ worker ─▶ snapshot, diff id┘

The archive is unpacked while it arrives.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from gorae.engine.image import changes as instructions
from gorae.engine.image import record
from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.layers import Layers
from gorae.engine.image.model import ImageConfig
from gorae.engine.image.record import Record
from gorae.errors import InvalidArgument
from gorae.linux import system
from gorae.oci import imageconfig, media_type
from gorae.oci.digest import Digest
from gorae.oci.platform import of_machine, parse
from gorae.storage.archive.compression import layer_media_type
from gorae.storage.content.lease import Lease
from gorae.storage.content.store import BlobInfo
from gorae.storage.root import DataRoot


class Importer:
    def __init__(self, root: DataRoot, catalogue: Catalogue, layers: Layers) -> None:
        self._root = root
        self._catalogue = catalogue
        self._layers = layers

    async def run(
        self, stream: AsyncIterator[bytes], *, names: Sequence[str], message: str, changes: Sequence[str], platform: str
    ) -> Record:
        here = of_machine(system.machine())
        wanted = parse(platform, here) if platform else here
        config = instructions.apply(ImageConfig(), changes)
        if wanted.os != "linux":
            raise InvalidArgument(f"the platform {platform} is not linux")
        async with self._root.assembling("import") as lease:
            blob, diff_id, size = await self._layer(lease, stream)
            now = record.rfc3339(time.time_ns())
            comment = message or "Imported from -"
            document = imageconfig.ImageConfig(
                architecture=wanted.architecture,
                os=wanted.os,
                variant=wanted.variant,
                rootfs=imageconfig.RootFS("layers", (Digest(diff_id),)),
                config=record.to_oci(config),
                created=now,
                history=(imageconfig.History(created=now, comment=comment),),
            )
            data = imageconfig.encode(document)
            found = record.describe(data, [size])
            await self._root.content.add(data, lease=lease.id, media_type=media_type.OCI_CONFIG, children=[blob.digest])
            await self._catalogue.add(found, diff_id, names)
        return found

    async def _layer(self, lease: Lease, stream: AsyncIterator[bytes]) -> tuple[BlobInfo, str, int]:
        async with self._layers.preparing() as temporary, await self._root.content.writer(lease=lease.id) as ingest:
            with ingest.reading() as archive:
                async with self._layers.unpacking_as_it_grows(archive, temporary) as work:
                    ingest.follow = work.grown
                    async for chunk in stream:
                        await ingest.write(chunk)
                        if work.failed:
                            break
                    await ingest.written()
                    result = await work.result()
            if not ingest.offset:
                raise InvalidArgument("the archive is empty: there is nothing to make an image of")
            blob = await ingest.commit(media_type=layer_media_type(ingest.beginning(6)), uncompressed=result.digest)
            diff_id = result.digest or blob.digest
            await self._layers.commit_first(lease, diff_id, temporary, result.size)
        return blob, diff_id, result.size
