"""A blob on its way from an upstream into the store, once for all who ask, and read while it still comes.

    upstream ─▶ nameless file ─┬▶ readers, up to where it has grown; the last byte only when the digest is right
                               └▶ the store, when the digest is right
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import IO

import aiohttp

from gorae.errors import CorruptData, GoraeError, Unavailable
from gorae.oci.digest import Digest
from gorae.registry.repository import Repository

PIECE = 256 << 10


class Fill:
    """One transfer. `size` is known once `started` is done."""

    def __init__(self, repository: Repository, digest: Digest) -> None:
        self.digest = digest
        self.size: int | None = None
        self._repository = repository
        self._spool = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed when the last reader and the transfer are done
        self._users = 1
        self._received = 0
        self._verified = False
        self._error: GoraeError | None = None
        self._grown = asyncio.Condition()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, ask: Callable[[], AbstractAsyncContextManager[aiohttp.ClientResponse]]) -> None:
        """From the request to the stored blob. Failures are told to the readers, not raised."""
        try:
            async with ask() as response:
                await self._receive(response)
            await self._store()
        except GoraeError as error:
            self._error = error
        except BaseException:
            self._error = Unavailable(f"{self.digest}: its transfer was broken off")
            raise
        finally:
            if not self.started.done():
                self.started.set_result(None)
            async with self._grown:
                self._grown.notify_all()
            self.leave()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        self._users += 1

    def leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._spool.close()

    async def read(self, start: int, most: int) -> bytes:
        """What has come from `start` on, waiting for some."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._error is not None or self._readable() > start)
        self.check()
        return await asyncio.to_thread(os.pread, self._spool.fileno(), min(most, self._readable() - start), start)

    async def whole(self) -> int:
        """Waits for the end; its size."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._error is not None or self._verified)
        self.check()
        return self._received

    def _readable(self) -> int:
        return self._received if self._verified else self._received - 1

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            raise Unavailable(f"{self.digest}: the upstream answers {response.status}")
        self.size = response.content_length
        self.started.set_result(None)
        hasher = hashlib.new(self.digest.algorithm)
        async for data in response.content.iter_chunked(PIECE):
            await asyncio.to_thread(self._keep, data, hasher)
            if self.size is not None and self._received > self.size:
                break
            async with self._grown:
                self._grown.notify_all()
        if hasher.hexdigest() != self.digest.hex or self.size not in (None, self._received):
            raise CorruptData(f"{self.digest}: the upstream sent something else")
        self._verified, self.size = True, self._received
        async with self._grown:
            self._grown.notify_all()

    def _keep(self, data: bytes, hasher: hashlib._Hash) -> None:
        self._spool.write(data)
        hasher.update(data)
        self._received += len(data)

    async def _store(self) -> None:
        identifier = await self._repository.begin_upload()
        await self._repository.append(identifier, 0, self._pieces())
        await self._repository.commit(identifier, self.digest)

    async def _pieces(self) -> AsyncIterator[bytes]:
        start = 0
        while start < self._received:
            data = await self.read(start, PIECE)
            start += len(data)
            yield data


class Filling:
    """A `Content` of what still comes."""

    file: IO[bytes] | None = None

    def __init__(self, fill: Fill) -> None:
        self.size = 0
        self._fill: Fill | None = fill
        fill.join()

    async def begin(self) -> None:
        """Until its size is known: from the first answer or, where that does not say it, from the end."""
        assert self._fill is not None
        await asyncio.shield(self._fill.started)
        self._fill.check()
        self.size = self._fill.size if self._fill.size is not None else await self._fill.whole()

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        while start < stop:
            assert self._fill is not None
            data = await self._fill.read(start, min(PIECE, stop - start))
            start += len(data)
            yield data

    def close(self) -> None:
        if self._fill is not None:
            self._fill.leave()
            self._fill = None
