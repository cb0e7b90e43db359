"""Rows of the table `containers`: what was asked for, and what became of it.

    id · name (unique) · image · created · config (a Container without its state, JSON) · state ({"state", "handle"}, JSON)

`handle` is what a new supervisor needs, beside descriptors, to take a running container over; it lies in the same row as the
state, so that both change in one transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

import msgspec

from gorae import crashpoints, errors
from gorae.engine.container.model import Container, State, Struct
from gorae.storage.db.database import Database


class StateRecord(Struct, frozen=True):
    state: State
    handle: dict[str, Any] = {}
    restart_count: int = 0


class Row(NamedTuple):
    container: Container
    handle: dict[str, Any]


_encode = msgspec.json.Encoder().encode
_decode_container = msgspec.json.Decoder(Container).decode
_decode_state = msgspec.json.Decoder(StateRecord).decode


class Records:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, container: Container) -> None:
        """Durable when this returns. Conflict in Docker's words when the name is taken."""
        config, state = _config_of(container), _encode(StateRecord(state=container.state))

        def write(connection: sqlite3.Connection) -> None:
            taken = connection.execute("SELECT id FROM containers WHERE name = ?", (container.name,)).fetchone()
            if taken:
                raise name_clash(container.name, taken[0])
            connection.execute(
                "INSERT INTO containers (id, name, image, created, config, state) VALUES (?, ?, ?, ?, ?, ?)",
                (container.id, container.name, container.image_id, container.created_at, config, state),
            )

        crashpoints.hit("container.create.before-row")
        await self._database.write(write)
        crashpoints.hit("container.create.after-row")

    async def update(self, container: Container, handle: dict[str, Any]) -> None:
        """The new state (and restart count); nothing when the row is gone."""
        state = _encode(StateRecord(state=container.state, handle=handle, restart_count=container.restart_count))

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE containers SET state = ? WHERE id = ?", (state, container.id))

        status = container.state.status
        crashpoints.hit(f"container.{status}.before-row")
        await self._database.write(write, essential=True)
        crashpoints.hit(f"container.{status}.after-row")

    async def reconfigure(self, container: Container) -> None:
        """Another wish; the state stays."""
        config = _config_of(container)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE containers SET config = ? WHERE id = ?", (config, container.id))

        crashpoints.hit("container.update.before-row")
        await self._database.write(write)
        crashpoints.hit("container.update.after-row")

    async def rename(self, container: Container) -> None:
        config = _config_of(container)

        def write(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(
                    "UPDATE containers SET name = ?, config = ? WHERE id = ?", (container.name, config, container.id)
                )
            except sqlite3.IntegrityError:
                taken = connection.execute("SELECT id FROM containers WHERE name = ?", (container.name,)).fetchone()
                raise name_clash(container.name, taken[0]) from None

        crashpoints.hit("container.rename.before-row")
        await self._database.write(write)
        crashpoints.hit("container.rename.after-row")

    async def delete(self, identity: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM containers WHERE id = ?", (identity,))

        crashpoints.hit("container.remove.before-row")
        await self._database.write(write, essential=True)
        crashpoints.hit("container.remove.after-row")

    def all(self) -> list[Row]:
        """Oldest first. CorruptData names a row that cannot be read."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, bytes, bytes]]:
            return connection.execute("SELECT id, config, state FROM containers ORDER BY created, id").fetchall()

        rows = []
        for identity, config, state in self._database.read(read):
            try:
                record = _decode_state(state)
                kept = _decode_container(config)
                container = msgspec.structs.replace(kept, state=record.state, restart_count=record.restart_count)
            except msgspec.MsgspecError as error:
                raise errors.CorruptData(f"database: container {identity}: {error}") from error
            rows.append(Row(container, record.handle))
        return rows


def _config_of(container: Container) -> bytes:
    return _encode(msgspec.structs.replace(container, state=State(), restart_count=0, exec_ids=(), size_rw=None, size_root=None))


def name_clash(name: str, identity: str) -> errors.Conflict:
    return errors.Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{identity}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
