"""What a container uses: one look at its cgroup, its network and the machine's clock of CPU time.

    Sample = cgroup.stats() + /proc/PID/net/dev of its own network + /proc/stat of the machine

A rate is the difference of two samples; nothing is kept between them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gorae.cgroup.stats import Stats
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.model import Container
from gorae.engine.container.modes import sharing
from gorae.engine.container.premises import Premises

INTERVAL = 1.0
COUNTERS = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
COLUMNS = (0, 1, 2, 3, 8, 9, 10, 11)  # of /proc/PID/net/dev (proc(5)), behind the name


@dataclass(frozen=True)
class Sample:
    """`taken_at` is nanoseconds since the epoch; `system_cpu` nanoseconds of all CPUs together; `memory_limit` bytes: its own, or
    all that the machine has."""

    taken_at: int
    stats: Stats
    system_cpu: int
    cpus: int
    memory_limit: int
    networks: dict[str, dict[str, int]] = field(default_factory=dict)


Reading = tuple[Container, Sample | None, Sample | None]
"""The container, its sample (None while it does not run), and the one before."""


class Statistics:
    def __init__(self, premises: Premises, entries: Entries) -> None:
        self._premises = premises
        self._entries = entries

    def watch(self, reference: str, *, stream: bool, one_shot: bool = False) -> AsyncIterator[Reading]:
        """One a second until it is removed; without `stream` a single one that has one before it, unless `one_shot`. NotFound comes
        from this call itself. `aclose()` it."""
        return self._readings(self._entries.find(reference), stream, one_shot)

    async def _readings(self, entry: Entry, stream: bool, one_shot: bool) -> AsyncIterator[Reading]:
        before: Sample | None = None
        while not entry.gone.is_set():
            began = time.monotonic()
            sample = await self.sample(entry)
            if stream or one_shot or sample is None or before is not None:
                yield entry.container, sample, before
                if not stream:
                    return
            before = sample
            try:
                async with asyncio.timeout(max(0.0, INTERVAL - (time.monotonic() - began))):
                    await entry.gone.wait()
            except TimeoutError:
                continue

    async def sample(self, entry: Entry) -> Sample | None:
        """None for a container that does not run."""
        container = entry.container
        if not container.state.running:
            return None
        return await asyncio.to_thread(self._sample, container)

    def _sample(self, container: Container) -> Sample:
        stats = self._premises.cgroup(container).stats()
        system, cpus = cpu_time(_read("/proc/stat"))
        own = sharing(container.config).network != "host"
        return Sample(
            taken_at=time.time_ns(),
            stats=stats,
            system_cpu=system,
            cpus=cpus,
            memory_limit=min(stats.memory.limit or machine_memory(), machine_memory()),
            networks=interfaces(_read(f"/proc/{container.state.pid}/net/dev")) if own else {},
        )


def cpu_time(text: str) -> tuple[int, int]:
    """/proc/stat → nanoseconds that all CPUs have spent (user to softirq and steal, as Docker counts), and how many there are."""
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    lines = text.splitlines()
    total = sum(int(word) for word in lines[0].split()[1:9]) * tick if lines else 0
    return total, sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdigit())


def interfaces(text: str) -> dict[str, dict[str, int]]:
    """/proc/PID/net/dev, without the loopback."""
    found = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        values = rest.split()
        if colon and name.strip() != "lo" and len(values) >= 12:
            found[name.strip()] = {counter: int(values[column]) for counter, column in zip(COUNTERS, COLUMNS, strict=True)}
    return found


def machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # it has just ended
