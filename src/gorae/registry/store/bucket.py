"""A store in a bucket, through obstore: S3 and its likes, GCS, Azure, or memory (for tests).

    <upload>/begun              empty: the upload is there
    <upload>/<offset>           a part: the bytes from there on, at most PART; twelve digits and more, zero-filled

An append is spooled to a nameless file and put part by part, each with "only if it is not there", so that of two appends at one
place one wins. Commit reads the parts through the hash into the final object, which a bucket shows only when it is complete: a
wrong digest raises before the last part, and nothing appears. A slow client costs disk, not memory: parts are in memory only on
their way to the bucket, one part and one commit at a time, 10 MB for each lane.

Buckets that refuse conditional writes (`If-None-Match`) cannot be used.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import IO, Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from gorae.errors import CorruptData, GoraeError, Unavailable
from gorae.oci.digest import Digest
from gorae.registry.store.seam import Entry, OutOfOrder, UnknownUpload

PART = 2 << 20
LEAST = 5 << 20
"""Of a part of a multipart upload, by the rules of S3."""
STREAM = 1 << 20
BEGUN = "begun"

Answer = TypeVar("Answer")


class Remote:
    """A blob in a bucket."""

    file: IO[bytes] | None = None

    def __init__(self, store: Any, key: str, size: int) -> None:
        self.size = size
        self._store = store
        self._key = key

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        if start >= stop:
            return
        found = await _asked(lambda: obstore.get_async(self._store, self._key, options={"range": (start, stop)}))
        try:
            async for chunk in found.stream(min_chunk_size=STREAM // 4):
                yield bytes(chunk)
        except BaseError as error:
            raise Unavailable(f"storage: {_first_line(error)}") from error

    def close(self) -> None:
        pass


class Bucket:
    """The store behind an obstore object."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._parts_lane = asyncio.Lock()
        self._commits_lane = asyncio.Lock()

    # Objects.

    async def read(self, key: str) -> bytes | None:
        try:
            found = await _asked(lambda: obstore.get_async(self._store, key))
            return bytes(await _asked(found.bytes_async))
        except FileNotFoundError:
            return None

    async def stat(self, key: str) -> Entry | None:
        try:
            found = await _asked(lambda: obstore.head_async(self._store, key))
        except FileNotFoundError:
            return None
        return Entry(key, found["size"], found["last_modified"].timestamp())

    async def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        await _asked(lambda: obstore.put_async(self._store, key, data, use_multipart=False))

    async def create(self, key: str, data: bytes) -> bool:
        try:
            await _asked(lambda: obstore.put_async(self._store, key, data, mode="create"))
        except AlreadyExistsError:
            return False
        return True

    async def delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            await _asked(lambda: obstore.delete_async(self._store, key))

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        try:
            async for batch in obstore.list(self._store, prefix, chunk_size=1000):
                for found in batch:
                    yield Entry(found["path"], found["size"], found["last_modified"].timestamp())
        except BaseError as error:
            raise Unavailable(f"storage: {_first_line(error)}") from error

    async def open(self, key: str) -> Remote | None:
        found = await self.stat(key)
        return None if found is None else Remote(self._store, key, found.size)

    async def aclose(self) -> None:
        return None

    # Uploads.

    async def begin(self, upload: str) -> None:
        await self.write(f"{upload}/{BEGUN}", b"")

    async def offset(self, upload: str) -> int:
        return _end(await self._parts(upload))

    async def append(self, upload: str, offset: int | None, chunks: AsyncIterator[bytes]) -> int:
        size = _end(await self._parts(upload))
        if offset is not None and offset != size:
            raise OutOfOrder(size)
        with tempfile.TemporaryFile() as spool:
            try:
                async for chunk in chunks:
                    await asyncio.to_thread(spool.write, chunk)
                    if spool.tell() >= PART:
                        size = await self._put(upload, size, spool)
            finally:
                size = await self._put(upload, size, spool)
        return size

    async def commit(self, upload: str, digest: Digest, key: str) -> int:
        parts = await self._parts(upload)
        known = await self.stat(key)
        if known is not None:  # what is there is left; the digest is checked all the same
            async for _ in self._checked(upload, parts, digest):
                pass
            return known.size
        size = _end(parts)
        async with self._commits_lane:
            if size <= STREAM:
                data = b"".join([chunk async for chunk in self._checked(upload, parts, digest)])
                await self.write(key, data)
            else:
                stream = self._checked(upload, parts, digest)
                await _asked(lambda: obstore.put_async(self._store, key, stream, chunk_size=LEAST, max_concurrency=1))
        return size

    async def cancel(self, upload: str) -> bool:
        keys = [entry.key async for entry in self.entries(upload)]
        for key in keys:
            await self.delete(key)
        return bool(keys)

    async def _put(self, upload: str, offset: int, spool: IO[bytes]) -> int:
        """The spool's bytes as the part at `offset`; empties the spool. Answers the new size."""
        length = spool.tell()
        if not length:
            return offset
        async with self._parts_lane:
            spool.seek(0)
            data = await asyncio.to_thread(spool.read, length)
            if not await self.create(f"{upload}/{offset:016d}", data):
                raise OutOfOrder(await self.offset(upload))
        spool.seek(0)
        spool.truncate()
        return offset + length

    async def _parts(self, upload: str) -> list[Entry]:
        """In order, without a hole."""
        found = sorted([entry async for entry in self.entries(upload)], key=lambda entry: entry.key)
        if not found:
            raise UnknownUpload("no such upload")
        parts: list[Entry] = []
        for entry in found:
            word = entry.key.rpartition("/")[2]
            if word.isdigit() and int(word) == _end(parts):
                parts.append(entry)
        return parts

    async def _checked(self, upload: str, parts: list[Entry], digest: Digest) -> AsyncIterator[bytes]:
        """The upload's bytes; `CorruptData` instead of the last when the digest is another one."""
        hasher = hashlib.new(digest.algorithm)
        held = b""
        for part in parts:
            async for chunk in Remote(self._store, part.key, part.size).chunks(0, part.size):
                await asyncio.to_thread(hasher.update, chunk)
                if held:
                    yield held
                held = chunk
        if hasher.hexdigest() != digest.hex:
            raise CorruptData(f"the upload's digest is {digest.algorithm}:{hasher.hexdigest()}, not {digest}")
        if held:
            yield held


def _end(parts: list[Entry]) -> int:
    return int(parts[-1].key.rpartition("/")[2]) + parts[-1].size if parts else 0


async def _asked(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What the bucket answers; its failures as `Unavailable`, except that something is not there or is there already."""
    try:
        return await ask()
    except (FileNotFoundError, AlreadyExistsError, GoraeError):
        raise
    except PreconditionError as error:
        raise AlreadyExistsError(str(error)) from error
    except BaseError as error:
        raise Unavailable(f"storage: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
