"""The data root.

    /var/lib/gorae      0710
      lock              flock(2) by the one daemon
      gorae.db          records (db/)
      content/          blobs (content/)
      snapshots/        layers and containers' own files (snapshot/)
      containers/<id>/  logs, hosts, hostname, resolv.conf (engine/container)
      reserve           space for the records of ends and removals on a full disk
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import NamedTuple, Self

from gorae import crashpoints
from gorae.errors import Conflict, GoraeError
from gorae.storage.content.garbage import forget
from gorae.storage.content.lease import Lease, Leases
from gorae.storage.content.store import Store
from gorae.storage.db.database import Database
from gorae.storage.disk import disk_error
from gorae.storage.reserve import Reserve
from gorae.storage.snapshot.overlay import OverlaySnapshotter


class Collected(NamedTuple):
    bytes: int  # as du(1) counts
    snapshots: tuple[str, ...]  # keys, children before their parents


class DataRoot:
    """`await DataRoot.open(path)`, `await aclose()`; or `async with await DataRoot.open(path) as root`."""

    def __init__(self, path: str, database: Database, leases: Leases, content: Store, snapshots: OverlaySnapshotter) -> None:
        self.path = path
        self.database = database
        self.leases = leases
        self.content = content
        self.snapshots = snapshots
        self._closing = AsyncExitStack()

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Lock, open, and sweep away what a killed predecessor left half-made. `Conflict` when another daemon holds it."""
        name = await asyncio.to_thread(os.path.realpath, path)
        async with AsyncExitStack() as stack:
            try:
                os.makedirs(name, mode=0o710, exist_ok=True)
                os.chmod(name, 0o710)
                lock = os.open(os.path.join(name, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise disk_error(error, f"use the data root {name}") from error
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"another daemon uses the data root {name}: stop it, or name another data-root") from None
            reserve = Reserve(os.path.join(name, "reserve"))
            database = Database.open(os.path.join(name, "gorae.db"), reserve=reserve)
            stack.callback(database.close)
            leases = await Leases.open(database)
            content = await Store.open(os.path.join(name, "content"), database)
            snapshots = await OverlaySnapshotter.open(os.path.join(name, "snapshots"), database)
            stack.push_async_callback(snapshots.aclose)
            root = cls(name, database, leases, content, snapshots)
            reserve.fill()
            root._closing = stack.pop_all()
            return root

    @asynccontextmanager
    async def assembling(self, purpose: str) -> AsyncIterator[Lease]:
        """A lease for what is being brought in. When that fails, what has come so far goes again."""
        try:
            async with await self.leases.take(purpose) as lease:
                yield lease
        except BaseException:
            with suppress(GoraeError):  # then the next collection takes it
                await asyncio.shield(self.collect_garbage())
            raise

    async def collect_garbage(self) -> Collected:
        """Free what neither an image, a container nor a lease reaches (content/garbage.py)."""
        crashpoints.hit("garbage.before-rows")
        garbage = await self.database.write(forget, essential=True)
        crashpoints.hit("garbage.after-rows")
        numbers = [number for number, _ in garbage.snapshots]
        freed = await asyncio.to_thread(self.snapshots.measure, numbers)
        self.snapshots.discard(numbers)
        crashpoints.hit("garbage.after-snapshots")
        freed += await self.content.unlink_forgotten(garbage.digests)
        crashpoints.hit("garbage.after-blobs")
        return Collected(freed, tuple(key for _, key in garbage.snapshots))

    async def aclose(self) -> None:
        """Again: does nothing."""
        await self._closing.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
