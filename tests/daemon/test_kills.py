"""The daemon and the supervisor are killed at bad moments; nothing is lost, nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.running import Daemon, until
from tests.soak import kills

from gorae.supervisor.client import SupervisorClient

pytestmark = pytest.mark.kernel

NONE = {"NetworkMode": "none"}
TICKER = "i=0; while :; do echo $i; i=$((i+1)); usleep 1000; done"


@pytest.fixture(scope="module", autouse=True)
def _running(daemon: Daemon) -> None:
    """All of this module's tests use one daemon, killed often."""


def start(daemon: Daemon, *command: str, **config: object) -> str:
    body = {"Image": "busybox", "Cmd": list(command), "HostConfig": NONE} | config
    identity: str = daemon.engine.create(body)["Id"]
    daemon.engine.start(identity)
    return identity


def lines(daemon: Daemon, identity: str) -> list[str]:
    return daemon.docker("logs", identity).stdout.decode().split()


def test_containers_run_on_and_ps_tells_the_truth_at_once(daemon: Daemon) -> None:
    ticking = start(daemon, "sh", "-c", TICKER)
    ending = start(daemon, "sh", "-c", "sleep 0.3; exit 17")
    pid = daemon.engine.inspect(ticking)["State"]["Pid"]
    daemon.kill()
    until(
        lambda: (
            not os.path.exists(daemon.exec_root / "containers" / ending)
            or (daemon.exec_root / "containers" / ending / "exit.json").exists()
        ),
        "its end",
    )
    assert Path(f"/proc/{pid}").exists()
    assert daemon.start() < 2
    states = {found["Id"]: found["State"] for found in daemon.engine.containers({"all": True})}
    assert (states[ticking], states[ending]) == ("running", "exited")
    assert daemon.engine.inspect(ticking)["State"]["Pid"] == pid
    assert daemon.engine.inspect(ending)["State"]["ExitCode"] == 17
    daemon.docker("kill", ticking)
    numbers = [int(line) for line in lines(daemon, ticking)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 100
    daemon.docker("rm", ticking, ending)
    assert daemon.left_behind() == []


@pytest.mark.parametrize("number", range(10))
def test_killed_in_the_middle_of_work(daemon: Daemon, number: int) -> None:
    """Four clients work while the daemon dies; what was acknowledged holds afterwards, and the rest left nothing."""
    _, seconds, wrong = kills.one_round(daemon, number, 0.05 * number)
    assert wrong == []
    assert seconds < 2


def test_an_exec_and_a_removal_survive(daemon: Daemon) -> None:
    identity = start(daemon, "sleep", "1000")
    daemon.kill()
    daemon.start()
    assert daemon.docker("exec", identity, "echo", "hi").stdout == b"hi\n"
    daemon.docker("rm", "-f", identity)
    assert daemon.left_behind() == []


def test_auto_removal_happens_even_if_nobody_watched(daemon: Daemon) -> None:
    identity = start(daemon, "sh", "-c", "sleep 0.2", HostConfig=NONE | {"AutoRemove": True})
    daemon.kill()
    pid_gone = daemon.exec_root / "containers" / identity / "exit.json"
    until(pid_gone.exists, "its end")
    daemon.start()
    until(lambda: daemon.engine.containers({"all": True}) == [], "the removal")
    assert daemon.left_behind() == []


def test_a_killed_supervisor_is_replaced(daemon: Daemon) -> None:
    ticking = start(daemon, "sh", "-c", TICKER)
    ending = start(daemon, "sh", "-c", "sleep 1; exit 9")
    pid = daemon.engine.inspect(ticking)["State"]["Pid"]
    before = daemon.supervisor_pid()
    os.kill(before, signal.SIGKILL)
    until(lambda: daemon.supervisor_pid() not in (0, before), "another supervisor")
    until(lambda: daemon.docker("exec", ticking, "true", check=False).returncode == 0, "an exec through it")
    assert Path(f"/proc/{pid}").exists()
    until(lambda: daemon.engine.inspect(ending)["State"]["Status"] == "exited", "the other's end")
    assert daemon.engine.inspect(ending)["State"]["ExitCode"] == 9
    count = len(lines(daemon, ticking))
    until(lambda: len(lines(daemon, ticking)) > count, "further lines")
    daemon.docker("rm", "-f", ticking, ending)
    assert daemon.left_behind() == []


def test_a_supervisor_killed_after_a_new_daemon_came_loses_no_stream(daemon: Daemon) -> None:
    """The new daemon has asked for duplicates of what runs; without them the program would die of SIGPIPE here."""
    ticking = start(daemon, "sh", "-c", TICKER)
    pid = daemon.engine.inspect(ticking)["State"]["Pid"]
    daemon.kill()
    daemon.start()
    before = daemon.supervisor_pid()
    os.kill(before, signal.SIGKILL)
    until(lambda: daemon.supervisor_pid() not in (0, before), "another supervisor")
    count = len(lines(daemon, ticking))
    until(lambda: len(lines(daemon, ticking)) > count, "further lines")
    assert daemon.engine.inspect(ticking)["State"]["Pid"] == pid
    daemon.docker("kill", ticking)
    numbers = [int(line) for line in lines(daemon, ticking)]
    assert numbers == list(range(len(numbers)))
    daemon.docker("rm", ticking)
    assert daemon.left_behind() == []


def test_the_supervisor_upgrades_in_place(daemon: Daemon) -> None:
    """With a container that writes, one that ends meanwhile, and a session on a terminal that goes on."""
    from tests.conformance.test_docker_cli import Terminal

    ticking = start(daemon, "sh", "-c", TICKER)
    terminal = Terminal(daemon, "run", "--rm", "-it", "--network", "none", "busybox", "sh")
    terminal.type(b"x=kept; echo rea''dy\n")
    terminal.expect(b"ready")
    ending = start(daemon, "sh", "-c", "sleep 0.05; exit 5")
    pid = daemon.supervisor_pid()
    asyncio.run(upgrade(daemon))
    assert daemon.supervisor_pid() == pid
    terminal.type(b"echo $x && exit 8\n")
    terminal.expect(b"kept")
    assert terminal.end() == 8
    until(lambda: daemon.engine.inspect(ending)["State"]["Status"] == "exited", "its end")
    assert daemon.engine.inspect(ending)["State"]["ExitCode"] == 5
    daemon.docker("kill", ticking)
    numbers = [int(line) for line in lines(daemon, ticking)]
    assert numbers == list(range(len(numbers)))
    daemon.docker("rm", ticking, ending)
    assert daemon.left_behind() == []


async def upgrade(daemon: Daemon) -> None:
    client = await SupervisorClient.connect(str(daemon.exec_root / "supervisor" / "supervisor.sock"))
    try:
        await client.upgrade()
    finally:
        await client.aclose()


def test_a_second_daemon_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    import sys

    command = [
        sys.executable,
        "-I",
        "-m",
        "gorae.daemon.main",
        "--data-root",
        str(daemon.data_root),
        "--exec-root",
        str(tmp_path / "run"),
    ]
    done = subprocess.run([*command, "--host", f"unix://{tmp_path}/s"], capture_output=True, timeout=5, check=False)
    assert done.returncode == 1
    assert b"another daemon uses the data root" in done.stderr
    assert daemon.engine.ping()


def test_stop_leaves_containers_running_and_the_next_daemon_has_them(daemon: Daemon) -> None:
    identity = start(daemon, "sleep", "1000")
    pid = daemon.engine.inspect(identity)["State"]["Pid"]
    daemon.stop()
    assert Path(f"/proc/{pid}").exists()
    daemon.start()
    assert json.loads(daemon.docker("inspect", identity).stdout)[0]["State"]["Pid"] == pid
    daemon.docker("rm", "-f", identity)


def test_without_containers_stop_ends_the_supervisor_too(daemon: Daemon) -> None:
    pid = daemon.supervisor_pid()
    daemon.stop()
    until(lambda: not Path(f"/proc/{pid}").exists(), "its end")
    daemon.start()
