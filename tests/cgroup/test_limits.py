"""Resources → files, for v1, v2, a host with little, and one with nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.cgroup.layout import NONE, Hierarchy, Layout
from gorae.cgroup.limits import Write, files, weight_of_shares
from gorae.errors import InvalidArgument, Unsupported
from gorae.oci.runtimespec import (
    CPU,
    BlockIO,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

V1_FILES = frozenset(
    {
        *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.swappiness"),
        *("memory.oom_control", "memory.kmem.tcp.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
        *("cpu.cfs_burst_us", "cpu.idle", "cpu.rt_runtime_us", "cpu.rt_period_us", "cpuset.cpus", "cpuset.mems", "pids.max"),
        *("blkio.weight", "blkio.weight_device", "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"),
        *("blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device", "hugetlb.2MB.limit_in_bytes"),
        *("net_cls.classid", "net_prio.ifpriomap", "rdma.max"),
    }
)
V2_FILES = frozenset(
    {
        *("memory.max", "memory.swap.max", "memory.low", "memory.current", "memory.high", "cpu.weight", "cpu.max", "cpu.max.burst"),
        *("cpu.idle", "cpuset.cpus", "cpuset.mems", "pids.max", "io.weight", "io.max", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"),
        "rdma.max",
    }
)
V1_NAMES = ("cpu", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "rdma")
V1 = Layout("v1", tuple(Hierarchy(1, f"/c/{name}", "/", (name,)) for name in V1_NAMES), V1_FILES)
V2 = Layout("v2", (Hierarchy(2, "/c", "/", ("cpuset", "cpu", "io", "memory", "pids", "hugetlb", "rdma")),), V2_FILES)


def written(resources: Resources, layout: Layout) -> list[str]:
    """`file=value` lines; no warning is expected."""
    writes, warnings = files(resources, layout)
    assert warnings == ()
    return [f"{write.file}={write.value}" for write in writes]


def warned(resources: Resources, layout: Layout) -> tuple[str, ...]:
    """Warnings; no write is expected."""
    writes, warnings = files(resources, layout)
    assert writes == ()
    return warnings


@pytest.mark.parametrize(
    ("memory", "first", "second"),
    [
        (Memory(limit=100), ["memory.limit_in_bytes=100"], ["memory.max=100"]),
        (
            Memory(limit=100, swap=300),
            ["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=300"],
            ["memory.swap.max=200", "memory.max=100"],
        ),
        (
            Memory(limit=100, swap=100),
            ["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
            ["memory.swap.max=0", "memory.max=100"],
        ),
        (
            Memory(limit=100, swap=-1),
            ["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"],
            ["memory.swap.max=max", "memory.max=100"],
        ),
        (
            Memory(limit=-1),
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
            ["memory.swap.max=max", "memory.max=max"],
        ),
        (Memory(reservation=50), ["memory.soft_limit_in_bytes=50"], ["memory.low=50"]),
        (Memory(limit=0, swap=0, reservation=0, kernelTCP=0, kernel=0), [], []),
        (Memory(disableOOMKiller=False), ["memory.oom_control=0"], []),
        (Memory(useHierarchy=True), [], []),
    ],
)
def test_memory(memory: Memory, first: list[str], second: list[str]) -> None:
    assert written(Resources(memory=memory), V1) == first
    assert written(Resources(memory=memory), V2) == second


def test_memory_that_only_v1_knows() -> None:
    resources = Resources(memory=Memory(swappiness=0, disableOOMKiller=True, kernelTCP=7))
    assert written(resources, V1) == ["memory.swappiness=0", "memory.oom_control=1", "memory.kmem.tcp.limit_in_bytes=7"]
    wishes = [line.split()[0] for line in warned(resources, V2)]
    assert wishes == ["memory.swappiness", "memory.disableOOMKiller", "memory.kernelTCP"]


def test_kernel_memory_is_gone_everywhere() -> None:
    for layout in (V1, V2):
        (warning,) = warned(Resources(memory=Memory(kernel=1 << 20)), layout)
        assert warning == "memory.kernel is not enforced: kernel memory has no limit of its own since Linux 5.16"


def test_memory_in_use_is_checked_where_the_kernel_does_not() -> None:
    resources = Resources(memory=Memory(limit=100, checkBeforeUpdate=True))
    assert files(resources, V1)[0] == (Write("memory", "memory.limit_in_bytes", "100"),)
    assert files(resources, V2)[0] == (Write("memory", "memory.max", "100", unless_above="memory.current"),)


def test_memory_that_contradicts_itself() -> None:
    for layout in (V1, V2):
        with pytest.raises(InvalidArgument, match="must not be less than memory"):
            files(Resources(memory=Memory(limit=100, swap=99)), layout)
    with pytest.raises(InvalidArgument, match="needs memory"):
        files(Resources(memory=Memory(swap=99)), V2)


def test_swap_without_accounting() -> None:
    bare = Layout("v2", V2.hierarchies, V2.files - {"memory.swap.max"})
    assert written(Resources(memory=Memory(limit=1, swap=-1)), bare) == ["memory.max=1"]
    writes, warnings = files(Resources(memory=Memory(limit=1, swap=1)), bare)
    assert [write.file for write in writes] == ["memory.max"]
    assert warnings == ("memory.swap is not enforced: this host's kernel has no memory.swap.max",)


@pytest.mark.parametrize(
    ("cpu", "first", "second"),
    [
        (CPU(shares=1024), ["cpu.shares=1024"], ["cpu.weight=100"]),
        (CPU(quota=50000, period=100000), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"], ["cpu.max=50000 100000"]),
        (CPU(quota=50000), ["cpu.cfs_quota_us=50000"], ["cpu.max=50000"]),
        (CPU(quota=-1, period=100000), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=-1"], ["cpu.max=max 100000"]),
        (CPU(period=20000), ["cpu.cfs_period_us=20000"], ["cpu.max=max 20000"]),
        (CPU(burst=0), ["cpu.cfs_burst_us=0"], ["cpu.max.burst=0"]),
        (CPU(idle=1, shares=500), ["cpu.idle=1"], ["cpu.idle=1"]),
        (CPU(idle=0, shares=1024), ["cpu.idle=0", "cpu.shares=1024"], ["cpu.idle=0", "cpu.weight=100"]),
        (CPU(cpus="0-3,7", mems="0"), ["cpuset.cpus=0-3,7", "cpuset.mems=0"], ["cpuset.cpus=0-3,7", "cpuset.mems=0"]),
        (CPU(shares=0, quota=0, period=0, cpus="", mems=""), [], []),
    ],
)
def test_cpu(cpu: CPU, first: list[str], second: list[str]) -> None:
    assert written(Resources(cpu=cpu), V1) == first
    assert written(Resources(cpu=cpu), V2) == second


def test_real_time_is_v1_only() -> None:
    resources = Resources(cpu=CPU(realtimePeriod=1000, realtimeRuntime=900))
    assert written(resources, V1) == ["cpu.rt_period_us=1000", "cpu.rt_runtime_us=900"]
    assert len(warned(resources, V2)) == 1


@given(st.integers(0, 300000), st.integers(0, 300000))
def test_weight_keeps_the_order_of_shares(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= weight_of_shares(low) <= weight_of_shares(high) <= 10000


def test_weight_meets_the_ends_and_the_defaults() -> None:
    assert [weight_of_shares(shares) for shares in (2, 1024, 262144)] == [1, 100, 10000]


def test_pids() -> None:
    for layout in (V1, V2):
        assert written(Resources(pids=Pids(100)), layout) == ["pids.max=100"]
        assert written(Resources(pids=Pids(-1)), layout) == ["pids.max=max"]
        assert written(Resources(pids=Pids(0)), layout) == []


BLOCK = Resources(
    blockIO=BlockIO(
        weight=500,
        weightDevice=(WeightDevice(8, 0, 10), WeightDevice(8, 16, 1000)),
        throttleReadBpsDevice=(ThrottleDevice(8, 0, 600),),
        throttleWriteBpsDevice=(ThrottleDevice(8, 0, 0),),
        throttleReadIOPSDevice=(ThrottleDevice(8, 16, 1),),
        throttleWriteIOPSDevice=(ThrottleDevice(8, 16, 2),),
    )
)


def test_block_io() -> None:
    assert written(BLOCK, V1) == [
        "blkio.weight=500",
        "blkio.weight_device=8:0 10",
        "blkio.weight_device=8:16 1000",
        "blkio.throttle.read_bps_device=8:0 600",
        "blkio.throttle.write_bps_device=8:0 0",
        "blkio.throttle.read_iops_device=8:16 1",
        "blkio.throttle.write_iops_device=8:16 2",
    ]
    assert written(BLOCK, V2) == [
        "io.weight=default 4950",
        "io.weight=8:0 1",
        "io.weight=8:16 10000",
        "io.max=8:0 rbps=600",
        "io.max=8:0 wbps=max",
        "io.max=8:16 riops=1",
        "io.max=8:16 wiops=2",
    ]


def test_block_io_prefers_bfq_which_is_what_weighs() -> None:
    resources = Resources(blockIO=BlockIO(weight=500, weightDevice=(WeightDevice(8, 0, 10),)))
    first = Layout("v1", V1.hierarchies, V1.files | {"blkio.bfq.weight", "blkio.bfq.weight_device"})
    assert written(resources, first) == ["blkio.bfq.weight=500", "blkio.bfq.weight_device=8:0 10"]
    second = Layout("v2", V2.hierarchies, V2.files | {"io.bfq.weight"})
    assert written(resources, second) == ["io.bfq.weight=default 500", "io.bfq.weight=8:0 10"]


def test_block_io_refusals() -> None:
    for weight in (1, 9, 1001):
        with pytest.raises(InvalidArgument, match="between 10 and 1000"):
            files(Resources(blockIO=BlockIO(weight=weight)), V2)
    assert "leaf weights" in warned(Resources(blockIO=BlockIO(leafWeight=10)), V1)[0]


def test_hugepages() -> None:
    resources = Resources(hugepageLimits=(HugepageLimit("2MB", 4096),))
    assert written(resources, V1) == ["hugetlb.2MB.limit_in_bytes=4096"]
    assert written(resources, V2) == ["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"]
    assert "hugetlb.1GB.max" in warned(Resources(hugepageLimits=(HugepageLimit("1GB", 1),)), V2)[0]
    for name in ("2mb", "", "2MB/../../x", "02MB", "2MB\n"):
        with pytest.raises(InvalidArgument, match="page size"):
            files(Resources(hugepageLimits=(HugepageLimit(name, 1),)), V1)


def test_network_and_rdma() -> None:
    network = Resources(network=Network(0x100001, (InterfacePriority("eth0", 5),)))
    assert written(network, V1) == ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]
    assert len(warned(network, V2)) == 2
    rdma = Resources(rdma={"mlx5_1": Rdma(3, None)})
    assert written(rdma, V1) == written(rdma, V2) == ["rdma.max=mlx5_1 hca_handle=3 hca_object=max"]
    for name in ("a b", "", "a\nb"):
        with pytest.raises(InvalidArgument, match="is no name"):
            files(Resources(rdma={name: Rdma()}), V1)


def test_unified() -> None:
    values = {"memory.high": "1", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}
    lines = ["memory.high=1", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "cgroup.max.depth=3"]
    assert written(Resources(unified=values), V2) == lines
    with pytest.raises(Unsupported, match=r"no misc controller"):
        files(Resources(unified={"misc.max": "1"}), V2)
    with pytest.raises(Unsupported, match=r"layout v1"):
        files(Resources(unified={"memory.high": "1"}), V1)


@pytest.mark.parametrize(
    "file", ["cgroup.procs", "cgroup.kill", "../memory.max", "memory", "", "memory.max/x", "a/b.c", "memory..max"]
)
def test_unified_names_that_are_no_limits(file: str) -> None:
    with pytest.raises(InvalidArgument, match="no control file"):
        files(Resources(unified={file: "1"}), V2)


def test_a_hybrid_host_may_have_some_on_each_side() -> None:
    mixed = Layout("hybrid", (*V1.hierarchies[:2], Hierarchy(2, "/u", "/", ("memory", "pids"))), V1.files | V2.files)
    resources = Resources(memory=Memory(limit=5), cpu=CPU(shares=2), unified={"memory.high": "4"})
    assert written(resources, mixed) == ["memory.max=5", "cpu.shares=2", "memory.high=4"]


EVERYTHING = Resources(
    memory=Memory(limit=100, swap=200, reservation=50),
    cpu=CPU(shares=5, quota=5000, period=10000, cpus="0", mems="0"),
    pids=Pids(5),
    blockIO=BLOCK.blockIO,
    hugepageLimits=(HugepageLimit("2MB", 0),),
    rdma={"x": Rdma(1, 1)},
)


def test_nothing_is_silent() -> None:
    """Each wish is a write or a warning, on any host."""
    assert len(written(EVERYTHING, V1)) == 18
    assert len(warned(EVERYTHING, NONE)) == len(warned(EVERYTHING, Layout("v1", V1.hierarchies))) == 18
    assert len(warned(EVERYTHING, Layout("v2", V2.hierarchies))) == 17  # quota and period are one file
    assert files(EVERYTHING, NONE)[1][0] == "memory.limit is not enforced: this host has no memory cgroup controller"


@settings(max_examples=60)
@given(st.sets(st.sampled_from(sorted(V1_FILES | V2_FILES))), st.booleans())
def test_only_files_that_exist_are_written(present: set[str], second: bool) -> None:
    layout = Layout("v2" if second else "v1", V2.hierarchies if second else V1.hierarchies, frozenset(present))
    writes, warnings = files(EVERYTHING, layout)
    assert {write.file for write in writes} <= present
    assert all(write.controller in layout.controllers for write in writes)
    assert all(" is not enforced: " in warning for warning in warnings)
