"""`load`: the images of an archive, which may be Docker's or an OCI layout.

    stream ─▶ members (storage/archive/members.py) ─▶ which images (image_archive.py) ─▶ for each: layers, configuration, row, names

What the archive brings is held by a lease until its image stands; the rest goes with the lease.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from gorae.engine.image import record
from gorae.engine.image.builtin import REPOSITORY
from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.layers import Layers
from gorae.engine.image.model import Loaded, Progress
from gorae.engine.image.record import Record, chain_ids
from gorae.errors import CorruptData, InvalidArgument
from gorae.linux import system
from gorae.oci import imageconfig, media_type, reference
from gorae.oci.platform import of_machine
from gorae.storage.archive.compression import layer_media_type
from gorae.storage.archive.image_archive import ArchivedImage, images
from gorae.storage.archive.members import Member, receive
from gorae.storage.content.lease import Lease
from gorae.storage.content.store import BlobInfo
from gorae.storage.root import DataRoot


class Loader:
    def __init__(self, root: DataRoot, catalogue: Catalogue, layers: Layers) -> None:
        self._root = root
        self._catalogue = catalogue
        self._layers = layers

    async def run(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[Progress | Loaded, None]:
        async with self._root.assembling("load") as lease:
            members = await receive(stream, self._root.content, lease.id)
            found = images(members, of_machine(system.machine()))
            if not found:
                raise CorruptData("the archive has no image for this machine")
            for image in found:
                names = tuple(_names(image.names))
                sizes: list[int] = []
                blobs: list[BlobInfo] = []
                diff_ids = _diff_ids(image)
                for index, member in enumerate(image.layers):
                    short = diff_ids[index].partition(":")[2][:12]
                    yield Progress(status="Loading layer", id=short, current=index, total=len(diff_ids))
                    blobs.append(await self._blob(lease, member))
                    sizes.append(await self._layers.ensure(lease, diff_ids, index, blobs[-1]))
                loaded = await self._stand(lease, image, sizes, blobs, names)
                for name in names or ("",):
                    yield Loaded(id=loaded.image.id, name=name)

    async def _stand(
        self, lease: Lease, image: ArchivedImage, sizes: list[int], blobs: list[BlobInfo], names: tuple[str, ...]
    ) -> Record:
        found = record.describe(image.config, sizes)
        children = [blob.digest for blob in blobs]
        await self._root.content.add(image.config, lease=lease.id, media_type=media_type.OCI_CONFIG, children=children)
        await self._catalogue.add(found, chain_ids(found.image.layers)[-1] if found.image.layers else "", names)
        return found

    async def _blob(self, lease: Lease, member: Member) -> BlobInfo:
        if isinstance(member, bytes):
            return await self._root.content.add(member, lease=lease.id, media_type=layer_media_type(member[:6]))
        with self._root.content.opened(member.digest) as descriptor:
            await self._root.content.know_media_type(member.digest, layer_media_type(_beginning(descriptor)))
        return member


def _beginning(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False, buffering=0) as file:
        return file.read(6)


def _diff_ids(image: ArchivedImage) -> tuple[str, ...]:
    """Checked before any layer is unpacked."""
    config = imageconfig.decode(image.config)
    if len(config.rootfs.diff_ids) != len(image.layers):
        raise CorruptData(f"the configuration tells of {len(config.rootfs.diff_ids)} layers, the archive has {len(image.layers)}")
    return tuple(str(digest) for digest in config.rootfs.diff_ids)


def _names(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        parsed = reference.parse(name)
        if parsed.digest is not None or parsed.tag is None:
            raise InvalidArgument(f"the archive names an image {name[:80]!a}: a tag is expected, not a digest")
        if parsed.name == REPOSITORY:
            raise InvalidArgument(f"the archive names an image {name[:80]!a}, but that is the name of the built-in image")
        yield parsed.familiar()
