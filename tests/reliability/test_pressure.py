"""Containers that take all they can: output, memory, processes. The others, the daemon and the supervisor do not notice."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gorae.client.engine import Engine
from gorae.client.http import Response
from tests import census
from tests.reliability.scenarios import Stage
from tests.running import until

pytestmark = pytest.mark.kernel

MEGABYTE = 1 << 20
FIRST = 1_000_000


# ── output ──


def test_a_container_writes_on_while_the_daemon_is_dead(stage: Stage) -> None:
    """10 MB/s for 5 s (a minute in tests/soak). It never waits for anybody, and no line is lost."""
    assert write_without_daemon(stage, seconds=5) < 5 * 1.5 + 1


def write_without_daemon(stage: Stage, seconds: int) -> float:
    """The seconds it took; all lines are there."""
    rounds, lines = seconds * 10, 1000  # a tenth of a second's 1 MB, in lines of 1,000 bytes
    write = f"n=$((i + {lines})); while [ $i -lt $n ]; do echo ${{i}}{'x' * 992}; i=$((i+1)); done; usleep 60000"
    loop = f"i={FIRST}; k=0; while [ $k -lt {rounds} ]; do {write}; k=$((k+1)); done"
    options = {"Type": "local", "Config": {"max-size": "2g"}}
    stage.create("chatty", "sh", "-c", loop, HostConfig={"LogConfig": options})
    begun = time.monotonic()
    stage.engine.start("chatty")
    identity = stage.engine.inspect("chatty")["Id"]
    stage.daemon.kill()
    record = stage.daemon.exec_root / "containers" / identity / "exit.json"
    until(record.exists, "its end", seconds * 3 + 10)
    took = time.monotonic() - begun
    stage.daemon.start()
    assert stage.ended("chatty", 0)
    response = stage.engine.logs("chatty", {"stdout": True, "tail": "all"})
    numbers = [int(line[:7]) for block in whole_lines(response) for line in block.split(b"\n") if len(line) == 999]
    response.connection.close()
    assert numbers == list(range(FIRST, FIRST + rounds * lines))
    return took


def whole_lines(response: Response) -> Iterator[bytes]:
    """The payload of Docker's framed log stream, cut at line ends."""
    rest = b""
    for data in payloads(response):
        block, separator, behind = (rest + data).rpartition(b"\n")
        rest = behind
        if separator:
            yield block
    assert rest == b""


def payloads(response: Response) -> Iterator[bytes]:
    """Head of 8 bytes (its last four are the length, big-endian), payload, and so on."""
    buffer, at = b"", 0
    for piece in response.chunks():
        buffer, at = buffer[at:] + piece, 0
        while len(buffer) - at >= 8:
            end = at + 8 + int.from_bytes(buffer[at + 4 : at + 8], "big")
            if end > len(buffer):
                break
            yield buffer[at + 8 : end]
            at = end


def test_a_flood_is_rotated(stage: Stage) -> None:
    options = {"Type": "local", "Config": {"max-size": "1m", "max-file": "3"}}
    with growth(stage.daemon.process.pid, stage.daemon.supervisor_pid()) as grown:  # type: ignore[union-attr]
        stage.run("flood", "seq", "1", "4000000", HostConfig={"LogConfig": options})
        assert stage.wait_for_end("flood") == 0
    identity = stage.engine.inspect("flood")["Id"]
    files = sorted((stage.daemon.data_root / "containers" / identity).glob("*.log*"))
    assert 1 <= len(files) <= 3
    assert all(file.stat().st_size <= MEGABYTE + 65536 + 64 for file in files)
    numbers = [int(line) for line in stage.daemon.docker("logs", "flood").stdout.split()]
    assert numbers == list(range(4_000_001 - len(numbers), 4_000_001))
    assert len(numbers) > 100_000
    assert max(grown) < 20 * MEGABYTE


def test_a_line_of_64_megabytes(stage: Stage) -> None:
    with growth(stage.daemon.process.pid, stage.daemon.supervisor_pid()) as grown:  # type: ignore[union-attr]
        stage.run("line", "sh", "-c", "head -c 67108864 /dev/zero | tr '\\0' x; echo")
        assert stage.wait_for_end("line") == 0
        response = stage.engine.logs("line", {"stdout": True})
        size = sum(len(data) for data in payloads(response))
        response.connection.close()
    assert size == 64 * MEGABYTE + 1
    assert max(grown) < 16 * MEGABYTE


@contextmanager
def growth(*pids: int) -> Iterator[list[int]]:
    """How much the peak of each one's resident memory lies above what it had before."""
    grown: list[int] = []
    before = [census.resident(pid) for pid in pids]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    yield grown
    grown += [peak(pid) - size for pid, size in zip(pids, before, strict=True)]


def peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


# ── memory ──

GREEDY = "tail /dev/zero"
SMALL = {"Memory": 24 * MEGABYTE, "MemorySwap": 24 * MEGABYTE}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["tail", "/dev/zero"], 137),
        (["sh", "-c", f"{GREEDY}; exit 0"], 0),
        (["sh", "-c", "dd if=/dev/zero of=/dev/shm/full bs=1M count=60; exit 0"], 0),
    ],
    ids=["main", "child", "tmpfs"],
)
def test_out_of_memory(stage: Stage, command: list[str], code: int) -> None:
    since = time.time() - 1
    stage.run("greedy", *command, HostConfig={**SMALL, "ShmSize": 100 * MEGABYTE})
    assert stage.wait_for_end("greedy") == code
    state = stage.state("greedy")
    assert state["OOMKilled"] is True
    events = told(stage, since, "oom")
    assert events, "no event"
    finished = datetime.fromisoformat(state["FinishedAt"][:26] + "+00:00").timestamp()
    assert abs(events[0]["timeNano"] / 1e9 - finished) <= 1
    stage.engine.ping()


