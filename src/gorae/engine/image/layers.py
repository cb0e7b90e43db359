"""From layer blobs to snapshots.

    blobs      blob 1        blob 2               (compressed or not)
    diff ids   d1            d2                   digests of the uncompressed bytes: verified while unpacking
    keys       d1      ◀──   sha256("d1 d2")      one committed snapshot each, shared by all images that begin so

A snapshot is visible only when complete: it is prepared under a key of its own, which the next start gives up, and renamed at
the end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol
from weakref import WeakValueDictionary

from gorae import crashpoints
from gorae.engine.image.record import chain_ids
from gorae.errors import Conflict, CorruptData, NotFound
from gorae.storage.archive.unpack import Work, unpacking
from gorae.storage.content.lease import Lease
from gorae.storage.content.store import BlobInfo
from gorae.storage.root import DataRoot
from gorae.storage.snapshot.overlay import UNPACKING


class Arriving(Protocol):
    """A blob on its way in (`arrival.py`)."""

    hash_plain: bool
    """Whether its own digest cannot stand for that of its plain bytes (another algorithm)."""

    def reading(self) -> AbstractAsyncContextManager[int]:
        """A descriptor of the file that grows (or has grown); waits until there is one."""

    def feed(self, grown: Callable[[int], None] | None, failed: Callable[[], bool] | None) -> None:
        """Tell `grown` how many bytes lie there, from now on; stop receiving when `failed`."""

    async def received(self) -> None:
        """All its bytes lie in the file, or its reader has failed."""

    async def complete(self) -> BlobInfo:
        """It is verified, and in the store."""


class Layers:
    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, lease: Lease, diff_ids: Sequence[str], index: int, blob: BlobInfo | None = None) -> int:
        """Have the snapshot of layer number `index` (those below are there), from `blob` or one that is known. Answers its size."""
        keys = chain_ids(diff_ids[: index + 1])
        key, parent = keys[-1], keys[-2] if index else ""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            await lease.promise("snapshot", [key])
            with suppress(NotFound):
                return self._root.snapshots.stat(key).size
            diff_id = diff_ids[index]
            source = blob or self._root.content.find_uncompressed(diff_id)
            if source is None:
                raise NotFound(f"the content of layer {diff_id} is not here any more: load the image again")
            return await self._unpack(source, diff_id, key, parent)

    async def _unpack(self, blob: BlobInfo, diff_id: str, key: str, parent: str) -> int:
        async with self.preparing(parent) as temporary:
            with self._root.content.opened(blob.digest) as archive:
                # The blob was verified on its way in; if it is not compressed, its digest is the layer's.
                known = "" if blob.digest == diff_id else diff_id.partition(":")[0]
                lowers = self._root.snapshots.lowers(temporary)
                async with unpacking(archive, self._root.snapshots.upper(temporary), lowers=lowers, hash=known) as work:
                    result = await work.result()
            if known and result.digest != diff_id:
                raise CorruptData(f"layer {diff_id} has the content {result.digest}")
            if known:
                await self._root.content.know_uncompressed(blob.digest, diff_id)
            crashpoints.hit("layer.load.before-commit")
            await self._root.snapshots.commit(key, temporary, size=result.size)
            crashpoints.hit("layer.load.after-commit")
        return result.size

    async def ensure_arriving(self, lease: Lease, diff_ids: Sequence[str], index: int, arrival: Arriving) -> int:
        """The same for a blob that is still on its way: it is unpacked as it grows, and its snapshot stands when both the blob
        and what came out of it are verified."""
        keys = chain_ids(diff_ids[: index + 1])
        key, parent, diff_id = keys[-1], keys[-2] if index else "", diff_ids[index]
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            await lease.promise("snapshot", [key])
            with suppress(NotFound):
                size = self._root.snapshots.stat(key).size
                await arrival.complete()
                return size
            async with self.preparing(parent) as temporary:
                size = await self._unpack_growing(temporary, diff_id, arrival)
                crashpoints.hit("layer.pull.before-commit")
                await self._root.snapshots.commit(key, temporary, size=size)
                crashpoints.hit("layer.pull.after-commit")
        return size

    async def _unpack_growing(self, temporary: str, diff_id: str, arrival: Arriving) -> int:
        target, lowers = self._root.snapshots.upper(temporary), self._root.snapshots.lowers(temporary)
        algorithm = diff_id.partition(":")[0]
        async with arrival.reading() as archive:
            plain = arrival.hash_plain
            async with unpacking(archive, target, lowers=lowers, follow=True, hash=algorithm, hash_plain=plain) as work:
                arrival.feed(work.grown, lambda: work.failed)
                try:
                    await arrival.received()
                    result = await work.result()
                finally:
                    arrival.feed(None, None)
        blob = await arrival.complete()
        # Not compressed, and not hashed twice: then its digest is the layer's.
        found = result.digest or blob.digest
        if found != diff_id:
            raise CorruptData(f"layer {diff_id} has the content {found}")
        if blob.digest != diff_id:
            await self._root.content.know_uncompressed(blob.digest, diff_id)
        return result.size

    @asynccontextmanager
    async def preparing(self, parent: str = "") -> AsyncIterator[str]:
        """An active snapshot that is gone afterwards, unless it was committed."""
        temporary = f"{UNPACKING}{secrets.token_hex(16)}"
        crashpoints.hit("layer.unpack.before-snapshot")
        try:
            await self._root.snapshots.prepare(temporary, parent)  # cancelled, it may have been made all the same
            crashpoints.hit("layer.unpack.after-snapshot")
            yield temporary
        finally:
            with suppress(NotFound):
                await self._root.snapshots.remove(temporary)

    @asynccontextmanager
    async def unpacking_as_it_grows(self, archive: int, temporary: str) -> AsyncIterator[Work]:
        """The only layer of an image whose archive is still on its way."""
        async with unpacking(archive, self._root.snapshots.upper(temporary), follow=True, hash_plain=False) as work:
            yield work

    async def commit_first(self, lease: Lease, diff_id: str, temporary: str, size: int) -> None:
        """`temporary` is the tree of a lowest layer; somebody else's, that is already there, is as good."""
        await lease.promise("snapshot", [diff_id])
        with suppress(Conflict):
            crashpoints.hit("layer.import.before-commit")
            await self._root.snapshots.commit(diff_id, temporary, size=size)
            crashpoints.hit("layer.import.after-commit")
