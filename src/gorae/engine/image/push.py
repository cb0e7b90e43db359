"""`push`, told in order.

    the image's manifest (the one it came by, or a new one) ─▶ layers, three at once: there already? · mounted from another
    repository · uploaded ─▶ configuration ─▶ manifest under the tag ─▶ the name by digest

The manifest goes last: whoever sees the tag finds all that it names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from gorae.engine.image import kept, origin
from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.model import Image, Progress, Pushed
from gorae.engine.image.telling import Meter, told
from gorae.engine.remote import failure
from gorae.engine.remote.failure import Refused
from gorae.engine.remote.registries import Registries
from gorae.engine.remote.repository import Repository
from gorae.engine.remote.rules import ANONYMOUS, Credentials
from gorae.errors import NotFound, Unsupported
from gorae.oci.descriptor import Descriptor
from gorae.oci.digest import Digest
from gorae.oci.manifest import Manifest
from gorae.oci.reference import Reference
from gorae.storage.root import DataRoot

AT_ONCE = 3
Step = Progress | Pushed
Tell = Callable[[Step], None]


class Pusher:
    def __init__(self, root: DataRoot, catalogue: Catalogue, registries: Registries) -> None:
        self._root = root
        self._catalogue = catalogue
        self._registries = registries

    def check(self, reference: Reference) -> Image:
        """Raises what can be said before anything is sent."""
        self._registries.rules.places(self._registries.rules.meant(reference), push=True)
        try:
            image = self._catalogue.find(reference.familiar()).image
        except NotFound:
            raise NotFound(f"An image does not exist locally with the tag: {reference.name}") from None
        if image.builtin:
            raise Unsupported("the built-in image is this machine itself, and cannot be pushed")
        return image

    def run(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> AsyncGenerator[Step, None]:
        """`reference` has a tag. The last step is `Pushed`. Close what this answers."""

        async def work(tell: Tell) -> None:
            await self._push(reference, credentials, tell)

        return told(work)

    async def _push(self, reference: Reference, credentials: Credentials, tell: Tell) -> None:
        image = self.check(reference)
        tell(Progress(status=f"The push refers to repository [{reference.name}]"))
        async with await self._root.leases.take(f"push {reference}") as lease:
            await lease.hold("content", [image.id])
            for diff_id in image.layers:
                tell(Progress(status="Preparing", id=Digest(diff_id).short))
            data, manifest = await kept.manifest_of(self._root, lease, image)
            try:
                async with self._registries.pushing(reference, credentials) as repository:
                    await self._blobs(repository, reference, image, manifest, tell)
                    await repository.put(str(reference.tag), data, manifest.mediaType)
            except Refused as error:
                raise failure.pushing(error, reference.familiar()) from error
        digest = Digest.of(data)
        await self._catalogue.name(image.id, reference.with_tag(None).with_digest(digest).familiar())
        tell(Progress(status=f"{reference.tag}: digest: {digest} size: {len(data)}"))
        tell(Pushed(tag=str(reference.tag), digest=str(digest), size=len(data)))

    async def _blobs(self, repository: Repository, reference: Reference, image: Image, manifest: Manifest, tell: Tell) -> None:
        elsewhere = kept.sources(self._catalogue, reference, image.layers)
        slots = asyncio.Semaphore(AT_ONCE)

        async def bring(descriptor: Descriptor, diff_id: str) -> None:
            async with slots:
                await self._blob(repository, descriptor, Digest(diff_id).short, elsewhere.get(diff_id, ""), tell)

        try:
            async with asyncio.TaskGroup() as tasks:
                each = {layer.digest: (layer, diff_id) for layer, diff_id in zip(manifest.layers, image.layers, strict=True)}
                for descriptor, diff_id in each.values():
                    tasks.create_task(bring(descriptor, diff_id))
        except BaseExceptionGroup as group:
            raise origin.first(group) from None
        await self._blob(repository, manifest.config, "", "", tell)

    async def _blob(self, repository: Repository, descriptor: Descriptor, short: str, source: str, tell: Tell) -> None:
        if await repository.has(descriptor):
            return self._say(tell, "Layer already exists", short)
        location = ""
        if source:
            location = await self._mounted(repository, descriptor, source)
            if not location:
                return self._say(tell, f"Mounted from {source}", short)
        meter = Meter(tell if short else lambda step: None, short, "Pushing", descriptor.size)

        async def portions(offset: int) -> AsyncIterator[bytes]:
            sent = offset
            async for portion in self._root.content.stream(descriptor.digest, offset):
                yield portion
                sent += len(portion)
                meter.at(sent)

        await repository.upload(descriptor, portions, location)
        return self._say(tell, "Pushed", short)

    async def _mounted(self, repository: Repository, descriptor: Descriptor, source: str) -> str:
        """Where to upload to instead, if the registry does not mount it; "" if it did."""
        try:
            return await repository.begin(descriptor.digest, source)
        except Refused:  # we may not read there: then it is brought
            return await repository.begin()

    def _say(self, tell: Tell, status: str, short: str) -> None:
        if short:
            tell(Progress(status=status, id=short))
