"""Real cgroups on this machine: every operation, and nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gorae.cgroup import limits
from gorae.cgroup.group import Cgroup
from gorae.cgroup.layout import Layout, detect
from gorae.errors import Conflict, InvalidArgument
from gorae.linux.namespace import clone3
from gorae.oci.runtimespec import CPU, BlockIO, HugepageLimit, Memory, Pids, Resources

pytestmark = pytest.mark.kernel
PARENT = f"/gorae-test-{os.getpid()}"
LAYOUT = detect()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    parent = LAYOUT.place(PARENT)
    parent.kill()
    parent.remove()
    assert not parent.exists()


@pytest.fixture
def group() -> Iterator[Cgroup]:
    made = LAYOUT.place(f"{PARENT}/one")
    made.create()
    yield made
    made.kill()
    made.remove()


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def without_unified() -> Layout:
    return Layout("v1", tuple(each for each in LAYOUT.hierarchies if each.version == 1), LAYOUT.files)


needs_v1 = pytest.mark.skipif(len(without_unified().hierarchies) < 2, reason="no v1 hierarchies here")


def text(group: Cgroup, controller: str, file: str) -> str:
    return Path(group.paths()[controller], file).read_text().strip()


def test_create_and_remove_in_every_hierarchy() -> None:
    group = LAYOUT.place(f"{PARENT}/deep/er")
    group.create()
    assert all(Path(directory).is_dir() for directory in group.paths().values())
    assert len(set(group.paths().values())) == len(LAYOUT.hierarchies)
    assert group.procs() == ()
    group.remove()
    assert not group.exists()
    group.remove()


def test_attach_moves_everywhere(group: Cgroup, processes: ExitStack) -> None:
    process = start(processes, "sleep", "60")
    assert not group.holds(process.pid)
    group.attach(process.pid)
    assert group.holds(process.pid)
    assert group.procs() == (process.pid,)
    with pytest.raises(ProcessLookupError):
        group.attach(2**22 + 1)
    with pytest.raises(Conflict, match=f"holds processes {process.pid}"):
        group.create()


def test_a_child_enters_without_the_global_lock(group: Cgroup) -> None:
    into = group.open_unified()
    entrances = [os.open(path, os.O_WRONLY) for path in group.entrances(cloned_into=into >= 0)]
    start_line, go = os.pipe()
    pid, pidfd = clone3(0, cgroup_fd=into)
    if pid == 0:
        os.close(go)
        for entrance in entrances:
            os.write(entrance, b"0")
        os.read(start_line, 1)
        os._exit(0)
    try:
        for entrance in entrances:
            os.close(entrance)
        for _ in range(100000):
            if group.holds(pid):
                break
            os.sched_yield()
        assert group.holds(pid)
    finally:
        os.close(go)
        os.close(start_line)
        os.waitpid(pid, 0)
        os.close(pidfd)
        if into >= 0:
            os.close(into)


@needs_v1
def test_limits_reach_the_kernel(group: Cgroup) -> None:
    resources = Resources(
        memory=Memory(limit=64 << 20, swap=96 << 20, reservation=32 << 20, swappiness=10),
        cpu=CPU(shares=512, quota=50000, period=100000, burst=1000, cpus="0"),
        pids=Pids(77),
        blockIO=BlockIO(weight=300),
    )
    writes, warnings = limits.files(resources, LAYOUT)
    assert (warnings, group.apply(writes)) == ((), ())
    assert text(group, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert text(group, "memory", "memory.memsw.limit_in_bytes") == str(96 << 20)
    assert text(group, "memory", "memory.swappiness") == "10"
    assert text(group, "cpu", "cpu.shares") == "512"
    assert text(group, "cpu", "cpu.cfs_quota_us") == "50000"
    assert text(group, "cpu", "cpu.cfs_burst_us") == "1000"
    assert text(group, "cpuset", "cpuset.cpus") == "0"
    assert text(group, "pids", "pids.max") == "77"
    assert text(group, "blkio", "blkio.bfq.weight") == "300"
    stats = group.stats()
    assert (stats.memory.limit, stats.pids.limit, stats.cpuset_cpus) == (64 << 20, 77, "0")


@needs_v1
def test_limits_move_up_and_down_in_either_order(group: Cgroup) -> None:
    """memory must stay below memory + swap at every moment; the caller need not know which to write first."""
    for limit in (64 << 20, 256 << 20, 16 << 20, -1, 32 << 20):
        swap = limit * 2 if limit > 0 else -1
        group.apply(limits.files(Resources(memory=Memory(limit=limit, swap=swap)), LAYOUT)[0])
        found = group.stats().memory.limit
        assert found == (limit if limit > 0 else None)


@needs_v1
def test_values_that_the_kernel_refuses(group: Cgroup) -> None:
    for resources in (Resources(cpu=CPU(cpus="4000")), Resources(cpu=CPU(mems="900")), Resources(cpu=CPU(quota=5, period=2))):
        writes, _ = limits.files(resources, LAYOUT)
        with pytest.raises(InvalidArgument, match="cannot be set to"):
            group.apply(writes)


def test_hugepages_wherever_the_controller_is(group: Cgroup) -> None:
    writes, warnings = limits.files(Resources(hugepageLimits=(HugepageLimit("2MB", 4 << 20),)), LAYOUT)
    if "hugetlb" not in LAYOUT.controllers:
        assert warnings == ("hugepageLimits is not enforced: this host has no hugetlb cgroup controller",)
        return
    assert group.apply(writes) == ()
    assert text(group, "hugetlb", writes[0].file) == str(4 << 20)


@needs_v1
def test_a_cpuset_takes_processes_at_once(processes: ExitStack) -> None:
    parent = LAYOUT.place(f"{PARENT}/cpus")
    parent.create()
    parent.apply(limits.files(Resources(cpu=CPU(cpus="0", mems="0")), LAYOUT)[0])
    child = LAYOUT.place(f"{PARENT}/cpus/below")
    child.create()
    assert text(child, "cpuset", "cpuset.cpus") == "0"
    process = start(processes, "sleep", "60")
    child.attach(process.pid)
    assert child.holds(process.pid)
    process.kill()
    process.wait()


@pytest.mark.parametrize("layout", [LAYOUT, pytest.param(without_unified(), marks=needs_v1)], ids=["whole", "v1"])
def test_freeze_and_thaw(layout: Layout, processes: ExitStack) -> None:
    group = layout.place(f"{PARENT}/frozen")
    group.create()
    process = start(processes, "cat")
    assert process.stdin is not None
    assert process.stdout is not None
    group.attach(process.pid)
    group.freeze()
    assert group.frozen()
    process.stdin.write(b"x")
    process.stdin.flush()
    assert select.select([process.stdout], [], [], 0.05)[0] == []
    group.thaw()
    assert not group.frozen()
    assert process.stdout.read1(1) == b"x"  # type: ignore[attr-defined]
    group.freeze()
    group.kill()
    assert process.wait() == -signal.SIGKILL
    group.remove()
    assert not group.exists()


BOMB = "while :; do (sleep 60; :) & (sh -c 'sleep 60 & sleep 60') & sleep 0.001; done"


@pytest.mark.parametrize("layout", [LAYOUT, pytest.param(without_unified(), marks=needs_v1)], ids=["whole", "v1"])
def test_kill_reaches_a_fork_bomb(layout: Layout, processes: ExitStack) -> None:
    group = layout.place(f"{PARENT}/bomb")
    group.create()
    group.apply(limits.files(Resources(pids=Pids(100)), LAYOUT)[0])
    process = start(processes, "sh", "-c", f"read line; {BOMB}")
    group.attach(process.pid)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    while len(group.procs()) < 20:
        os.sched_yield()
    group.kill()
    assert process.wait() == -signal.SIGKILL
    group.remove()
    assert not group.exists()
    assert group.procs() == ()


def test_kill_and_remove_take_what_the_container_made(group: Cgroup, processes: ExitStack) -> None:
    below = LAYOUT.place(f"{group.path}/made/inside")
    below.create()
    process = start(processes, "sleep", "60")
    below.attach(process.pid)
    assert group.procs() == (process.pid,)
    with pytest.raises(Conflict, match=f"it holds processes {process.pid}"):
        group.remove(patience=0.05)
    group.kill()
    group.remove()
    assert process.wait() == -signal.SIGKILL
    assert not below.exists()


HOG = "import sys; sys.stdin.readline(); held = bytearray(256 << 20)"


@pytest.mark.skipif("memory" not in LAYOUT.controllers, reason="no memory controller")
def test_out_of_memory_is_counted_and_wakes(group: Cgroup, processes: ExitStack) -> None:
    group.apply(limits.files(Resources(memory=Memory(limit=24 << 20, swap=24 << 20)), LAYOUT)[0])
    watch = group.watch_oom()
    assert watch is not None
    with watch:
        assert (watch.drain(), group.oom_kills()) == (False, 0)
        process = start(processes, sys.executable, "-IS", "-c", HOG)
        group.attach(process.pid)
        process.communicate(b"\n")
        assert process.returncode == -signal.SIGKILL
        assert select.select([watch], [], [], 10)[0] == [watch]
        assert watch.drain()
        assert not watch.drain()
        assert group.oom_kills() == 1
        assert group.stats().memory.maximum > 20 << 20


def test_stats_count(group: Cgroup, processes: ExitStack) -> None:
    busy = "import sys; sys.stdin.readline(); sum(range(3000000)); sys.stdin.readline()"
    process = start(processes, sys.executable, "-IS", "-c", busy)
    group.attach(process.pid)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    for _ in range(100000):
        stats = group.stats()
        if stats.cpu.total > 10_000_000:
            break
        os.sched_yield()
    assert stats.cpu.total > 10_000_000
    assert stats.pids.current == 1
    assert stats.cpu.user + stats.cpu.system >= 0


def test_no_descriptor_is_left() -> None:
    before = set(os.listdir("/proc/self/fd"))
    group = LAYOUT.place(f"{PARENT}/fds")
    group.create()
    group.apply(limits.files(Resources(pids=Pids(5), memory=Memory(limit=64 << 20)), LAYOUT)[0])
    group.freeze()
    group.thaw()
    watch = group.watch_oom()
    if watch is not None:
        watch.close()
        watch.close()
    group.stats()
    group.kill()
    group.remove()
    assert set(os.listdir("/proc/self/fd")) == before
