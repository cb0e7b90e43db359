"""What a repository is: blobs that it has, manifests, tags, referrers. No HTTP and no rights in here.

A blob belongs to a repository by a link; who may read one repository must not read another's blobs by guessing a digest. A push
asks for a blob with HEAD before it sends it, and relies on the answer until its manifest comes: so asking renews the link's time
(`renew`), and the garbage collector leaves young links alone.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gorae.errors import CorruptData
from gorae.oci.digest import Digest
from gorae.registry import condemned, layout
from gorae.registry.errors import Refusal
from gorae.registry.names import tag_order
from gorae.registry.store.seam import Content, OutOfOrder, Store, UnknownUpload

RENEWAL = 3600.0
"""A link younger than this is not renewed: a busy base image would be written at each push."""
AT_ONCE = 16


@dataclass(frozen=True)
class Stored:
    """A manifest as it lies there."""

    digest: Digest
    media_type: str
    data: bytes


class Repository:
    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name

    async def exists(self) -> bool:
        return await self.store.stat(layout.catalog(self.name)) is not None

    async def announce(self) -> None:
        """Puts the name into the catalog."""
        if not await self.exists():
            await self.store.write(layout.catalog(self.name), b"")

    # Blobs.

    async def open_blob(self, digest: Digest) -> Content:
        """`Refusal` unless the repository has it."""
        if await self.store.stat(layout.link(self.name, digest)) is not None:
            content = await self.store.open(layout.blob(digest))
            if content is not None:
                return content
        raise unknown_blob(digest)

    async def blob_size(self, digest: Digest) -> int | None:
        """None when the repository has not got it."""
        if await self.store.stat(layout.link(self.name, digest)) is None:
            return None
        found = await self.store.stat(layout.blob(digest))
        return None if found is None else found.size

    async def renew(self, digest: Digest) -> int | None:
        """As `blob_size`, and from now on the collector leaves it alone for a while."""
        link = await self.store.stat(layout.link(self.name, digest))
        if link is None:
            return None
        if time.time() - link.modified > RENEWAL:
            await self.store.write(link.key, b"", durable=False)
            if not await condemned.rescue(self.store, digest):
                return None
        return await self.blob_size(digest)

    async def adopt(self, digest: Digest) -> bool:
        """Links a blob that is in the store; False when it is not there (any more). The right to it is the caller's question."""
        if await self.store.stat(layout.blob(digest)) is None:
            return False
        await self.store.write(layout.link(self.name, digest), b"")
        if await condemned.rescue(self.store, digest) and await self.store.stat(layout.blob(digest)) is not None:
            await self.announce()
            return True
        await self.store.delete(layout.link(self.name, digest))
        return False

    async def delete_blob(self, digest: Digest) -> None:
        """The repository has it no more; the bytes go with the next collection."""
        if await self.blob_size(digest) is None:
            raise unknown_blob(digest)
        await self.store.delete(layout.link(self.name, digest))

    # Uploads.

    async def begin_upload(self) -> str:
        identifier = secrets.token_hex(16)
        await self.store.begin(layout.upload(self.name, identifier))
        return identifier

    async def upload_offset(self, identifier: str) -> int:
        return await self.store.offset(layout.upload(self.name, identifier))

    async def append(self, identifier: str, offset: int | None, chunks: AsyncIterator[bytes]) -> int:
        return await self.store.append(layout.upload(self.name, identifier), offset, chunks)

    async def commit(self, identifier: str, digest: Digest) -> None:
        """The upload becomes a blob of the repository. A wrong digest ends the upload: nothing of it can be used."""
        upload = layout.upload(self.name, identifier)
        try:
            while True:
                await self.store.commit(upload, digest, layout.blob(digest))
                await self.store.write(layout.link(self.name, digest), b"")
                if await condemned.rescue(self.store, digest) and await self.blob_size(digest) is not None:
                    break
                await condemned.gone(self.store, digest)
        except CorruptData as error:
            await self.store.cancel(upload)
            raise Refusal("DIGEST_INVALID", str(error), detail={"digest": digest}) from error
        await self.announce()
        await self.store.cancel(upload)

    async def cancel_upload(self, identifier: str) -> None:
        if not await self.store.cancel(layout.upload(self.name, identifier)):
            raise UnknownUpload("no such upload")

    # Manifests.

    async def resolve(self, reference: Digest | str) -> Digest | None:
        """The digest of a manifest that is there."""
        if isinstance(reference, Digest):
            return reference if await self.store.stat(layout.manifest(self.name, reference)) is not None else None
        text = await self.store.read(layout.tag(self.name, reference))
        return None if text is None else await self.resolve(Digest(text.decode()))

    async def manifest(self, reference: Digest | str) -> Stored | None:
        if not isinstance(reference, Digest):
            text = await self.store.read(layout.tag(self.name, reference))
            if text is None:
                return None
            reference = Digest(text.decode())
        media_type = await self.store.read(layout.manifest(self.name, reference))
        if media_type is None:
            return None
        data = await self.store.read(layout.blob(reference))
        return None if data is None else Stored(reference, media_type.decode(), data)

    async def tag(self, word: str, digest: Digest) -> None:
        await self.store.write(layout.tag(self.name, word), digest.encode())

    async def tags(self) -> list[str]:
        """In lexical order."""
        return sorted([entry.key.rpartition("/")[2] async for entry in self.store.entries(layout.tags(self.name))], key=tag_order)

    async def tagged(self) -> list[tuple[str, Digest]]:
        """Each tag and its digest, in lexical order."""
        words = await self.tags()
        found: list[tuple[str, Digest]] = []
        for start in range(0, len(words), AT_ONCE):
            some = words[start : start + AT_ONCE]
            texts = await asyncio.gather(*(self.store.read(layout.tag(self.name, word)) for word in some))
            found += [(word, Digest(text.decode())) for word, text in zip(some, texts, strict=True) if text is not None]
        return found

    async def manifests(self) -> list[Digest]:
        return [layout.digest_of(entry.key) async for entry in self.store.entries(layout.manifests(self.name))]

    async def untag(self, word: str) -> bool:
        """Whether it was there."""
        there = await self.store.stat(layout.tag(self.name, word)) is not None
        if there:
            await self.store.delete(layout.tag(self.name, word))
        return there

    async def referrers(self, subject: Digest) -> list[bytes]:
        """Descriptors as JSON, in the order of their digests."""
        keys = sorted([entry.key async for entry in self.store.entries(layout.referrers(self.name, subject))])
        found: list[bytes] = []
        for start in range(0, len(keys), AT_ONCE):
            some = await asyncio.gather(*(self.store.read(key) for key in keys[start : start + AT_ONCE]))
            found += [each for each in some if each is not None]
        return found


async def names(store: Store) -> list[str]:
    """Every repository, in lexical order."""
    return sorted([layout.name_of(entry.key) async for entry in store.entries(layout.CATALOG)])


def unknown_blob(digest: Digest) -> Refusal:
    return Refusal("BLOB_UNKNOWN", "the repository has no such blob", detail={"digest": digest})


def upload_refusal(error: UnknownUpload | OutOfOrder) -> Refusal:
    if isinstance(error, OutOfOrder):
        return Refusal("BLOB_UPLOAD_INVALID", str(error), status=416, detail={"offset": error.offset})
    return Refusal("BLOB_UPLOAD_UNKNOWN", str(error))
