"""A data root that an earlier version wrote: it is brought up to date, nothing is lost, and what ran runs on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gorae.errors import CorruptData
from gorae.storage.db.database import Database
from gorae.storage.db.schema import MIGRATIONS
from tests.reliability.scenarios import Stage
from tests.running import Daemon, until

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_state_of_an_earlier_schema(tmp_path: Path, version: int) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.import_busybox()
        stage = Stage(daemon)
        stage.run("ended", "sh", "-c", "exit 7")
        stage.create("created", "true", Labels={"kept": "yes"}, HostConfig={"Memory": 64 << 20})
        stage.run("running", "sleep", "1000", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
        stage.engine.tag("busybox", "another", "name")
        stage.wait_for_end("ended")
        until(lambda: stage.ended("ended", 7), "its end")
        before = {name: stage.engine.inspect(name) for name in ("ended", "created", "running")}
        daemon.kill()
        write_as(daemon.data_root / "gorae.db", version)
        daemon.start()
        for name, told in before.items():
            now = stage.engine.inspect(name)
            assert {key: now[key] for key in ("Id", "State", "Config", "Image")} == {
                key: told[key] for key in ("Id", "State", "Config", "Image")
            }
        assert stage.image("another:name") == stage.image("busybox")
        stage.engine.start("created")
        assert stage.wait_for_end("created") == 0


def write_as(path: Path, version: int) -> None:
    """What this version has written, in the tables and columns that the earlier one knew."""
    earlier = path.with_name("earlier.db")
    Database.open(earlier, MIGRATIONS[:version]).close()
    with closing(sqlite3.connect(earlier, isolation_level=None)) as connection:
        connection.execute("ATTACH DATABASE ? AS now", (str(path),))
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            present = {row[1] for row in connection.execute(f"PRAGMA now.table_info({table})")}
            if present and not table.startswith("sqlite_"):
                words = ", ".join(column for column in columns if column in present)
                connection.execute(f"INSERT INTO main.{table} ({words}) SELECT {words} FROM now.{table}")
        assert connection.execute("PRAGMA main.user_version").fetchone()[0] == version
        connection.execute("DETACH DATABASE now")
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    earlier.rename(path)


def test_state_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gorae.db"
    Database.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(CorruptData, match="a newer gorae wrote it"):
        Database.open(path)
