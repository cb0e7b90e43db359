"""The part of the fake engine that is about files, use and limits: one small tree for all containers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from gorae.cgroup.stats import CPUStats, IOEntry, MemoryStats, PidsStats, Stats
from gorae.engine.container import model
from gorae.engine.container.archives import Change, PathStat
from gorae.engine.container.stats import Reading, Sample
from gorae.engine.image.model import Image, ImageConfig
from gorae.errors import CorruptData, Forbidden, NotFound

Find = Callable[[str], model.Container]


class FakeArchives:
    """`/etc` is a directory, `/ro` read-only; what is put is kept in `received`."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self.received: list[tuple[str, bytes, bool, bool]] = []

    async def stat(self, reference: str, path: str) -> PathStat:
        self._find(reference)
        if not path.startswith("/etc"):
            raise NotFound(f"Could not find the file {path} in container {reference}")
        return PathStat(name="etc", size=4096, mode=1 << 31 | 0o755, mtime=1_500_000_000_000_000_001)

    @asynccontextmanager
    async def get(self, reference: str, path: str) -> AsyncIterator[tuple[PathStat, AsyncIterator[bytes]]]:
        yield await self.stat(reference, path), _pieces()

    async def put(
        self, reference: str, path: str, archive: AsyncIterator[bytes], *, keeps_kinds: bool = False, owned: bool = False
    ) -> None:
        self._find(reference)
        content = b"".join([piece async for piece in archive])
        if path.startswith("/ro"):
            raise Forbidden("the volume or root file system is read-only")
        if content.startswith(b"nonsense"):
            raise CorruptData("no archive")
        self.received.append((path, content, keeps_kinds, owned))

    @asynccontextmanager
    async def export(self, reference: str) -> AsyncIterator[AsyncIterator[bytes]]:
        self._find(reference)
        yield _pieces()

    async def changes(self, reference: str) -> list[Change]:
        self._find(reference)
        return [Change(path="/etc", kind=0), Change(path="/etc/new", kind=1), Change(path="/gone", kind=2)]


async def _pieces() -> AsyncIterator[bytes]:
    yield b"half an "
    yield b"archive"


class FakeCommits:
    def __init__(self, find: Find) -> None:
        self._find = find
        self.calls: list[dict[str, Any]] = []

    async def run(self, reference: str, *, overrides: ImageConfig | None = None, **words: Any) -> Image:
        self._find(reference)
        self.calls.append({"overrides": overrides, **words})
        return Image(id=f"sha256:{'c' * 64}", architecture="amd64", config=ImageConfig(), size=1)


SAMPLE = Sample(
    taken_at=time.time_ns(),
    stats=Stats(
        cpu=CPUStats(total=10, user=6, system=4, per_cpu=(3, 7), periods=1),
        memory=MemoryStats(usage=100, maximum=200, details={"total_inactive_file": 5}),
        pids=PidsStats(current=3, limit=50),
        io_bytes=(IOEntry(8, 0, "read", 4096),),
    ),
    system_cpu=1000,
    cpus=2,
    memory_limit=1 << 30,
    networks={"eth0": {"rx_bytes": 1}},
)


class FakeStatistics:
    def __init__(self, find: Find) -> None:
        self._find = find

    def watch(self, reference: str, *, stream: bool, one_shot: bool = False) -> AsyncIterator[Reading]:
        return self._readings(self._find(reference), 3 if stream else 1, one_shot)

    async def _readings(self, container: model.Container, count: int, one_shot: bool) -> AsyncIterator[Reading]:
        for number in range(count):
            before = None if one_shot or (count > 1 and not number) else SAMPLE
            yield container, SAMPLE if container.state.running else None, before


class Files:
    """Mixed into the fake containers."""

    updates: Sequence[tuple[model.Resources, model.RestartPolicy | None]] = ()

    def equip(self, find: Find) -> None:
        self._found = find
        self.archives = FakeArchives(find)
        self.commits = FakeCommits(find)
        self.statistics = FakeStatistics(find)

    async def update(
        self, reference: str, resources: model.Resources, policy: model.RestartPolicy | None = None
    ) -> Sequence[str]:
        self._found(reference)
        self.updates = (*self.updates, (resources, policy))
        return ("a warning",)
