"""A database and a store in a fresh directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gorae.storage.content.lease import Lease, Leases
from gorae.storage.content.store import Store
from gorae.storage.db.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "gorae.db")
    yield database
    database.close()


@pytest.fixture
async def store(tmp_path: Path, database: Database) -> Store:
    return await Store.open(str(tmp_path / "content"), database)


@pytest.fixture
async def lease(database: Database) -> AsyncIterator[Lease]:
    async with await (await Leases.open(database)).take("test") as lease:
        yield lease
