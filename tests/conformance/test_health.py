"""Health checks and restart policies through the docker CLI, docker-py and our own CLI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest
from tests.running import Daemon, until

pytestmark = [pytest.mark.kernel, pytest.mark.peer]


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[Any]:
    connected = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto")
    yield connected
    connected.close()


FLAGS = ("--health-interval", "30ms", "--health-retries", "2", "--health-timeout", "5s")


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_flags_status_and_events(daemon: Daemon, client: Any, program: str) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    stream = client.events(decode=True, filters={"type": "container"})
    script = "touch /tmp/ok; exec sleep 1000"
    check = ("--health-cmd", "test -e /tmp/ok", *FLAGS)
    identity = run("run", "-d", "--network", "none", *check, "busybox", "sh", "-c", script).stdout.decode().strip()
    try:
        container = client.containers.get(identity)
        until(lambda: "(healthy)" in run("ps").stdout.decode(), "healthy in ps")
        container.reload()
        health = container.attrs["State"]["Health"]
        assert (health["Status"], health["FailingStreak"], health["Log"][-1]["ExitCode"]) == ("healthy", 0, 0)
        assert container.attrs["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "test -e /tmp/ok"]
        assert container.health == "healthy"
        container.exec_run("rm /tmp/ok")
        until(lambda: "(unhealthy)" in run("ps", "--filter", "health=unhealthy").stdout.decode(), "unhealthy in ps")
        told = []
        for event in stream:
            told.append(event["Action"])
            if event["Action"] == "health_status: unhealthy":
                break
        stream.close()
        assert [action for action in told if action.startswith("health")] == ["health_status: healthy", "health_status: unhealthy"]
    finally:
        daemon.docker("rm", "-f", identity)


def test_the_images_check_and_none(daemon: Daemon, client: Any) -> None:
    made = client.containers.create("busybox", ["true"], network_mode="none")
    made.commit("checked", changes='HEALTHCHECK --interval=30ms CMD ["true"]')
    made.remove()
    try:
        with_check = client.containers.run("checked", ["sleep", "1000"], network_mode="none", detach=True)
        without = daemon.docker("run", "-d", "--no-healthcheck", "--network", "none", "checked", "sleep", "1000")
        until(lambda: client.containers.get(with_check.id).health == "healthy", "the image's check")
        other = client.containers.get(without.stdout.decode().strip())
        assert "Health" not in other.attrs["State"]
        with_check.remove(force=True)
        other.remove(force=True)
    finally:
        client.images.remove("checked")


def test_nonsense(daemon: Daemon) -> None:
    done = daemon.docker("create", "--health-interval", "1ns", "--health-cmd", "x", "busybox", check=False)
    assert b"Interval in Healthcheck cannot be less than 1ms" in done.stderr


def _seen(client: Any, identity: str) -> tuple[int, str]:
    found = client.containers.get(identity)
    return found.attrs["RestartCount"], found.status


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_restart_policies(daemon: Daemon, client: Any, program: str) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    words = ("--network", "none", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3")
    identity = run("run", "-d", *words).stdout.decode().strip()
    container = client.containers.get(identity)
    try:
        until(lambda: _seen(client, identity) == (2, "exited"), "twice")
        assert client.containers.get(identity).attrs["State"]["ExitCode"] == 3
        container.update(restart_policy={"Name": "always"})
        container.start()
        until(lambda: client.containers.get(identity).attrs["RestartCount"] >= 2, "again and again")
        container.stop(timeout=0)
        assert client.containers.get(identity).status == "exited"
    finally:
        container.remove(force=True)
