"""Updates merged, and the machine's tables read: pure. And an update that outlives the engine."""

from __future__ import annotations

import pytest
from tests.engine.home import Home, started, wish

from gorae.engine.container.model import Resources, RestartPolicy, ThrottleDevice
from gorae.engine.container.resources import translate
from gorae.engine.container.stats import COUNTERS, cpu_time, interfaces
from gorae.engine.container.update import merge
from gorae.errors import InvalidArgument, NotFound


def test_what_a_request_leaves_out_stays() -> None:
    old = Resources(memory=1 << 30, pids_limit=10, cpu_shares=7)
    assert merge(old, Resources(cpu_shares=9)) == Resources(memory=1 << 30, pids_limit=10, cpu_shares=9)
    assert merge(old, Resources(pids_limit=0)).pids_limit == 0
    assert merge(old, Resources()) == old


@pytest.mark.parametrize(
    ("old", "given", "words"),
    [
        (Resources(cpu_quota=1000), Resources(nano_cpus=10**9), "Nano CPUs cannot be updated"),
        (Resources(nano_cpus=10**9), Resources(cpu_period=1000), "CPU Quota or Period cannot be updated"),
        (Resources(memory=1, memory_swap=2), Resources(memory=3), "update the memoryswap at the same time"),
    ],
)
def test_contradictions(old: Resources, given: Resources, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        merge(old, given)


@pytest.mark.parametrize(("limit", "told"), [(None, None), (0, -1), (-1, -1), (5, 5)])
def test_pids(limit: int | None, told: int | None) -> None:
    pids = translate(Resources(pids_limit=limit), ()).pids
    assert (pids.limit if pids else None) == told


def test_proc_tables() -> None:
    assert cpu_time("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\ncpu1 1\nintr 5\n") == (360_000_000, 2)
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n"
        "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
        "  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
    )
    assert interfaces(text) == {
        "eth0": dict(zip(COUNTERS, (1, 2, 3, 4, 9, 10, 11, 12), strict=True)),
    }
    assert (interfaces(""), cpu_time("")) == ({}, (0, 0))


@pytest.mark.kernel
async def test_an_update_is_kept(home: Home) -> None:
    engine = await home.open()
    identity = await started(engine, wish("sleep", "1000"))
    await engine.containers.update(identity, Resources(memory=64 << 20, pids_limit=20), RestartPolicy(name="always"))
    await home.close()
    engine = await home.open()
    config = engine.containers.inspect(identity).config
    assert (config.resources.memory, config.resources.pids_limit, config.restart_policy.name) == (64 << 20, 20, "always")
    with pytest.raises(InvalidArgument, match="6MB"):
        await engine.containers.update(identity, Resources(memory=1 << 20))
    with pytest.raises(InvalidArgument, match="no such block device"):
        await engine.containers.update(identity, Resources(blkio_device_read_bps=(ThrottleDevice(path="/dev/no", rate=1),)))
    with pytest.raises(NotFound):
        await engine.containers.update("nobody", Resources())
    assert engine.containers.inspect(identity).config == config
