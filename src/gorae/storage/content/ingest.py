"""One blob on its way in.

    write ─▶ buffer ─1 MiB─▶ thread: hash + write(2) ─▶ … ─▶ commit: compare · fsync · [rename · fsync(dir) · row] ─▶ visible

What stands in brackets happens on the database's writer thread, inside the transaction that adds the row: so neither the
garbage collector nor a second writer of the same bytes can come between.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gorae import crashpoints
from gorae.errors import CorruptData, InvalidArgument
from gorae.storage.disk import disk_error

if TYPE_CHECKING:
    from gorae.storage.content.store import BlobInfo, Store

PORTION = 1 << 20


class Ingest:
    """`async with await store.writer(…) as ingest`: left without commit it is aborted; one with a reference stays, to be resumed.

    `offset` counts the bytes taken so far. `follow`, when set, is called with the number of bytes that lie in the file `path`,
    each time it grows: a reader may go beside.
    """

    def __init__(
        self, store: Store, path: str, descriptor: int, *, lease: str, expected: str, size: int | None, reference: str
    ) -> None:
        self.path = path
        self.offset = 0
        self.follow: Callable[[int], None] | None = None
        self._store = store
        self._descriptor = descriptor
        self._lease = lease
        self._expected = expected
        self._size = size
        self._reference = reference
        self._resumable = bool(reference)
        self._hash = hashlib.new(expected.partition(":")[0] or "sha256")
        self._buffer: list[bytes | memoryview] = []
        self._buffered = 0
        self._flushing: asyncio.Future[None] | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """Take `data`, which must not change afterwards. Raises `CorruptData` beyond the announced size, `StorageFull`."""
        self.offset += len(data)
        if self._size is not None and self.offset > self._size:
            raise CorruptData(f"{self._name()} is longer than the announced {self._size} bytes")
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= PORTION:
            await self._flush()

    async def commit(
        self, *, size: int | None = None, media_type: str = "", children: Iterable[str] = (), uncompressed: str = ""
    ) -> BlobInfo:
        """Verify, make durable, record. Raises `CorruptData` (and drops the bytes) when digest or size differ from what was
        announced."""
        await self.written()
        digest = f"{self._hash.name}:{self._hash.hexdigest()}"
        wanted = self._size if size is None else size
        if (wanted is not None and wanted != self.offset) or (self._expected and self._expected != digest):
            offset, self._resumable = self.offset, False
            await self.abort()
            if wanted is not None and wanted != offset:
                raise CorruptData(f"{self._name()} has {offset} bytes instead of {wanted}")
            raise CorruptData(f"{self._expected} was asked for, but the content is {digest}")
        try:
            crashpoints.hit("content.commit.before-fsync")
            await asyncio.to_thread(os.fsync, self._descriptor)
            crashpoints.hit("content.commit.after-fsync")
        except OSError as error:
            raise disk_error(error, f"write {digest}") from error
        needs = tuple(children)

        def record(connection: sqlite3.Connection) -> BlobInfo:
            return self._store.record(connection, self, digest, media_type, uncompressed, needs, self._lease)

        try:
            info = await self._store.database.write(record)
        except OSError as error:
            raise disk_error(error, f"keep {digest}") from error
        self._close()
        return info

    async def abort(self) -> None:
        """Drop what was written (keep it, when a reference was given). Again, or after commit: does nothing."""
        if self._descriptor < 0:
            return
        try:
            await self._settled()
        finally:
            if not self._resumable:
                with contextlib.suppress(OSError):  # swept at the next start
                    os.unlink(self.path)
            self._close()

    async def written(self) -> None:
        """All that was taken lies in the file now (not yet on the disk)."""
        await self._flush()
        await self._settled()

    @contextlib.contextmanager
    def reading(self) -> Iterator[int]:
        """A descriptor to read the file by while it grows; it outlives commit and abort."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise disk_error(error, "read what is coming in") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def beginning(self, count: int) -> bytes:
        """The first bytes in the file."""
        return os.pread(self._descriptor, count, 0)

    async def resume(self) -> None:
        """Take what an earlier writer left in the file: hash it again, go on behind it."""
        await asyncio.to_thread(self._take_over)

    def _take_over(self) -> None:
        while portion := os.read(self._descriptor, PORTION):
            self._hash.update(portion)
            self.offset += len(portion)
        if self._size is not None and self.offset > self._size:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._hash = hashlib.new(self._hash.name)
            self.offset = 0

    async def _flush(self) -> None:
        """Hand the buffer to a thread. One is under way at most, so that memory stays bounded while the next portion is
        received."""
        await self._settled()
        if self._descriptor < 0:
            raise InvalidArgument(f"{self._name()} is finished already")
        if self._buffer:
            buffer, self._buffer, self._buffered = self._buffer, [], 0
            self._flushing = asyncio.ensure_future(asyncio.to_thread(self._store_portion, buffer, self.offset))

    async def _settled(self) -> None:
        """A cancelled waiter must not leave the thread writing to a descriptor that is closed under it, hence the shield and
        the second wait."""
        flushing, self._flushing = self._flushing, None
        if flushing is None:
            return
        try:
            await asyncio.shield(flushing)
        except asyncio.CancelledError:
            await asyncio.wait([flushing])
            raise
        except OSError as error:
            raise disk_error(error, f"write {self._name()}") from error

    def _store_portion(self, buffer: list[bytes | memoryview], total: int) -> None:
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        crashpoints.hit("content.ingest.after-write")
        if self.follow is not None:
            self.follow(total)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        self._store.finished(self._reference)

    def _name(self) -> str:
        return self._expected or self._reference or "the content"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.abort()
