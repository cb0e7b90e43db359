"""One writer, many readers, group commit, migrations."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from gorae.errors import Conflict, CorruptData, StorageFull, Unavailable
from gorae.storage.db.database import Database
from gorae.storage.db.schema import CONTENT_ROOTS, MIGRATIONS, SNAPSHOT_ROOTS


def put(key: str, value: str = "x"):
    return lambda connection: connection.execute("INSERT INTO meta VALUES (?, ?)", (key, value)).rowcount


def keys(connection: sqlite3.Connection) -> list[str]:
    return [key for (key,) in connection.execute("SELECT key FROM meta ORDER BY key")]


async def test_what_was_written_is_read_at_once_and_after_reopening(database: Database, tmp_path: Path) -> None:
    assert await database.write(put("a")) == 1
    assert database.read(keys) == ["a"]
    database.close()
    again = Database.open(tmp_path / "gorae.db")
    assert again.read(keys) == ["a"]
    again.close()


async def test_a_failing_write_is_undone_alone_even_in_a_shared_commit(database: Database) -> None:
    gate = threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        gate.wait(10)

    def fail(connection: sqlite3.Connection) -> None:
        put("lost")(connection)
        raise KeyError("mine")

    first = database.submit(hold)
    rest = [database.submit(put("a")), database.submit(fail), database.submit(put("a")), database.submit(put("b"))]
    gate.set()
    first.result(10)
    assert rest[0].result(10) == 1
    with pytest.raises(KeyError):
        rest[1].result(10)
    with pytest.raises(Conflict):
        rest[2].result(10)
    assert rest[3].result(10) == 1
    assert database.read(keys) == ["a", "b"]


async def test_writes_that_wait_together_share_one_commit(database: Database) -> None:
    gate = threading.Event()
    commits: list[str] = []
    database.submit(lambda connection: connection.set_trace_callback(lambda sql: commits.append(sql))).result(10)
    first = database.submit(lambda connection: gate.wait(10))
    rest = [database.submit(put(str(number))) for number in range(40)]
    gate.set()
    first.result(10)
    for future in rest:
        future.result(10)
    assert commits.count("COMMIT") <= 3
    assert len(database.read(keys)) == 40


async def test_many_tasks_write_at_once(database: Database) -> None:
    await asyncio.gather(*(database.write(put(f"{number:03}")) for number in range(200)))
    assert len(database.read(keys)) == 200


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageFull):
        database.read(put("a"))
    assert database.read(keys) == []


def test_an_uncommitted_write_is_not_seen(database: Database) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        put("a")(connection)
        inside.set()
        go.wait(10)

    future = database.submit(slow)
    assert inside.wait(10)
    assert database.read(keys) == []
    go.set()
    future.result(10)
    assert database.read(keys) == ["a"]


def test_closing_finishes_what_is_queued_and_refuses_the_rest(database: Database, tmp_path: Path) -> None:
    futures = [database.submit(put(str(number))) for number in range(10)]
    database.close()
    database.close()
    assert all(future.result(0) == 1 for future in futures)
    with pytest.raises(Unavailable):
        database.submit(put("late"))
    with pytest.raises(Unavailable):
        database.read(keys)


HISTORY = (
    "CREATE TABLE one (a TEXT); INSERT INTO one VALUES ('semi;colon');",
    "ALTER TABLE one ADD COLUMN b TEXT DEFAULT 'new';",
    "CREATE TABLE three (c TEXT);",
)


@pytest.mark.parametrize("version", range(len(HISTORY) + 1))
def test_migration_from_each_older_version(tmp_path: Path, version: int) -> None:
    Database.open(tmp_path / "db", HISTORY[:version]).close()
    database = Database.open(tmp_path / "db", HISTORY)
    assert database.read(lambda connection: connection.execute("SELECT a, b FROM one").fetchall()) == [("semi;colon", "new")]
    assert database.read(lambda connection: connection.execute("PRAGMA user_version").fetchone()[0]) == 3
    database.close()


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    broken = (HISTORY[0], "CREATE TABLE two (a TEXT); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(Unavailable):
        Database.open(tmp_path / "db", broken)
    database = Database.open(tmp_path / "db", HISTORY)
    assert database.read(lambda connection: connection.execute("SELECT b FROM one").fetchall()) == [("new",)]
    database.close()


def test_a_newer_schema_is_refused_in_words(tmp_path: Path) -> None:
    Database.open(tmp_path / "db", HISTORY).close()
    with pytest.raises(CorruptData, match=r"schema 3.*up to 2 only.*newer gorae"):
        Database.open(tmp_path / "db", HISTORY[:2])


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"hello" * 1000)
    with pytest.raises(CorruptData, match="damaged"):
        Database.open(tmp_path / "db")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageFull):
        Database.open(tmp_path / "missing" / "db")


def test_the_roots_of_garbage_collection_are_queries_on_the_real_schema(database: Database) -> None:
    for query in CONTENT_ROOTS + SNAPSHOT_ROOTS:
        assert database.read(lambda connection, query=query: connection.execute(query).fetchall()) == []
    assert database.read(lambda connection: connection.execute("PRAGMA user_version").fetchone()[0]) == len(MIGRATIONS)


def test_the_file_is_private(database: Database, tmp_path: Path) -> None:
    assert (tmp_path / "gorae.db").stat().st_mode & 0o777 == 0o600
