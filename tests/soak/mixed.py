"""A mixed load with a random fault every few seconds: daemon or supervisor killed, both, the supervisor upgraded, a full disk."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gorae.supervisor.client import SupervisorClient
from tests.reliability.disks import fill, small_disk
from tests.running import Daemon, until
from tests.soak import table
from tests.soak.kills import one_round, start


def kill_supervisor(daemon: Daemon, _: Path) -> None:
    before = daemon.supervisor_pid()
    os.kill(before, 9)
    until(lambda: daemon.supervisor_pid() not in (0, before), "another supervisor")


def upgrade(daemon: Daemon, _: Path) -> None:
    async def ask() -> None:
        client = await SupervisorClient.connect(str(daemon.exec_root / "supervisor" / "supervisor.sock"))
        try:
            await client.upgrade()
        finally:
            await client.aclose()

    asyncio.run(ask())


def fill_and_free(daemon: Daemon, disk: Path) -> None:
    ballast = fill(disk)
    try:
        daemon.engine.containers({"all": True})
        identity = next(found["Id"] for found in daemon.engine.containers({}) if found["State"] == "running")
        begun = time.monotonic()
        daemon.engine.act(identity, "kill")
        assert time.monotonic() - begun < 2
    finally:
        ballast.unlink()
    daemon.engine.start(identity)


def restart(daemon: Daemon, _: Path) -> None:
    daemon.stop()
    daemon.start()


FAULTS = (kill_supervisor, upgrade, fill_and_free, restart)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chosen = random.Random(arguments.seed)
    done: Counter[str] = Counter()
    wrong: list[str] = []
    restarts: list[float] = []
    folder = Path(tempfile.mkdtemp(prefix="gorae-soak-"))
    with small_disk(folder, 400) as disk, Daemon(folder) as daemon:
        daemon.import_busybox()
        kept = frozenset(start(daemon, "sleep", "1000000") for _ in range(5))
        daemon.before = daemon.count()
        end = time.monotonic() + arguments.minutes * 60
        while time.monotonic() < end:
            _, seconds, found = one_round(daemon, done.total(), chosen.uniform(0.05, 1), kept)
            restarts.append(seconds)
            # The daemon that died held duplicates of what it started; its follower holds them anew. Only more is a leak.
            wrong += [item for item in found if not item.startswith("processes")]
            fault = chosen.choice(FAULTS)
            fault(daemon, disk)
            done[fault.__name__] += 1
            running = {found["Id"] for found in daemon.engine.containers({}) if found["State"] == "running"}
            wrong += [f"after {fault.__name__}: {identity[:12]} does not run" for identity in kept - running]
        print("\n".join(wrong[:40]), dict(done))
    shutil.rmtree(folder)
    return table.show(
        f"{arguments.minutes:g} minutes, {done.total()} faults and as many kills",
        [table.Figure("wrong or left behind", len(wrong), 0), table.Figure("slowest restart, s", max(restarts), 3)],
    )


if __name__ == "__main__":
    sys.exit(main())
