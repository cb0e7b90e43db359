"""The daemon dies by kill -9 in the middle of work, again and again.

four clients  runs with exit codes · creates · tags and untags · removes · one container that counts aloud
kill -9       at a random moment; then: what was acknowledged holds, exit codes are right, the counting has no gap, nothing is left
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Thread

from gorae.client.engine import Engine
from gorae.errors import GoraeError
from tests.running import Daemon, until
from tests.soak import table

NONE = {"NetworkMode": "none"}
TICKER = "i=0; while :; do echo $i; i=$((i+1)); usleep 5000; done"


@dataclass
class Round:
    """What was acknowledged."""

    number: int
    created: dict[str, int] = field(default_factory=dict)  # name → the exit code to come
    started: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    tagged: dict[str, bool] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        return len(self.created) + len(self.started) + len(self.removed) + len(self.tagged)

    def client(self, daemon: Daemon, number: int) -> None:
        try:
            with Engine(daemon.engine.endpoint) as engine:
                for turn in range(200):
                    self._turn(engine, f"r{self.number}n{number}t{turn}", number, turn)
        except (GoraeError, OSError):
            return

    def _turn(self, engine: Engine, name: str, number: int, turn: int) -> None:
        if number == 3:
            engine.tag("busybox", "soak", name)
            self.tagged[f"soak:{name}"] = True
            if turn % 2:
                del self.tagged[f"soak:{name}"]  # asked for, and not known until it is answered
                engine.remove_image(f"soak:{name}")
                self.tagged[f"soak:{name}"] = False
            return
        engine.create({"Image": "busybox", "Cmd": ["sh", "-c", f"exit {turn % 7}"], "HostConfig": NONE}, name)
        self.created[name] = turn % 7
        if number == 2:
            del self.created[name]
            engine.remove(name)
            self.removed.add(name)
            return
        engine.start(name)
        self.started.add(name)

    def lost(self, daemon: Daemon) -> list[str]:
        """What was acknowledged and is not so."""
        known = {name.removeprefix("/") for found in daemon.engine.containers({"all": True}) for name in found["Names"]}
        names = {name for image in daemon.engine.images({}) for name in image["RepoTags"]}
        found = [f"{name} is not there" for name in self.created.keys() - known]
        found += [f"{name} is there" for name in self.removed & known]
        found += [f"{name}: {'lost' if there else 'there'}" for name, there in self.tagged.items() if (name in names) != there]
        for name in known & self.started:
            state = daemon.engine.inspect(name)["State"]
            if (state["Status"], state["ExitCode"]) != ("exited", self.created[name]):
                found.append(f"{name}: {state['Status']} {state['ExitCode']} instead of {self.created[name]}")
        return found


def one_round(daemon: Daemon, number: int, patience: float, keep: frozenset[str] = frozenset()) -> tuple[Round, float, list[str]]:
    """Load, death, restart, looks. Answers what was acknowledged, the seconds of the restart, and what is wrong."""
    work = Round(number)
    threads = [Thread(target=work.client, args=(daemon, client)) for client in range(4)]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun >= patience and work.acknowledged >= 4, "some work")
    daemon.kill()
    for thread in threads:
        thread.join(20)
    seconds = daemon.start()
    until(lambda: all(settled(found, keep) for found in daemon.engine.containers({"all": True})), "their ends")
    wrong = work.lost(daemon)
    for found in daemon.engine.containers({"all": True}):
        if found["Id"] not in keep:
            daemon.engine.remove(found["Id"], force=True)
    for image in daemon.engine.images({}):
        for name in image["RepoTags"]:
            if name.startswith("soak:"):
                daemon.engine.remove_image(name)
    return work, seconds, wrong + daemon.left_behind()


def settled(found: dict[str, str], keep: frozenset[str]) -> bool:
    return found["Id"] in keep or found["State"] in ("exited", "created")


def start(daemon: Daemon, *command: str) -> str:
    identity: str = daemon.engine.create({"Image": "busybox", "Cmd": list(command), "HostConfig": NONE})["Id"]
    daemon.engine.start(identity)
    return identity


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--containers", type=int, default=50, help="that sleep all the time")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chosen = random.Random(arguments.seed)
    restarts: list[float] = []
    wrong: list[str] = []
    acknowledged = 0
    with table.daemon() as daemon:
        sleepers = [start(daemon, "sleep", "1000000") for _ in range(arguments.containers)]
        ticker = start(daemon, "sh", "-c", TICKER)
        pids = {identity: daemon.engine.inspect(identity)["State"]["Pid"] for identity in (*sleepers, ticker)}
        daemon.before = daemon.count()
        for number in range(arguments.rounds):
            work, seconds, found = one_round(daemon, number, chosen.uniform(0.05, 0.6), frozenset(pids))
            acknowledged += work.acknowledged
            restarts.append(seconds)
            wrong += [f"round {number}: {item}" for item in found if not is_ticking(item)]
            if number % 50 == 49:
                print(f"{number + 1} rounds, {acknowledged} acknowledged, {len(wrong)} wrong", flush=True)
        moved = sum(daemon.engine.inspect(identity)["State"]["Pid"] != pid for identity, pid in pids.items())
        daemon.engine.act(ticker, "kill")
        numbers = [int(line) for line in daemon.docker("logs", ticker, timeout=600).stdout.split()]
        gaps = sum(later - earlier != 1 for earlier, later in pairwise(numbers))
        print("\n".join(wrong[:40]))
    p99 = statistics.quantiles(restarts, n=100)[98] if len(restarts) > 1 else restarts[0]
    return table.show(
        f"{arguments.rounds} kills, {acknowledged} acknowledged operations, {len(pids)} containers, {len(numbers)} lines",
        [
            table.Figure("lost, wrong or left behind", len(wrong), 0),
            table.Figure("containers with another process", moved, 0),
            table.Figure("gaps in the counting", gaps, 0),
            table.Figure("restart to first answer, p99, s", p99, 1.0),
        ],
    )


def is_ticking(item: str) -> bool:
    """The ticker's `usleep` of the moment."""
    return item.startswith("processes")


if __name__ == "__main__":
    sys.exit(main())
