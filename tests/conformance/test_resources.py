"""What containers use and may use: each limit is shown to bite, and is told as docker tells it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import docker
import docker.errors
import pytest
from tests.running import Daemon, until

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

BUSY = "while :; do :; done"


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[Any]:
    connected = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto")
    yield connected
    connected.close()


@pytest.fixture
def busy(client: Any) -> Iterator[Any]:
    made = client.containers.run("busybox", ["sh", "-c", BUSY], network_mode="none", detach=True, mem_limit="64m", pids_limit=20)
    yield made
    with suppress(docker.errors.NotFound):
        made.remove(force=True)


def used(container: Any, seconds: float = 1.0) -> float:
    """CPUs that it had, by its own stats."""
    first = container.stats(stream=False, one_shot=True)
    time.sleep(seconds)
    second = container.stats(stream=False, one_shot=True)
    taken = second["cpu_stats"]["cpu_usage"]["total_usage"] - first["cpu_stats"]["cpu_usage"]["total_usage"]
    return float(taken / 1e9 / seconds)


def test_stats(busy: Any, client: Any) -> None:
    once = busy.stats(stream=False)
    assert (once["id"], once["name"], once["os_type"]) == (busy.id, f"/{busy.name}", "linux")
    assert once["memory_stats"]["limit"] == 64 << 20
    assert 0 < once["memory_stats"]["usage"] < 64 << 20
    assert once["pids_stats"] == {"current": 1, "limit": 20}
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > once["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert once["cpu_stats"]["system_cpu_usage"] > once["precpu_stats"]["system_cpu_usage"]
    stream = busy.stats(decode=True)
    first, second = next(stream), next(stream)
    assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert second["preread"] == first["read"]
    busy.remove(force=True)
    assert len([sample for sample in stream if sample["memory_stats"]]) <= 2  # and then it ends
    with pytest.raises(docker.errors.NotFound):
        client.api.stats("nobody", stream=False)


def test_stats_of_what_does_not_run(client: Any) -> None:
    made = client.containers.create("busybox", ["true"], network_mode="none")
    found = made.stats(stream=False)
    assert (found["id"], found["read"], found["memory_stats"]) == (made.id, "0001-01-01T00:00:00Z", {})
    made.remove()


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_the_command_lines_show_it(daemon: Daemon, busy: Any, program: str) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    form = "{{.Name}} {{.MemUsage}} {{.PIDs}} {{.CPUPerc}}"
    name, usage, _, limit, pids, cpu = run("stats", "--no-stream", "--format", form, busy.name).stdout.decode().split()
    assert (name, limit, pids) == (busy.name, "64MiB", "1")
    assert usage.endswith("KiB")
    assert float(cpu.rstrip("%")) > 5
    assert b"while" in run("top", busy.name).stdout


def test_cpu_time_is_limited_and_given_back(busy: Any) -> None:
    busy.update(cpu_quota=10_000, cpu_period=100_000)
    assert used(busy) < 0.2
    throttled = busy.stats(stream=False, one_shot=True)["cpu_stats"]["throttling_data"]
    assert throttled["throttled_periods"] > 0
    busy.reload()
    assert busy.attrs["HostConfig"]["CpuQuota"] == 10_000


def test_memory_kills_and_says_so(client: Any) -> None:
    made = client.containers.create(
        "busybox", ["sh", "-c", "sleep 1000 & wait; x=$(yes | head -c 200000000)"], network_mode="none", mem_limit="512m"
    )
    try:
        made.start()
        made.update(mem_limit="20m", memswap_limit="20m")
        assert made.exec_run(["sh", "-c", "x=$(yes | head -c 200000000)"]).exit_code != 0
        made.kill()
        made.wait()
        made.reload()
        assert made.attrs["State"]["OOMKilled"] is True
    finally:
        made.remove(force=True)


def test_a_fork_bomb_is_held(busy: Any) -> None:
    api = busy.client.api
    assert api._post_json(api._url("/containers/{0}/update", busy.id), data={"PidsLimit": 8}).status_code == 200
    output = busy.exec_run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all"]).output
    assert b"can't fork" in output
    assert busy.stats(stream=False, one_shot=True)["pids_stats"]["limit"] == 8


def test_what_is_in_use_cannot_be_taken_away(client: Any) -> None:
    script = "x=$(yes | head -c 30000000); echo full; sleep 1000; echo $x"
    made = client.containers.run("busybox", ["sh", "-c", script], network_mode="none", detach=True, mem_limit="100m")
    try:
        until(lambda: made.logs() == b"full\n", "memory is used")
        with pytest.raises(docker.errors.APIError) as refused:
            made.update(mem_limit="8m", memswap_limit="8m")
        assert refused.value.status_code == 409
        made.reload()
        assert made.attrs["HostConfig"]["Memory"] == 100 << 20
    finally:
        made.remove(force=True)


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_update_from_the_command_line(daemon: Daemon, busy: Any, program: str) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    limits = ("--memory", "80m", "--memory-swap", "160m", "--cpus", "0.5", "--pids-limit", "30", "--restart", "on-failure:2")
    run("update", *limits, busy.name)
    busy.reload()
    host = busy.attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (80 << 20, 160 << 20, 500_000_000, 30)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert used(busy) < 0.75
    assert run("update", "--memory", "1m", busy.name, check=False).returncode == 1
    assert run("update", "--cpu-quota", "1000", busy.name, check=False).returncode == 1


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_disk_usage_and_prune(daemon: Daemon, client: Any, program: str) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    kept = client.containers.run("busybox", ["sleep", "1000"], network_mode="none", detach=True, labels={"keep": "1"})
    gone = client.containers.run("busybox", ["sh", "-c", "yes | head -c 3000000 > /file"], network_mode="none", detach=True)
    gone.wait()
    try:
        rows = [json.loads(line) for line in run("system", "df", "--format", "json").stdout.decode().splitlines()]
        found = {row["Type"]: row for row in rows}
        assert (found["Containers"]["TotalCount"], found["Containers"]["Active"]) == ("2", "1")
        assert found["Containers"]["Size"].startswith("3.0")
        assert found["Images"]["Active"] == "1"
        done = run("container", "prune", "-f", "--filter", "label!=keep").stdout
        assert gone.id.encode() in done
        assert b"reclaimed space: 3.0" in done
        client.containers.create("busybox", ["true"], network_mode="none")
        assert b"Total reclaimed space" in run("system", "prune", "-f").stdout
        assert [each.id for each in client.containers.list(all=True)] == [kept.id]
    finally:
        kept.remove(force=True)


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_history(daemon: Daemon, program: str) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    assert run("history", "--format", "{{.Comment}}", "busybox").stdout.decode().strip() == "Imported from -"


def test_checkpoints_are_answered_honestly(client: Any, busy: Any) -> None:
    url = client.api._url("/containers/{0}/checkpoints", busy.id)
    assert client.api.get(url).json() == []
    answer = client.api.post(url, json={"CheckpointID": "x"})
    assert (answer.status_code, "not supported" in answer.json()["message"]) == (501, True)
    assert client.api.delete(f"{url}/x").status_code == 404


@pytest.mark.parametrize("condition", ["not-running", "next-exit", "removed"])
def test_wait_conditions(client: Any, condition: str) -> None:
    made = client.containers.create("busybox", ["sh", "-c", "exit 7"], network_mode="none")
    url = client.api._url("/containers/{0}/wait", made.id)
    answer = client.api.post(url, params={"condition": condition}, stream=True)
    if condition == "not-running":
        assert answer.json()["StatusCode"] == 0
    made.start()
    made.wait()
    made.remove()
    if condition != "not-running":
        assert answer.json()["StatusCode"] == 7