def told(stage: Stage, since: float, action: str) -> list[dict[str, Any]]:
    filters = {"event": [action], "container": ["greedy"]}
    return list(stage.engine.events({"since": f"{since:.6f}", "until": f"{time.time():.6f}", "filters": filters}))


# ── processes ──


# Busybox's shell gives up at the first fork that fails; this one does not.
BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


def test_a_fork_bomb(stage: Stage) -> None:
    def start_another() -> float:
        stage.create("bystander", "true")
        begun = time.monotonic()
        stage.engine.start("bystander")
        took = time.monotonic() - begun
        stage.wait_for_end("bystander")
        stage.engine.remove("bystander")
        return took

    quiet = statistics.median(start_another() for _ in range(9))
    stage.run("bomb", os.path.realpath(sys.executable), "-c", BOMB, Image="host", HostConfig={"PidsLimit": 50})
    until(lambda: len(stage.engine.call("GET", "/containers/bomb/top")["Processes"]) >= 50, "all that it may")
    under = statistics.median(start_another() for _ in range(9))
    begun = time.monotonic()
    stage.engine.remove("bomb", force=True)
    assert time.monotonic() - begun < 1
    assert under <= max(2 * quiet, 0.05), (quiet, under)


def test_orphans(stage: Stage) -> None:
    """A thousand of them: --init reaps them; without it they are PID 1's affair, and go with it. The supervisor has none."""
    orphans = "i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done; echo made; exec sleep 1000"
    stage.run("reaped", "sh", "-c", orphans, HostConfig={"Init": True, "PidsLimit": 2000})
    stage.run("unreaped", "sh", "-c", f"(sleep 0.2; true) & {orphans}", HostConfig={"PidsLimit": 2000})
    for name in ("reaped", "unreaped"):
        until(lambda name=name: b"made" in stage.daemon.docker("logs", name).stdout, "they are made", 30)
    until(lambda: zombies(stage, "reaped") == 0, "all are reaped")
    assert zombie_children(stage.daemon.supervisor_pid()) == 0
    begun = time.monotonic()
    stage.engine.remove("unreaped", force=True)
    stage.engine.remove("reaped", force=True)
    assert time.monotonic() - begun < 2


def zombies(stage: Stage, name: str) -> int:
    identity = stage.engine.inspect(name)["Id"]
    directory = next(path for path in census.cgroup_directories(stage.daemon.cgroup_parent) if path.endswith(identity))
    return sum(state_of(pid)[0] == "Z" for pid in census.members(directory))


def zombie_children(parent: int) -> int:
    states = [state_of(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    return sum(state == "Z" and of == parent for state, of in states)


def state_of(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


# ── the supervisor ──


def test_the_supervisor_is_killed_twenty_times(stage: Stage) -> None:
    for name in ("one", "two", "three"):
        stage.run(name, "sleep", "1000")
    pids = {name: stage.state(name)["Pid"] for name in ("one", "two", "three")}
    slowest = 0.0
    for _ in range(20):
        before = stage.daemon.supervisor_pid()
        begun = time.monotonic()
        os.kill(before, 9)
        until(lambda before=before: stage.daemon.supervisor_pid() not in (0, before), "another supervisor")
        stage.run("probe", "true")
        slowest = max(slowest, time.monotonic() - begun)
        stage.wait_for_end("probe")
        stage.engine.remove("probe")
    assert {name: stage.state(name)["Pid"] for name in pids} == pids
    assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())
    assert slowest < 1.5, slowest
    stage.engine.act("one", "kill")
    assert stage.ended("one", 137)


# ── nothing grows ──


def test_two_hundred_runs_leave_nothing(stage: Stage) -> None:
    fill_the_events(stage)
    figures = runs(stage, 200, warm=300)  # the supervisor remembers the last few hundred steps that it has made
    assert max(figures["descriptors"]) <= 2, figures
    assert max(figures["bytes a run"]) <= 1024, figures
    assert max(figures["threads"]) <= 0, figures


def fill_the_events(stage: Stage) -> None:
    """The last 1,024 are kept: until there are so many, the daemon grows."""
    stage.run("talkative", "sleep", "1000")
    for _ in range(1030):
        stage.engine.exec_create("talkative", {"Cmd": ["true"]})
    stage.engine.remove("talkative", force=True)


def runs(stage: Stage, count: int, warm: int) -> dict[str, list[float]]:
    """Creates, starts, awaits and removes; what daemon and supervisor have more than before: [daemon, supervisor]."""
    assert stage.daemon.process is not None
    pids = (stage.daemon.process.pid, stage.daemon.supervisor_pid())
    stage.daemon.before = stage.daemon.count()
    for _ in range(warm):
        one_run(stage.engine)
    before = [(sum(census.descriptors(pid).values()), census.resident(pid), threads(pid)) for pid in pids]
    for _ in range(count):
        one_run(stage.engine)
    until(lambda: not stage.daemon.left_behind(0), "all is gone", 5)
    after = [(sum(census.descriptors(pid).values()), census.resident(pid), threads(pid)) for pid in pids]
    differences = [[now - then for now, then in zip(*both, strict=True)] for both in zip(after, before, strict=True)]
    return {
        "descriptors": [fds for fds, _, _ in differences],
        "bytes a run": [size / count for _, size, _ in differences],
        "threads": [more for _, _, more in differences],
    }


def one_run(engine: Engine) -> None:
    identity = engine.create({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.start(identity)
    response = engine.wait(identity)
    assert json.loads(response.read())["StatusCode"] == 0
    response.connection.close()
    engine.remove(identity)


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))

