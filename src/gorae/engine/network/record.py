"""Rows: `networks` (what was created) and `endpoints` (who is joined to what, while it runs). Each row's `record` is JSON.

An endpoint's row is written beside the birth and nobody waits for it alone: it is in the queue before the row that says "running",
so it is never missing when that one is there. A container that runs without row (we died between) is asked for its addresses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from concurrent.futures import Future

import msgspec

from gorae import errors
from gorae.engine.network.model import Endpoint, Network
from gorae.storage.db.database import Database

_encode = msgspec.json.Encoder().encode
_decode_network = msgspec.json.Decoder(Network).decode
_decode_endpoint = msgspec.json.Decoder(Endpoint).decode


class Records:
    def __init__(self, database: Database) -> None:
        self._database = database

    def networks(self) -> list[Network]:
        """Oldest first."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            return connection.execute("SELECT id, record FROM networks ORDER BY created, id").fetchall()

        try:
            return [_decode_network(record) for _, record in self._database.read(read)]
        except msgspec.MsgspecError as error:
            raise errors.CorruptData(f"database: a network cannot be read: {error}") from error

    def endpoints(self) -> list[Endpoint]:
        def read(connection: sqlite3.Connection) -> list[tuple[bytes]]:
            return connection.execute("SELECT record FROM endpoints").fetchall()

        try:
            return [_decode_endpoint(record) for (record,) in self._database.read(read)]
        except msgspec.MsgspecError as error:
            raise errors.CorruptData(f"database: an endpoint cannot be read: {error}") from error

    async def insert(self, network: Network) -> None:
        """Conflict in Docker's words when the name is taken."""
        record = _encode(network)

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM networks WHERE name = ?", (network.name,)).fetchone():
                raise name_clash(network.name)
            connection.execute(
                "INSERT INTO networks (id, name, created, record) VALUES (?, ?, ?, ?)",
                (network.id, network.name, network.created_at, record),
            )

        await self._database.write(write)

    async def delete(self, identity: str) -> None:
        """The network and whatever endpoints it still had."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM endpoints WHERE network = ?", (identity,))
            connection.execute("DELETE FROM networks WHERE id = ?", (identity,))

        await self._database.write(write)

    def join(self, endpoints: Iterable[Endpoint]) -> Future[None]:
        rows = [(each.id, each.network, each.container, _encode(each)) for each in endpoints]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO endpoints (id, network, container, record) VALUES (?, ?, ?, ?)", rows
            )

        return self._database.submit(write)

    def leave(self, endpoints: Iterable[Endpoint]) -> Future[None]:
        rows = [(each.id,) for each in endpoints]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM endpoints WHERE id = ?", rows)

        return self._database.submit(write)


def name_clash(name: str) -> errors.Conflict:
    return errors.Conflict(f"network with name {name} already exists")
