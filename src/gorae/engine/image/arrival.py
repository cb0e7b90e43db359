"""One layer's blob on its way from a registry into the store, read while it grows.

    portions ─▶ ingest (hash, file) ─▶ verified, in the store: complete()
                  └─ grown(n) ─▶ whoever unpacks it (layers.py)

    waiting ─▶ growing ─▶ here          here at once, when the store has it
          └────────┴─────▶ failed

Broken off, it goes on where it was (Range), as often as patience allows without progress. Two pulls of one blob: the second waits
and takes what the first brought.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from weakref import WeakValueDictionary

from gorae.engine.image.model import Progress
from gorae.engine.image.telling import Meter
from gorae.engine.remote import failure
from gorae.engine.remote.failure import Interrupted, Refused
from gorae.engine.remote.repository import Repository
from gorae.errors import CorruptData, Unavailable
from gorae.oci.descriptor import Descriptor
from gorae.storage.archive.compression import layer_media_type
from gorae.storage.content.ingest import Ingest
from gorae.storage.content.lease import Lease
from gorae.storage.content.store import BlobInfo, Store

Locks = WeakValueDictionary[str, asyncio.Lock]
STEP = 8 << 20  # so many bytes more are progress: tries are counted anew


class Abandoned(CorruptData):
    """Whoever reads has failed: there is no use in going on."""


class Arrival:
    """`run` in a task of its own; the others of its methods are for the reader."""

    def __init__(self, store: Store, lease: Lease, locks: Locks, descriptor: Descriptor, tell: Callable[[Progress], None]) -> None:
        self.descriptor = descriptor
        self.hash_plain = False
        self.fetched = False
        self._store = store
        self._lease = lease
        self._lock = locks.setdefault(descriptor.digest, asyncio.Lock())
        self._tell = tell
        self._grown: Callable[[int], None] | None = None
        self._failed: Callable[[], bool] | None = None
        self._length = 0
        self._abandoned = False
        self._ingest: Ingest | None = None
        self._readable = asyncio.Event()
        self._received = asyncio.Event()
        self._done: asyncio.Future[BlobInfo] = asyncio.get_running_loop().create_future()
        self._done.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody else raises it

    async def run(self, repository: Repository, slots: asyncio.Semaphore) -> None:
        try:
            async with self._lock:
                if await self._lease.hold("content", [self.descriptor.digest]):
                    self._done.set_result(self._store.info(self.descriptor.digest))
                    self._tell(Progress(status="Already exists", id=self.id))
                else:
                    async with slots:
                        await self._bring(repository)
        except BaseException as error:
            if not self._done.done():
                self._done.set_exception(error if isinstance(error, Exception) else CorruptData("cancelled"))
            raise
        finally:
            self._readable.set()
            self._received.set()

    @property
    def id(self) -> str:
        return self.descriptor.digest.short

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[int]:
        await self._readable.wait()
        async with AsyncExitStack() as stack:
            growing = None
            if self._ingest is not None and not self._done.done():
                # It may have got its own name a moment ago, though nobody has been told yet.
                with suppress(Unavailable):
                    growing = stack.enter_context(self._ingest.reading())
            yield growing if growing is not None else stack.enter_context(self._store.opened((await self.complete()).digest))

    def feed(self, grown: Callable[[int], None] | None, failed: Callable[[], bool] | None) -> None:
        self._grown, self._failed = grown, failed
        if grown is not None and self._length:
            grown(self._length)

    async def received(self) -> None:
        await self._received.wait()
        if self._done.done() and not self._abandoned:
            self._done.result()

    async def complete(self) -> BlobInfo:
        return await asyncio.shield(self._done)

    async def _bring(self, repository: Repository) -> None:
        try:
            self._done.set_result(await self._fetch(repository))
        except Abandoned as error:  # the reader's own failure says why
            self._abandoned = True
            self._done.set_exception(error)

    async def _fetch(self, repository: Repository) -> BlobInfo:
        digest, size = self.descriptor.digest, self.descriptor.size
        async with await self._store.writer(lease=self._lease.id, expected=digest, size=size) as ingest:
            self.fetched = True
            ingest.follow = self._on_growth
            self._ingest = ingest
            self._readable.set()
            await self._receive(repository, ingest)
            await ingest.written()
            self._received.set()
            self._tell(Progress(status="Verifying Checksum", id=self.id))
            blob = await ingest.commit(media_type=layer_media_type(ingest.beginning(6)))
        self._tell(Progress(status="Download complete", id=self.id))
        return blob

    async def _receive(self, repository: Repository, ingest: Ingest) -> None:
        meter = Meter(self._tell, self.id, "Downloading", self.descriptor.size)
        number, before = 0, 0
        while ingest.offset < self.descriptor.size:
            try:
                async for part in repository.portions(self.descriptor, ingest.offset):
                    await ingest.write(part)
                    meter.at(ingest.offset)
                    if self._failed is not None and self._failed():
                        raise Abandoned(f"{self.descriptor.digest} cannot be unpacked")
                if ingest.offset < self.descriptor.size:
                    raise Interrupted(f"{self.descriptor.digest} ended after {ingest.offset} of {self.descriptor.size} bytes")
            except Interrupted as error:
                number = 1 if ingest.offset - before >= STEP else number + 1
                before = ingest.offset
                await failure.pause(repository.patience, number, error)
                self._tell(Progress(status=f"Retrying: {error}"[:200], id=self.id))
            except Refused as error:
                raise CorruptData(f"the registry does not give the layer {self.descriptor.digest}: {error}") from error

    def _on_growth(self, length: int) -> None:
        """In the thread that wrote."""
        self._length = length
        if (grown := self._grown) is not None:
            with suppress(OSError, ValueError):
                grown(length)
