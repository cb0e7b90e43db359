"""The library of images.

    content    configuration ──▶ layer blobs           kept alive by the row in `images`
    snapshots  chain id ◀── chain id ◀── …              one for each unpacked layer
    names      "busybox:latest" ──▶ id                  many names, one image

The work is in the rooms beside: `importing`, `loading`, `saving`, `removal`; who is called what is in `catalogue`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Self

from gorae.engine.image import builtin, record
from gorae.engine.image.catalogue import Catalogue
from gorae.engine.image.committing import Committer
from gorae.engine.image.importing import Importer
from gorae.engine.image.layers import Layers
from gorae.engine.image.loading import Loader
from gorae.engine.image.model import (
    Deleted,
    HistoryItem,
    Image,
    ImageConfig,
    ImageEvent,
    ImageSummary,
    Loaded,
    Progress,
    Pruned,
    Pulled,
    Pushed,
    RemoteImage,
    Untagged,
)
from gorae.engine.image.origin import describe_platform, platforms
from gorae.engine.image.pull import Puller
from gorae.engine.image.push import Pusher
from gorae.engine.image.record import chain_ids
from gorae.engine.image.removal import InUse, Publish, Remover
from gorae.engine.image.saving import Saver
from gorae.engine.remote.registries import Registries
from gorae.engine.remote.rules import ANONYMOUS, Credentials, Rules
from gorae.errors import InvalidArgument, NotFound
from gorae.oci import media_type
from gorae.oci import reference as references
from gorae.oci.digest import Digest
from gorae.storage.root import DataRoot
from gorae.storage.snapshot.overlay import HOST


class Images:
    """`await Images.open(root)`; `aclose()` when done. The data root stays the caller's."""

    def __init__(self, root: DataRoot, in_use: InUse, publish: Publish, registries: Registries) -> None:
        self._root = root
        self._publish = publish
        self._catalogue = Catalogue(root.database)
        self._layers = Layers(root)
        self._importer = Importer(root, self._catalogue, self._layers)
        self._committer = Committer(root, self._catalogue, self._layers)
        self._loader = Loader(root, self._catalogue, self._layers)
        self._saver = Saver(root, self._catalogue)
        self._remover = Remover(root, self._catalogue, in_use, publish)
        self._registries = registries
        self._puller = Puller(root, self._catalogue, self._layers, registries)
        self._pusher = Pusher(root, self._catalogue, registries)

    @classmethod
    async def open(
        cls,
        root: DataRoot,
        *,
        in_use: InUse = lambda image: (),
        publish: Publish = lambda event: None,
        hidden: Iterable[str] = (),
        registries: Registries | None = None,
    ) -> Self:
        """`in_use` says which containers (id, is it running) use an image id.

        `hidden` are paths that the built-in image `host` never shows (data root, runtime directory).
        """
        images = cls(root, in_use, publish, registries or Registries(Rules()))
        await images._make_builtin((root.path, *hidden))
        return images

    async def aclose(self) -> None:
        """Nothing of its own is open."""

    def list(self, *, all: bool = False) -> tuple[ImageSummary, ...]:
        """Newest first. Filters are the caller's: pure functions over summaries.

        `all` would add the steps between, which are no images here.
        """
        return self._catalogue.all()

    def get(self, reference: str) -> Image:
        """By name, id or unique beginning of an id. Raises `NotFound("No such image: …")`, `InvalidArgument`."""
        return self._catalogue.find(reference).image

    def history(self, reference: str) -> tuple[HistoryItem, ...]:
        """Newest first."""
        return record.steps(self._catalogue.find(reference))

    async def rootfs(self, reference: str) -> str:
        """The key of the snapshot to `prepare` a container's tree on ("" for an image without layers).

        A layer that is not unpacked (any more) is unpacked from its blob.
        """
        image = self._catalogue.find(reference).image
        key = self._catalogue.snapshot(image.id)
        if image.builtin or not key or self._root.snapshots.exists(key):
            return key
        async with await self._root.leases.take("unpack") as lease:
            for index in range(len(image.layers)):
                await self._layers.ensure(lease, image.layers, index)
        return chain_ids(image.layers)[-1]

    async def import_(
        self,
        stream: AsyncIterator[bytes],
        *,
        repository: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> Image:
        """An image of one layer from the tar of a root file system. `changes` are Dockerfile instructions (`changes.py`)."""
        names = (_new_name(repository, tag),) if repository else ()
        found = await self._importer.run(stream, names=names, message=message, changes=changes, platform=platform)
        self._publish(ImageEvent(action="import", id=found.image.id, name=names[0] if names else ""))
        return self.get(found.image.id)

    async def commit(
        self,
        parent: Image,
        layer: AsyncIterator[bytes],
        *,
        config: ImageConfig,
        changes: Sequence[str] = (),
        repository: str = "",
        tag: str = "",
        comment: str = "",
        author: str = "",
        created_by: str = "",
    ) -> Image:
        """An image of one layer (an uncompressed tar) more than `parent` has; `changes` are applied to `config`."""
        names = (_new_name(repository, tag),) if repository else ()
        words = {"comment": comment, "author": author, "created_by": created_by}
        found = await self._committer.run(parent, layer, config=config, changes=changes, names=names, **words)
        return self.get(found.image.id)

    async def load(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[Progress | Loaded, None]:
        """The images of an archive; what is told first is the first layer's beginning. Raises `CorruptData`, `InvalidArgument`."""
        async with aclosing(self._loader.run(stream)) as steps:
            async for step in steps:
                if isinstance(step, Loaded):
                    self._publish(ImageEvent(action="load", id=step.id, name=step.name))
                yield step

    async def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """An archive for `load`, ours and Docker's."""
        async with aclosing(self._saver.run(names)) as portions:
            async for portion in portions:
                yield portion
        for name in names:
            self._publish(ImageEvent(action="save", id=self.get(name).id, name=name))

    async def pull(
        self, name: str, *, platform: str = "", credentials: Credentials = ANONYMOUS
    ) -> AsyncGenerator[Progress | Pulled, None]:
        """From the registry that `name` names; without tag and digest, all tags. Nothing is told before something was found:
        `NotFound` in Docker's words, `InvalidArgument` when no registry is meant, `Unavailable` when it does not answer."""
        reference = references.parse(name, None)
        wanted = [reference]
        if reference.tag is None and reference.digest is None:
            wanted = [reference.with_tag(tag) for tag in await self._registries.tags(reference, credentials)]
            if not wanted:
                raise NotFound(f"repository {name} not found: it has no tags")
        for each in wanted:
            async with aclosing(self._puller.run(each, platform, credentials)) as steps:
                async for step in steps:
                    if isinstance(step, Pulled):
                        self._publish(ImageEvent(action="pull", id=step.reference, name=references.parse(step.reference).name))
                    yield step

    async def push(self, name: str, *, credentials: Credentials = ANONYMOUS) -> AsyncGenerator[Progress | Pushed, None]:
        """To the registry that `name` names; without a tag, all tags that there are here. `NotFound` before anything is told."""
        reference = references.parse(name, None)
        if reference.digest is not None:
            raise InvalidArgument("cannot push a digest reference")
        wanted = [reference]
        if reference.tag is None:
            tags = {tag for image in self._catalogue.all() for tag in image.repo_tags}
            wanted = [each for each in map(references.parse, sorted(tags)) if each.name == reference.name]
            if not wanted:
                raise NotFound(f"An image does not exist locally with the tag: {reference.name}")
        for each in wanted:
            self._pusher.check(each)
        for each in wanted:
            async with aclosing(self._pusher.run(each, credentials)) as steps:
                async for step in steps:
                    if isinstance(step, Pushed):
                        self._publish(ImageEvent(action="push", id=each.familiar(), name=each.name))
                    yield step

    async def log_in(self, credentials: Credentials) -> None:
        """Whether `credentials.server` takes them; `remote.failure.Refused` when not. Nothing is kept."""
        await self._registries.log_in(credentials)

    async def look_up(self, name: str, *, credentials: Credentials = ANONYMOUS) -> RemoteImage:
        """What a registry says of `name`; nothing is fetched but its manifest."""
        async with self._registries.holding(references.parse(name), credentials) as (repository, found):
            descriptor = found.descriptor
            offered = platforms(found) or (await describe_platform(repository, found),)
            named = tuple((each.os, each.architecture, each.variant or "") for each in offered if each is not None)
            digest = str(descriptor.digest)
            return RemoteImage(media_type=descriptor.mediaType, digest=digest, size=descriptor.size, platforms=named)

    async def tag(self, reference: str, repository: str, tag: str = "") -> None:
        name = _new_name(repository, tag)
        id = await self._catalogue.name(reference, name)
        self._publish(ImageEvent(action="tag", id=id, name=name))

    async def remove(self, reference: str, *, force: bool = False, prune: bool = True) -> tuple[Untagged | Deleted, ...]:
        """What went, in order. Raises `Conflict` when a container or a second name holds it (Docker's words).

        `prune` asks for parents without a name to go too; images have no such parents here.
        """
        return await self._remover.remove(reference, force=force)

    async def prune(self, *, dangling: bool = True, keep: Callable[[ImageSummary], bool] = lambda image: False) -> Pruned:
        """Remove images that no container uses and that `keep` does not want: those without a tag, or (not `dangling`) all."""
        return await self._remover.prune(dangling=dangling, keep=keep)

    async def _make_builtin(self, hidden: Iterable[str]) -> None:
        await self._root.snapshots.host(hidden)
        data = builtin.configuration()
        id = str(Digest.of(data))
        fresh = record.describe(data, (), builtin=True)
        if self._catalogue.knows_builtin(fresh, builtin.NAME):
            return
        # What this machine was before an upgrade is an ordinary, nameless image from now on: its containers still say that
        # they are of it.
        retire = "UPDATE images SET builtin = 0 WHERE builtin AND id != ?"
        await self._root.database.write(lambda connection: connection.execute(retire, (id,)).rowcount)
        async with await self._root.leases.take("host") as lease:
            await self._root.content.add(data, lease=lease.id, media_type=media_type.OCI_CONFIG)
            await self._catalogue.add(fresh, HOST, (builtin.NAME,))


def _new_name(repository: str, tag: str) -> str:
    parsed = references.parse(repository, None)
    if parsed.digest is not None:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    if tag:
        parsed = parsed.with_tag(tag)
    if parsed.tag is None:
        parsed = parsed.with_tag(references.DEFAULT_TAG)
    if parsed.name == builtin.REPOSITORY:
        raise InvalidArgument(f"{builtin.REPOSITORY} is the name of the built-in image: choose another")
    return parsed.familiar()
