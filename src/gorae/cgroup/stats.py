"""Control files → Stats, one shape for both versions. Pure: the files come through `read`.

    Stats ── cpu (ns)   memory (bytes)   pids   io (per device and operation)   cpuset

    v1: cpuacct.usage, cpuacct.stat, cpuacct.usage_percpu, cpu.stat      v2: cpu.stat
        memory.usage_in_bytes, max_usage_in_bytes, limit, failcnt, stat      memory.current, peak, max, events, stat
        blkio.throttle.io_service_bytes_recursive, io_serviced_recursive     io.stat

A file that is missing or unreadable (a cgroup that just went away) counts as empty: numbers are then 0, limits None.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from gorae.oci.record import dataclass

Read = Callable[[str, str], str]
"""(controller, file) → text, "" when there is none."""

_DEVICE = re.compile(r"([0-9]+):([0-9]+)")
_UNLIMITED_V1 = 1 << 62  # PAGE_COUNTER_MAX, rounded down to pages: 2**63 - 4096 with pages of 4 KiB
_IO_STAT = {
    "rbytes": ("read", True),
    "wbytes": ("write", True),
    "dbytes": ("discard", True),
    "rios": ("read", False),
    "wios": ("write", False),
    "dios": ("discard", False),
}


@dataclass(frozen=True)
class CPUStats:
    """Nanoseconds; `per_cpu` is empty on v2."""

    total: int = 0
    user: int = 0
    system: int = 0
    per_cpu: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


@dataclass(frozen=True)
class MemoryStats:
    """Bytes. `usage` includes the page cache; `details` is memory.stat, with the kernel's names.

    `maximum` is 0 where v2 has no memory.peak (before Linux 5.19).
    """

    usage: int = 0
    maximum: int = 0
    limit: int | None = None
    failures: int = 0
    details: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PidsStats:
    current: int = 0
    limit: int | None = None


@dataclass(frozen=True)
class IOEntry:
    """`operation`: read write discard; on v1 also sync async total."""

    major: int
    minor: int
    operation: str
    value: int


@dataclass(frozen=True)
class Stats:
    cpu: CPUStats = CPUStats()
    memory: MemoryStats = field(default_factory=MemoryStats)
    pids: PidsStats = PidsStats()
    io_bytes: tuple[IOEntry, ...] = ()
    io_operations: tuple[IOEntry, ...] = ()
    cpuset_cpus: str = ""
    """The CPUs that it may run on, like "0-3"."""


def collect(read: Read, version_of: Callable[[str], int]) -> Stats:
    """`version_of(controller)` is 0 where there is none."""
    blocks, operations = _io_v2(read("io", "io.stat")) if version_of("io") == 2 else _io_v1(read)
    effective = "cpuset.cpus.effective" if version_of("cpuset") == 2 else "cpuset.effective_cpus"
    return Stats(
        cpu=_cpu_v1(read) if version_of("cpuacct") or version_of("cpu") == 1 else _cpu_v2(read("cpu", "cpu.stat")),
        memory=_memory_v2(read) if version_of("memory") == 2 else _memory_v1(read),
        pids=PidsStats(_number(read("pids", "pids.current")), _limit(read("pids", "pids.max"))),
        io_bytes=blocks,
        io_operations=operations,
        cpuset_cpus=read("cpuset", effective).strip(),
    )


def keyed(text: str) -> dict[str, int]:
    """Flat keyed files: `name number` a line."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if number.isdecimal():
            found[name] = int(number)
    return found


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isdecimal() else 0


def _limit(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() and int(text) < _UNLIMITED_V1 else None


def _cpu_v1(read: Read) -> CPUStats:
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # cpuacct.stat counts in USER_HZ
    times, throttling = keyed(read("cpuacct", "cpuacct.stat")), keyed(read("cpu", "cpu.stat"))
    return CPUStats(
        total=_number(read("cpuacct", "cpuacct.usage")),
        user=times.get("user", 0) * tick,
        system=times.get("system", 0) * tick,
        per_cpu=tuple(int(word) for word in read("cpuacct", "cpuacct.usage_percpu").split() if word.isdecimal()),
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_time=throttling.get("throttled_time", 0),
    )


def _cpu_v2(text: str) -> CPUStats:
    found = keyed(text)
    return CPUStats(
        total=found.get("usage_usec", 0) * 1000,
        user=found.get("user_usec", 0) * 1000,
        system=found.get("system_usec", 0) * 1000,
        periods=found.get("nr_periods", 0),
        throttled_periods=found.get("nr_throttled", 0),
        throttled_time=found.get("throttled_usec", 0) * 1000,
    )


def _memory_v1(read: Read) -> MemoryStats:
    return MemoryStats(
        usage=_number(read("memory", "memory.usage_in_bytes")),
        maximum=_number(read("memory", "memory.max_usage_in_bytes")),
        limit=_limit(read("memory", "memory.limit_in_bytes")),
        failures=_number(read("memory", "memory.failcnt")),
        details=keyed(read("memory", "memory.stat")),
    )


def _memory_v2(read: Read) -> MemoryStats:
    return MemoryStats(
        usage=_number(read("memory", "memory.current")),
        maximum=_number(read("memory", "memory.peak")),
        limit=_limit(read("memory", "memory.max")),
        failures=keyed(read("memory", "memory.events")).get("max", 0),
        details=keyed(read("memory", "memory.stat")),
    )


def _io_v1(read: Read) -> tuple[tuple[IOEntry, ...], tuple[IOEntry, ...]]:
    """bfq's own counters count only what bfq schedules; the throttling layer sees every request."""
    return (
        _blkio(read("blkio", "blkio.throttle.io_service_bytes_recursive")),
        _blkio(read("blkio", "blkio.throttle.io_serviced_recursive")),
    )


def _blkio(text: str) -> tuple[IOEntry, ...]:
    """`8:0 Read 4096` a line, and a last line `Total 4096` over all devices."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and (device := _DEVICE.fullmatch(words[0])) and words[2].isdecimal():
            found.append(IOEntry(int(device[1]), int(device[2]), words[1].lower(), int(words[2])))
    return tuple(found)


def _io_v2(text: str) -> tuple[tuple[IOEntry, ...], tuple[IOEntry, ...]]:
    """`8:0 rbytes=1 wbytes=2 rios=3 …` a line."""
    found: dict[bool, list[IOEntry]] = {True: [], False: []}
    for line in text.splitlines():
        first, *pairs = line.split(" ")
        device = _DEVICE.fullmatch(first)
        for pair in pairs if device else ():
            key, _, value = pair.partition("=")
            if device and key in _IO_STAT and value.isdecimal():
                operation, counts_bytes = _IO_STAT[key]
                found[counts_bytes].append(IOEntry(int(device[1]), int(device[2]), operation, int(value)))
    return tuple(found[True]), tuple(found[False])
