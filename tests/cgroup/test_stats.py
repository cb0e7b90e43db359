"""Control files as kernels write them → Stats."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.cgroup.stats import CPUStats, IOEntry, MemoryStats, PidsStats, Stats, collect, keyed

V1 = {
    "cpuacct.usage": "4000000123\n",
    "cpuacct.stat": "user 123\nsystem 45\n",
    "cpuacct.usage_percpu": "1000000000 3000000123 \n",
    "cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 5000\nnr_bursts 0\nburst_time 0\n",
    "memory.usage_in_bytes": "4096\n",
    "memory.max_usage_in_bytes": "8192\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.failcnt": "3\n",
    "memory.stat": "cache 0\nrss 4096\ntotal_inactive_file 512\n",
    "pids.current": "2\n",
    "pids.max": "max\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\n8:0 Sync 4096\n8:0 Total 4096\nTotal 4096\n",
    "blkio.throttle.io_serviced_recursive": "253:16 Read 1\nTotal 1\n",
    "cpuset.effective_cpus": "0-1\n",
}
V2 = {
    "cpu.stat": "usage_usec 4000000\nuser_usec 3000000\nsystem_usec 1000000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "67108864\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n",
    "memory.stat": "anon 4096\ninactive_file 512\n",
    "pids.current": "2\n",
    "pids.max": "100\n",
    "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \n",
    "cpuset.cpus.effective": "0-1\n",
}

VERSIONS = (lambda _: 0, lambda _: 1, lambda _: 2)


def test_v1() -> None:
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert collect(lambda _, file: V1.get(file, ""), lambda name: 0 if name == "io" else 1) == Stats(
        cpu=CPUStats(4000000123, 123 * tick, 45 * tick, (1000000000, 3000000123), 10, 4, 5000),
        memory=MemoryStats(4096, 8192, None, 3, {"cache": 0, "rss": 4096, "total_inactive_file": 512}),
        pids=PidsStats(2, None),
        io_bytes=(
            IOEntry(8, 0, "read", 4096),
            IOEntry(8, 0, "write", 0),
            IOEntry(8, 0, "sync", 4096),
            IOEntry(8, 0, "total", 4096),
        ),
        io_operations=(IOEntry(253, 16, "read", 1),),
        cpuset_cpus="0-1",
    )


def test_v2() -> None:
    assert collect(lambda _, file: V2.get(file, ""), lambda name: 0 if name in ("cpuacct", "blkio") else 2) == Stats(
        cpu=CPUStats(4000000000, 3000000000, 1000000000, (), 10, 4, 5000),
        memory=MemoryStats(4096, 8192, 67108864, 7, {"anon": 4096, "inactive_file": 512}),
        pids=PidsStats(2, 100),
        io_bytes=(IOEntry(8, 0, "read", 1), IOEntry(8, 0, "write", 2), IOEntry(8, 0, "discard", 5)),
        io_operations=(IOEntry(8, 0, "read", 3), IOEntry(8, 0, "write", 4), IOEntry(8, 0, "discard", 6)),
        cpuset_cpus="0-1",
    )


def test_a_cgroup_that_went_away_uses_nothing() -> None:
    for version_of in VERSIONS:
        assert collect(lambda *_: "", version_of) == Stats()


@settings(max_examples=50)
@given(st.text(alphabet="ab 0:=\n", max_size=30))
def test_no_text_breaks_it(text: str) -> None:
    for version_of in VERSIONS:
        collect(lambda *_: text, version_of)
    assert all(value >= 0 for value in keyed(text).values())
