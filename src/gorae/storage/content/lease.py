"""Leases: what is being assembled is not garbage.

    async with await leases.take("pull busybox") as lease:
        … blobs and snapshots arrive, each held by `lease` …
        … the row in `images` is written …
    # from here on the image protects them

A lease without an end dies with its process: the next start drops it. One with `seconds` (an upload into a registry) outlives
restarts until then.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Self

from gorae import crashpoints
from gorae.storage.db.database import Database

Kind = Literal["content", "snapshot"]


class Lease:
    def __init__(self, database: Database, id: str) -> None:
        self.id = id
        self._database = database

    async def hold(self, kind: Kind, keys: Iterable[str]) -> frozenset[str]:
        """Protect what is there already; answers which of `keys` were (the others have to be fetched)."""
        wanted = tuple(keys)
        table, column = ("content", "digest") if kind == "content" else ("snapshots", "key")

        def hold(connection: sqlite3.Connection) -> frozenset[str]:
            there = []
            for key in wanted:
                if connection.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (key,)).fetchone():
                    connection.execute("INSERT OR REPLACE INTO lease_holds VALUES (?, ?, ?)", (self.id, kind, key))
                    there.append(key)
            return frozenset(there)

        return await self._database.write(hold)

    async def promise(self, kind: Kind, keys: Iterable[str]) -> None:
        """Protect what is about to come."""
        rows = [(self.id, kind, key) for key in keys]
        statement = "INSERT OR REPLACE INTO lease_holds VALUES (?, ?, ?)"
        await self._database.write(lambda connection: connection.executemany(statement, rows).rowcount)

    async def release(self) -> None:
        """Again: does nothing."""
        crashpoints.hit("lease.release.before-row")
        statement = "DELETE FROM leases WHERE id = ?"
        await self._database.write(lambda connection: connection.execute(statement, (self.id,)).rowcount, essential=True)
        crashpoints.hit("lease.release.after-row")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.release()


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, database: Database) -> Leases:
        """Drops those whose process has died (there is one daemon a data root) and those that have expired."""
        statement = "DELETE FROM leases WHERE expires IS NULL OR expires < ?"
        await database.write(lambda connection: connection.execute(statement, (time.time_ns(),)).rowcount)
        return cls(database)

    async def take(self, purpose: str, *, seconds: float | None = None) -> Lease:
        id = secrets.token_hex(16)
        now = time.time_ns()
        row = (id, purpose, now, None if seconds is None else now + int(seconds * 1e9))
        crashpoints.hit("lease.take.before-row")
        await self._database.write(lambda connection: connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?)", row).rowcount)
        crashpoints.hit("lease.take.after-row")
        return Lease(self._database, id)
