"""Clients that send nonsense, are slow, or are many; and daemons that are two."""

from __future__ import annotations

import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gorae.errors import NotFound
from tests import census
from tests.reliability import malformed
from tests.reliability.scenarios import Stage
from tests.running import Daemon, until

pytestmark = pytest.mark.kernel

MEGABYTE = 1 << 20


def connect(daemon: Daemon) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(daemon.socket))
    return connection


def ping(daemon: Daemon) -> float:
    begun = time.monotonic()
    daemon.engine.ping(timeout=10)
    return time.monotonic() - begun


def pings(daemon: Daemon, count: int = 200) -> float:
    """p99 in seconds."""
    return statistics.quantiles([ping(daemon) for _ in range(count)], n=100)[98]


def status_of(answer: bytes) -> int:
    """0 when the connection was closed without an answer."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


# ── nonsense ──


@pytest.fixture(scope="module")
def named(daemon: Daemon) -> Iterator[Daemon]:
    """With a container for the requests that name one."""
    Stage(daemon).create("one", "true")
    yield daemon
    with suppress(NotFound):  # another test has removed all there was
        daemon.engine.remove("one")


@pytest.mark.parametrize("name", malformed.REQUESTS)
def test_malformed(named: Daemon, name: str) -> None:
    process = named.process
    with connect(named) as connection:
        try:
            connection.sendall(malformed.REQUESTS[name])
            if name in malformed.CUT_OFF:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.3 if name in malformed.IGNORED else 10)
            answer = connection.recv(65536)
        except TimeoutError:
            assert name in malformed.IGNORED, "no answer"
            answer = b""
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    status = status_of(answer)
    assert status < 500 or status in (501, 505), answer
    assert b"Traceback" not in answer
    assert min(ping(named) for _ in range(3)) <= 0.05
    assert named.process is process
    assert process is not None
    assert process.poll() is None


def test_there_are_93_kinds() -> None:
    assert len(malformed.REQUESTS) >= 93


# ── slow ones ──

HALVES = (b"GET /containers/json HT", b'POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 900\r\n\r\n{"Im')


def test_two_hundred_half_sent_requests(daemon: Daemon) -> None:
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connect(daemon))
            connection.sendall(HALVES[number % 2])
        assert min(pings(daemon) for _ in range(3)) <= 0.02


def test_a_hundred_slow_readers(stage: Stage) -> None:
    """Each follows the log of one that writes all it can, and reads nothing. Memory stays bounded; the container is not held up."""
    daemon = stage.daemon
    assert daemon.process is not None
    options = {"Type": "local", "Config": {"max-size": "10m", "max-file": "2"}}
    stage.run("flood", "sh", "-c", "while :; do seq 1 20000; usleep 100000; done", HostConfig={"LogConfig": options})
    before = census.resident(daemon.process.pid)
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(connect(daemon))
            connection.sendall(b"GET /containers/flood/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: d\r\n\r\n")
            assert status_of(connection.recv(64)) == 200
        assert min(pings(daemon) for _ in range(3)) <= 0.02
        identity = stage.engine.inspect("flood")["Id"]
        log = daemon.data_root / "containers" / identity
        size = written(log)
        until(lambda: written(log) != size, "the container writes on")
        assert census.resident(daemon.process.pid) - before < 100 * MEGABYTE
    stage.engine.remove("flood", force=True)


def written(log: Path) -> list[tuple[str, int]]:
    return sorted((file.name, file.stat().st_size) for file in log.glob("*.log*"))


# ── many ──


def test_a_thousand_connections(daemon: Daemon) -> None:
    assert daemon.process is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    pid = daemon.process.pid
    descriptors, memory = sum(census.descriptors(pid).values()), census.resident(pid)
    try:
        with ExitStack() as stack:
            streams = []
            for _ in range(1000):
                connection = stack.enter_context(connect(daemon))
                connection.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
                streams.append(connection)
            assert [status_of(connection.recv(4096)) for connection in streams] == [200] * 1000
            assert census.resident(pid) - memory < 50 * MEGABYTE
            assert daemon.engine.containers({"all": True}) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: sum(census.descriptors(pid).values()) <= descriptors + 2, "their descriptors are closed")


# ── two daemons ──


def test_two_daemons_at_the_same_instant(tmp_path: Path) -> None:
    for turn in range(3):
        arguments = [sys.executable, "-I", "-m", "gorae.daemon.main", "--data-root", str(tmp_path / "data")]
        rooms = [Path(f"/run/gorae-twin-{os.getpid()}-{turn}-{number}") for number in range(2)]
        commands = [[*arguments, "--exec-root", str(room)] for room in rooms]
        twins = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
        try:
            until(lambda twins=twins: any(twin.poll() is not None for twin in twins), "one is refused", 10)
            refused, staying = sorted(twins, key=lambda twin: twin.poll() is None)
            assert refused.wait(1) == 1
            assert refused.stderr is not None
            assert b"another daemon uses the data root" in refused.stderr.read()
            until(lambda rooms=rooms: any(answers(room / "docker.sock") for room in rooms), "the other serves", 10)
            assert staying.poll() is None
        finally:
            for twin in twins:
                twin.terminate()
                twin.wait(10)
                assert twin.stderr is not None
                twin.stderr.close()
            for room in rooms:
                subprocess.run(["rm", "-rf", str(room)], check=True)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return connection.recv(12).endswith(b"200")
        except OSError:
            return False
