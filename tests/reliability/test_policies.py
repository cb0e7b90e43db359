"""Restart policies over time: the numbers exactly, with a clock of the test's own, and one real crash loop."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from gorae.engine.container import restart_policy
from gorae.engine.container.model import Container, ContainerConfig, RestartPolicy, State
from tests.reliability.scenarios import Stage
from tests.running import until


def waits(policy: RestartPolicy, runs: list[tuple[float, int]]) -> list[float]:
    """The wait after each run (seconds that it lasted, exit code), until the policy gives up."""
    found: list[float] = []
    in_a_row = 0
    for count, (lasted, code) in enumerate(runs):
        in_a_row = restart_policy.in_a_row(in_a_row, lasted)
        config = ContainerConfig(image="image", restart_policy=policy)
        state = State(status="exited", exit_code=code)
        ended = Container("id", "name", 0, "image", config, state, "program", restart_count=count)
        if not restart_policy.wanted_after(ended):
            break
        found.append(restart_policy.wait_before(in_a_row))
        in_a_row += 1
    return found


ALWAYS = RestartPolicy(name="always")


def test_the_back_off_doubles_to_a_minute() -> None:
    assert waits(ALWAYS, [(0.0, 1)] * 13) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60, 60]


def test_ten_minutes_of_crashes() -> None:
    """What the plan's crash loop would show in ten minutes, in no time: 19 runs."""
    clock, runs = 0.0, 0
    for wait in waits(ALWAYS, [(0.0, 1)] * 100):
        runs += 1
        clock += wait
        if clock > 600:
            break
    assert runs == 19


def test_a_run_of_ten_seconds_begins_anew() -> None:
    assert waits(ALWAYS, [(0, 1), (0, 1), (9.99, 1), (10, 1), (0, 1)]) == [0.1, 0.2, 0.4, 0.1, 0.2]


@pytest.mark.parametrize("most", [1, 3, 7])
def test_on_failure_counts(most: int) -> None:
    policy = RestartPolicy(name="on-failure", maximum_retry_count=most)
    assert len(waits(policy, [(0, 1)] * 20)) == most
    assert waits(policy, [(0, 1), (0, 0), (0, 1)]) == [0.1][: most]


@pytest.mark.kernel
def test_a_crash_loop(stage: Stage) -> None:
    since = time.time() - 1
    stage.run("loop", "sh", "-c", "exit 1", HostConfig={"RestartPolicy": {"Name": "always"}})
    until(lambda: stage.engine.inspect("loop")["RestartCount"] >= 5, "five restarts")
    begun = time.monotonic()
    stage.engine.act("loop", "stop")
    assert time.monotonic() - begun < 1
    events = told(stage, since)
    ends = [event["timeNano"] for event in events if event["Action"] == "die"]
    starts = [event["timeNano"] for event in events if event["Action"] == "start"]
    gaps = [(start - end) / 1e9 for end, start in zip(ends, starts[1:], strict=False)]
    for gap, wait in zip(gaps, (0.1, 0.2, 0.4, 0.8, 1.6), strict=False):
        assert wait <= gap < wait + 0.5, gaps
    count = stage.engine.inspect("loop")["RestartCount"]
    assert stage.state("loop")["Status"] == "exited"
    stage.daemon.engine.ping()
    until(lambda: time.monotonic() > begun + 2, "longer than the next wait would be: it is not started again", 3)
    assert (stage.state("loop")["Status"], stage.engine.inspect("loop")["RestartCount"]) == ("exited", count)


@pytest.mark.kernel
def test_on_failure_three_times(stage: Stage) -> None:
    since = time.time() - 1
    stage.run("loop", "sh", "-c", "exit 9", HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}})
    until(lambda: stage.ended("loop", 9) and stage.engine.inspect("loop")["RestartCount"] == 3, "it gives up")
    assert sum(event["Action"] == "start" for event in told(stage, since)) == 4


@pytest.mark.kernel
def test_the_daemon_is_killed_in_a_back_off(stage: Stage) -> None:
    stage.run("loop", "sh", "-c", "exit 1", HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}})
    until(lambda: stage.state("loop")["Status"] == "restarting" and stage.engine.inspect("loop")["RestartCount"] >= 3, "a back-off")
    stage.daemon.kill()
    stage.daemon.start()
    assert stage.state("loop")["Status"] in ("restarting", "running", "exited")
    until(lambda: stage.ended("loop", 1) and stage.engine.inspect("loop")["RestartCount"] == 5, "the count goes on and ends at 5")


@pytest.mark.kernel
@pytest.mark.parametrize("try_", range(5))
def test_stop_wins_at_any_moment_of_a_loop(stage: Stage, try_: int) -> None:
    stage.run("loop", "true", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
    until(lambda: stage.engine.inspect("loop")["RestartCount"] >= 1, "a restart")
    moment = time.monotonic() + try_ * 0.03
    until(lambda: time.monotonic() >= moment, "some moment")
    begun = time.monotonic()
    stage.engine.act("loop", "stop")
    assert time.monotonic() - begun < 1
    assert stage.state("loop")["Status"] == "exited"
    until(lambda: time.monotonic() > begun + 0.5, "no restart comes after it", 1)
    assert stage.state("loop")["Status"] == "exited"


def told(stage: Stage, since: float) -> list[dict[str, Any]]:
    query = {"since": f"{since:.6f}", "until": f"{time.time():.6f}", "filters": {"container": ["loop"]}}
    events = list(stage.engine.events(query))
    assert all(earlier["timeNano"] <= later["timeNano"] for earlier, later in pairwise(events))
    return events
