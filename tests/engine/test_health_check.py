"""Health checks: the state machine, and what it does to real containers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.home import Home, started, until, wish

from gorae.engine.container.health_check import KEPT, SECOND, Check, after, check_of, merged, verify, wait_before, wish_of
from gorae.engine.container.model import Health, Probe, RestartPolicy
from gorae.engine.container.restart_policy import wanted_after
from gorae.engine.engine import Engine
from gorae.engine.image.model import HealthCheck
from gorae.errors import InvalidArgument

CHECK = Check(command=("x",), interval=30, timeout=1, start_period=100, start_interval=5, retries=3)


def probe(code: int) -> Probe:
    return Probe(start=1, end=2, exit_code=code)


def run(*codes: int, age: int = 1000) -> Health:
    health = Health()
    for code in codes:
        health = after(health, probe(code), CHECK, age)
    return health


@pytest.mark.parametrize(
    ("codes", "status", "streak"),
    [
        ((), "starting", 0),
        ((0,), "healthy", 0),
        ((1, 1), "starting", 2),
        ((1, 1, 1), "unhealthy", 3),
        ((1, 1, 0), "healthy", 0),
        ((0, 1, 1), "healthy", 2),
        ((0, 1, 1, 7), "unhealthy", 3),
        ((1, 1, 1, 1, 0), "healthy", 0),
    ],
)
def test_the_table(codes: tuple[int, ...], status: str, streak: int) -> None:
    health = run(*codes)
    assert (health.status, health.failing_streak) == (status, streak)


def test_failures_in_the_start_period_do_not_count() -> None:
    health = run(1, 1, 1, 1, age=99)
    assert (health.status, health.failing_streak, len(health.log)) == ("starting", 0, 4)
    assert wait_before(health, CHECK, 99) == 5
    assert wait_before(health, CHECK, 100) == 30
    healthy = after(health, probe(0), CHECK, 99)
    assert wait_before(healthy, CHECK, 99) == 30  # a success ends it
    assert after(healthy, probe(1), CHECK, 99).failing_streak == 1


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 300)), max_size=30))
def test_invariants(observed: list[tuple[int, int]]) -> None:
    health = Health()
    for code, age in observed:
        before, health = health, after(health, probe(code), CHECK, age)
        assert len(health.log) <= KEPT
        assert health.log[-1].exit_code == code
        assert (health.status == "healthy") if code == 0 else health.status in (before.status, "unhealthy")
        assert health.status != "unhealthy" or health.failing_streak >= CHECK.retries
        assert health.failing_streak in (0, before.failing_streak, before.failing_streak + 1)


def test_the_wish_and_the_image() -> None:
    image = HealthCheck(test=("CMD", "a"), interval=7, retries=2)
    assert merged(None, image) == image
    assert merged(HealthCheck(retries=9), image) == HealthCheck(test=("CMD", "a"), interval=7, retries=9)
    assert check_of(merged(HealthCheck(test=("NONE",)), image), None) is None
    assert check_of(None, None) is None
    found = check_of(HealthCheck(test=("CMD-SHELL", "true")), ("/bin/bash", "-c"))
    assert found is not None
    assert (found.command, found.interval, found.retries) == (("/bin/bash", "-c", "true"), 30 * SECOND, 3)
    assert wish_of({"Test": ["CMD", "x"], "Retries": 4}) == HealthCheck(test=("CMD", "x"), retries=4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (HealthCheck(interval=1000), "Interval in Healthcheck cannot be less than 1ms"),
        (HealthCheck(start_interval=-1), "StartInterval in Healthcheck"),
        (HealthCheck(retries=-1), "Retries in Healthcheck cannot be negative"),
        (HealthCheck(test=("SHELL", "x")), "Unknown healthcheck type 'SHELL'"),
    ],
)
def test_nonsense_is_refused(given: HealthCheck, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        verify(given)


# For real


def checked(command: str, **fields: object) -> dict[str, object]:
    return {"Test": ["CMD-SHELL", command], "Interval": 20_000_000, "Timeout": SECOND, "Retries": 2, **fields}


async def status(engine: Engine, identity: str, wanted: str) -> Health:
    def found() -> Health | None:
        health = engine.containers.inspect(identity).state.health
        return health if health is not None and health.status == wanted else None

    result: Health = await until(found, f"{wanted}")
    return result


@pytest.mark.kernel
async def test_it_turns_healthy_and_unhealthy_and_back(engine: Engine) -> None:
    check = checked("echo seen; test -e /tmp/well")
    identity = await started(engine, wish("sh", "-c", "touch /tmp/well; exec sleep 1000", healthcheck=check))
    assert (await status(engine, identity, "healthy")).log[-1].output == "seen\n"
    await exec_(engine, identity, "rm", "/tmp/well")
    assert (await status(engine, identity, "unhealthy")).failing_streak >= 2
    assert [each.id for each in await engine.containers.list(filters={"health": ("unhealthy",)})] == [identity]
    await exec_(engine, identity, "touch", "/tmp/well")
    await status(engine, identity, "healthy")
    await engine.containers.pause(identity)
    before = engine.containers.inspect(identity).state.health
    await engine.containers.unpause(identity)
    assert before is not None
    assert before.status == "healthy"
    await until(lambda: engine.containers.inspect(identity).exec_ids == (), "probes are forgotten")


async def exec_(engine: Engine, identity: str, *command: str) -> None:
    from gorae.engine.container.model import ExecConfig

    made = await engine.containers.exec_create(identity, ExecConfig(command=command))
    await engine.containers.exec_start(made, detach=True)
    await until(lambda: engine.containers.exec_inspect(made).exit_code == 0, "the exec has ended")


@pytest.mark.kernel
async def test_a_probe_that_takes_too_long_is_killed(engine: Engine) -> None:
    identity = await started(engine, wish("sleep", "1000", healthcheck=checked("echo begun; sleep 1000", Timeout=50_000_000)))
    health = await status(engine, identity, "unhealthy")
    assert health.log[-1].exit_code == -1
    assert "exceeded timeout (0.05s)" in health.log[-1].output
    await engine.containers.pause(identity)  # no probe runs now
    assert len(await engine.containers.top(identity)) <= 3
    await engine.containers.unpause(identity)


@pytest.mark.kernel
async def test_a_command_that_is_not_there(engine: Engine) -> None:
    identity = await started(engine, wish("sleep", "1000", healthcheck={**checked(""), "Test": ["CMD", "/nonsense"]}))
    assert "/nonsense" in (await status(engine, identity, "unhealthy")).log[-1].output


@pytest.mark.kernel
async def test_on_unhealthy_brings_it_back_as_often_as_was_said(engine: Engine) -> None:
    config = wish("sleep", "1000", healthcheck=checked("false"), stop_timeout=0,
                  restart_policy=RestartPolicy(name="on-unhealthy", maximum_retry_count=2))  # fmt: skip
    identity = await started(engine, config)


    def given_up() -> bool:
        found = engine.containers.inspect(identity)
        return found.state.status == "exited" and found.restart_count == 2

    await until(given_up, "it is given up")
    container = engine.containers.inspect(identity)
    assert not wanted_after(container)


@pytest.mark.kernel
async def test_checks_go_on_with_the_next_engine(home: Home) -> None:
    engine = await home.open()
    identity = await started(engine, wish("sleep", "1000", healthcheck=checked("true")))
    await status(engine, identity, "healthy")
    await home.close()
    engine = await home.open()
    first = engine.containers.inspect(identity).state.health
    assert first is None or first.status in ("starting", "healthy")
    await status(engine, identity, "healthy")
