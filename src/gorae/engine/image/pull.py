"""`pull`, told in order.

    resolve the name (tag or digest, index, platform) ─▶ lease ─▶ configuration
      ─▶ layers: at most three at once, each received → hashed → decompressed → unpacked in one pass, lowest first
      ─▶ row and names

What has come is the lease's until the row stands. When anything fails, or the one who asked goes away: the transfers are cancelled,
the lease is given up, and what it held goes with the next sweep, which is asked for. A layer that is here is not fetched again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from gorae.engine.image import model, origin, record
from gorae.engine.image.arrival import Arrival, Locks
from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.layers import Layers
from gorae.engine.image.model import Progress, Pulled
from gorae.engine.image.origin import Image
from gorae.engine.image.record import chain_ids
from gorae.engine.image.telling import told
from gorae.engine.remote.registries import Registries
from gorae.engine.remote.repository import Repository
from gorae.engine.remote.rules import ANONYMOUS, Credentials
from gorae.errors import NotFound
from gorae.oci import media_type
from gorae.oci.reference import Reference
from gorae.storage.content.lease import Lease
from gorae.storage.root import DataRoot

AT_ONCE = 3
Step = Progress | Pulled
Tell = Callable[[Step], None]


class Puller:
    def __init__(self, root: DataRoot, catalogue: Catalogue, layers: Layers, registries: Registries) -> None:
        self._root = root
        self._catalogue = catalogue
        self._layers = layers
        self._registries = registries
        self._locks: Locks = Locks()

    def run(self, reference: Reference, platform: str = "", credentials: Credentials = ANONYMOUS) -> AsyncGenerator[Step, None]:
        """Nothing is told before the name was found. The last step is `Pulled`. Close what this answers."""

        async def work(tell: Tell) -> None:
            await self._pull(reference, platform, credentials, tell)

        return told(work)

    async def _pull(self, reference: Reference, platform: str, credentials: Credentials, tell: Tell) -> None:
        async with self._registries.holding(reference, credentials) as (repository, found):
            wanted = self._registries.rules.meant(reference)
            names = origin.names(wanted, found)
            tell(Progress(status=f"Pulling from {repository.path}", id=str(wanted.tag or wanted.digest)))
            manifest = await origin.choose(repository, found, platform)
            fresh = await self._bring(repository, manifest, platform, names, tell)
        digest = found.descriptor.digest
        tell(Progress(status=f"Digest: {digest}"))
        words = "Downloaded newer image" if fresh else "Image is up to date"
        tell(Progress(status=f"Status: {words} for {reference.familiar()}"))
        id = str(manifest.document.config.digest)
        tell(Pulled(id=id, reference=wanted.familiar(), digest=str(digest), fresh=fresh))

    async def _bring(
        self, repository: Repository, manifest: origin.Chosen, platform: str, names: Sequence[str], tell: Tell
    ) -> bool:
        """Whether anything changed."""
        try:
            async with await self._root.leases.take(f"pull {names[0]}") as lease:
                here = self._known(str(manifest.document.config.digest))
                if here is not None and set(names) <= {*here.repo_tags, *here.repo_digests}:
                    await self._remember(lease, manifest, ())
                    return False
                image = await origin.image(repository, manifest, platform)
                sizes, blobs = await self._layers_of(lease, repository, image, tell)
                found = record.describe(image.config, sizes)
                await self._remember(lease, manifest, blobs, image.config)
                await self._catalogue.add(found, chain_ids(image.diff_ids)[-1] if image.diff_ids else "", names)
                return True
        except BaseException:
            await asyncio.shield(self._root.collect_garbage())
            raise

    async def _layers_of(
        self, lease: Lease, repository: Repository, image: Image, tell: Tell
    ) -> tuple[list[int], list[str]]:
        """Sizes and blobs, lowest first."""
        sizes: list[int] = []
        blobs: list[str] = []
        slots = asyncio.Semaphore(AT_ONCE)
        arrivals: dict[str, Arrival] = {}
        try:
            async with asyncio.TaskGroup() as tasks:
                plan = [await self._here(lease, image, index) for index in range(len(image.layers))]
                for descriptor, present in zip(image.layers, plan, strict=True):
                    short = descriptor.digest.short
                    tell(Progress(status="Already exists" if present else "Pulling fs layer", id=short))
                    if not present and descriptor.digest not in arrivals:
                        arrival = Arrival(self._root.content, lease, self._locks, descriptor, tell)
                        arrivals[descriptor.digest] = arrival
                        tasks.create_task(arrival.run(repository, slots))
                for index, (descriptor, present) in enumerate(zip(image.layers, plan, strict=True)):
                    if present:
                        sizes.append(await self._layers.ensure(lease, image.diff_ids, index))
                        blobs.append(present)
                        continue
                    arrival = arrivals[descriptor.digest]
                    arrival.hash_plain = not image.diff_ids[index].startswith(f"{descriptor.digest.algorithm}:")
                    sizes.append(await self._layers.ensure_arriving(lease, image.diff_ids, index, arrival))
                    blobs.append(descriptor.digest)
                    tell(Progress(status="Pull complete", id=descriptor.digest.short))
        except BaseExceptionGroup as group:
            raise origin.first(group) from None
        return sizes, blobs

    async def _here(self, lease: Lease, image: Image, index: int) -> str:
        """The blob of a layer that need not be fetched: the same one, or another of the same content. "" when there is none."""
        blob = self._root.content.find_uncompressed(image.diff_ids[index])
        for digest in (str(image.layers[index].digest), blob.digest if blob is not None else ""):
            if digest and await lease.hold("content", [digest]):
                known = self._root.content.info(digest)
                if image.diff_ids[index] in (known.digest, known.uncompressed):
                    return digest
        return ""

    async def _remember(self, lease: Lease, manifest: origin.Chosen, blobs: Sequence[str], config: bytes | None = None) -> None:
        """The manifest stays with the image, so that a push sends the very same."""
        kept = await self._root.content.add(manifest.data, lease=lease.id, media_type=manifest.descriptor.mediaType)
        if config is not None:
            children = [*blobs, kept.digest]
            await self._root.content.add(config, lease=lease.id, media_type=media_type.OCI_CONFIG, children=children)
        else:
            await self._root.content.depend(manifest.document.config.digest, [kept.digest])

    def _known(self, id: str) -> model.Image | None:
        with suppress(NotFound):
            return self._catalogue.find(id).image
        return None
