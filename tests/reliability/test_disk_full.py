"""The disk is full: what ends or removes something works and is quick, what needs space says so and leaves nothing."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gorae.errors import GoraeError
from gorae.storage.db.database import Database
from gorae.storage.reserve import PORTION, SIZE, Reserve
from tests.reliability.disks import fill, mounted, small_disk
from tests.reliability.scenarios import Stage
from tests.running import Daemon, until

pytestmark = pytest.mark.kernel

PROMPT = 2.0
TALKER = ("sh", "-c", "i=0; while :; do echo line-$i-0123456789012345678901234567890123456789012345678901234567890123456789; "
          "i=$((i+1)); usleep 500; done")  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 160) as place:
        yield place


@pytest.fixture
def stage(tmp_path: Path, disk: Path) -> Iterator[Stage]:
    with Daemon(tmp_path) as daemon:
        daemon.import_busybox()
        yield Stage(daemon)


def quickly(work: Callable[[], object]) -> None:
    begun = time.monotonic()
    work()
    assert time.monotonic() - begun < PROMPT


def refused(work: Callable[[], object]) -> None:
    with pytest.raises(GoraeError, match="no space left on device"):
        work()


def recorded(daemon: Daemon, identity: str) -> str | None:
    """What the row says, as the next daemon would read it."""
    with closing(sqlite3.connect(f"file:{daemon.data_root}/gorae.db?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT state FROM containers WHERE id = ?", (identity,)).fetchone()
    return None if row is None else str(json.loads(row[0])["state"]["status"])


def test_a_full_disk(stage: Stage, disk: Path) -> None:
    daemon, engine = stage.daemon, stage.engine
    stage.create("restful", "sleep", "1000")
    for name in ("stopped", "killed", "forced", "kept"):
        stage.run(name, "sleep", "1000", StopSignal="SIGKILL")
    stage.run("ending", "sh", "-c", "read line; exit 5", OpenStdin=True)
    stage.run("talker", *TALKER)
    identities = {name: engine.inspect(name)["Id"] for name in ("restful", "stopped", "killed", "forced", "kept")}
    until(lambda: b"line-100-" in daemon.docker("logs", "talker").stdout, "some lines")
    ballast = fill(disk)
    before = daemon.count()

    quickly(lambda: engine.containers({"all": True}))
    quickly(lambda: engine.act("stopped", "stop"))
    quickly(lambda: engine.act("killed", "kill"))
    assert recorded(daemon, identities["stopped"]) == recorded(daemon, identities["killed"]) == "exited"
    for name, force in (("restful", False), ("forced", True), ("stopped", False)):
        quickly(lambda name=name, force=force: engine.remove(name, force=force))  # type: ignore[misc]
        assert recorded(daemon, identities[name]) is None
    assert stage.ended("killed", 137)

    fill(disk)  # what the removals have freed
    refused(lambda: stage.create("more", "true"))
    refused(lambda: stage.import_image("more", "x" * 50000))
    assert not stage.has("more")
    assert not stage.image("more")
    assert not [item for item in before.differences(daemon.count()) if not item.startswith(("descriptors", "processes"))]

    daemon.kill()
    assert daemon.start() < 3
    assert {name: stage.state(name)["Status"] for name in ("kept", "killed", "ending", "talker")} == {
        "kept": "running", "killed": "exited", "ending": "running", "talker": "running",
    }  # fmt: skip
    quickly(lambda: engine.act("kept", "stop"))
    assert stage.ended("kept", 137)

    ballast.unlink()
    stage.run("afterwards", "sh", "-c", "exit 3")
    assert stage.wait_for_end("afterwards") == 3
    check_talker(stage)
    until(lambda: (disk / "reserve").stat().st_blocks * 512 >= SIZE, "the reserve is there again")


def check_talker(stage: Stage) -> None:
    """Whatever is missing is told in its place: lines go on behind it, and no line is broken."""
    numbers = [1]

    def goes_on() -> bool:
        done = stage.daemon.docker("logs", "talker")
        numbers[:] = [int(number) for number in re.findall(rb"line-(\d+)-", done.stdout)]
        lost = re.findall(rb"gorae: (\d+) bytes of output were lost here", done.stderr)
        return bool(lost) and numbers[-1] - numbers[0] > len(numbers)

    until(goes_on, "the loss is told and output goes on", 10)
    assert numbers == sorted(set(numbers))
    stage.engine.act("talker", "kill")


def test_the_reserve_goes_where_it_is_lent(tmp_path: Path) -> None:
    with small_disk(tmp_path, 100) as disk:
        reserve = Reserve(str(disk / "reserve"))
        reserve.fill()
        assert reserve.left == SIZE
        database = Database.open(disk / "some.db", ["CREATE TABLE words (word TEXT)"], reserve)
        try:
            fill(disk)
            with pytest.raises(GoraeError, match="no space left on device"):
                insert_for_ever(database)
            database.submit(insert, essential=True).result(10)
            assert SIZE - 4 * PORTION <= reserve.left < SIZE
            assert database.read(lambda connection: connection.execute("SELECT count(*) FROM words").fetchone()[0]) >= 1
        finally:
            database.close()


def insert_for_ever(database: Database) -> None:
    while True:
        database.submit(insert).result(10)


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO words VALUES (?)", ("word" * 2000,))


def test_a_read_only_data_root_is_refused_in_words(tmp_path: Path) -> None:
    with small_disk(tmp_path, 100) as disk:
        with Daemon(tmp_path):
            pass
        mounted("mount", "-o", "remount,ro", str(disk))
        daemon = Daemon(tmp_path)
        with pytest.raises(AssertionError, match="read-only"):
            daemon.start()
        assert not daemon.exec_root.joinpath("supervisor", "supervisor.sock").exists()


def test_a_data_root_that_becomes_read_only(stage: Stage, disk: Path) -> None:
    """As a disk with errors does: what runs can be looked at and killed, its end is told; nothing hangs."""
    stage.run("sleeper", "sleep", "1000")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False)
    if "ro," not in next(line for line in Path("/proc/self/mounts").read_text().splitlines() if str(disk) in line):
        pytest.skip("files are open for writing: this kernel does not remount")
    quickly(lambda: stage.engine.act("sleeper", "kill"))
    assert stage.ended("sleeper", 137)
    with pytest.raises(GoraeError):
        stage.create("more", "true")
    mounted("mount", "-o", "remount,rw", str(disk))
