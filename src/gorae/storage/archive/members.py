"""An image archive as it arrives: members by path, large ones already in the content store.

    event loop    chunks ──▶ Feed ─────────────┐            ┌──▶ store.writer … commit   (portions, hashed and written in threads)
    thread                    └▶ decompress ▶ tar ▶ member ─┤
                                                            └──▶ memory                  (small: manifests, configurations)

Which member is a layer is known only at the end, where most writers put the manifest; what nobody names is dropped with the lease.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from msgspec import Struct, field

from gorae.errors import CorruptData
from gorae.storage.archive.compression import decompressed
from gorae.storage.archive.entry import Entry, Kind, Limits
from gorae.storage.archive.extract import clean
from gorae.storage.archive.reader import Reader
from gorae.storage.content.store import BlobInfo, Store

T = TypeVar("T")
Member = bytes | BlobInfo
SMALL = 1 << 20
SMALL_TOGETHER = 64 << 20
AHEAD = 8 << 20  # bytes that wait in memory
PORTION = 1 << 20
LIMITS = Limits(entries=50_000)
MOST_LINKS = 8


class Members(Struct):
    by_path: dict[str, Member] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)  # old versions of Docker save a layer once and link to it

    def find(self, path: str) -> Member | None:
        """By a path as a manifest says it."""
        for _ in range(MOST_LINKS):
            path = clean(path.encode()).decode()
            if path not in self.links:
                return self.by_path.get(path)
            path = self.links[path]
        raise CorruptData(f"the archive has links that go round in circles at {path[:80]!a}")


async def receive(stream: AsyncIterator[bytes], store: Store, lease: str) -> Members:
    """Read an archive to its end. Raises `CorruptData`."""
    feed = Feed(asyncio.get_running_loop())
    reading = asyncio.ensure_future(asyncio.to_thread(_read, feed, store, lease))
    reading.add_done_callback(lambda _: feed.stop())
    try:
        async for chunk in stream:
            if not await feed.give(chunk):
                break
        await feed.give(b"")
        return await asyncio.shield(reading)
    finally:
        feed.stop()
        await asyncio.wait([reading])


class Feed:
    """Bytes from the event loop to a thread, a bounded number ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ahead = 0
        self._room = asyncio.Event()
        self._stopped = False
        self._ended = False
        self._kept: list[bytes] = []
        self._kept_size = 0

    async def give(self, data: bytes) -> bool:
        """b"" is the end. False when nobody reads any more."""
        self._kept.append(data)
        self._kept_size += len(data)
        if data and self._kept_size < PORTION:
            return not self._stopped
        portion = b"".join(self._kept)
        self._kept, self._kept_size = [], 0
        while self._ahead >= AHEAD and not self._stopped:
            self._room.clear()
            await self._room.wait()
        self._ahead += len(portion)
        if portion:
            self._queue.put(portion)
        if not data:
            self._queue.put(b"")
        return not self._stopped

    def read(self) -> bytes:
        """In the thread."""
        if self._ended:
            return b""
        portion = self._queue.get()
        self._ended = not portion
        if portion is None:
            raise CorruptData("the archive was given up")
        self._loop.call_soon_threadsafe(self._taken, len(portion))
        return portion

    def stop(self) -> None:
        """Wakes both sides up. Again: does nothing."""
        if not self._stopped:
            self._stopped = True
            self._queue.put(None)
            self._room.set()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """In the thread: have the event loop do it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _taken(self, size: int) -> None:
        self._ahead -= size
        self._room.set()


def _read(feed: Feed, store: Store, lease: str) -> Members:
    members = Members()
    small = 0
    reader = Reader(decompressed(feed.read), LIMITS)
    for entry in reader:
        path = clean(entry.name).decode("utf-8", "replace")
        if entry.kind is Kind.FILE:
            if entry.extents is not None:
                raise CorruptData(f"{path[:80]!a} is a sparse file: an image archive has none")
            if entry.size <= SMALL and small + entry.size <= SMALL_TOGETHER:
                members.by_path[path] = b"".join(reader.portions())
                small += entry.size
            else:
                members.by_path[path] = _keep(feed, store, lease, reader, entry)
        elif entry.kind is Kind.LINK:
            members.links[path] = clean(entry.link).decode("utf-8", "replace")
        elif entry.kind is Kind.SYMLINK:
            above = entry.name.rpartition(b"/")[0]
            members.links[path] = clean(above + b"/" + entry.link).decode("utf-8", "replace")
    return members


def _keep(feed: Feed, store: Store, lease: str, reader: Reader, entry: Entry) -> BlobInfo:
    ingest = feed.run(store.writer(lease=lease, size=entry.size))
    try:
        for portion in reader.portions():
            feed.run(ingest.write(portion))
        return feed.run(ingest.commit())
    finally:
        feed.run(ingest.abort())
