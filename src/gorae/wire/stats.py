"""`GET /containers/{id}/stats`. Lower-case names, unlike the rest of Docker's API; `UNSET` fields are left out."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    pass


class CPUUsage(Stat, frozen=True, kw_only=True):
    """Nanoseconds."""

    total_usage: int = 0
    percpu_usage: list[int] | UnsetType = UNSET  # cgroup v1
    usage_in_kernelmode: int = 0
    usage_in_usermode: int = 0


class Throttling(Stat, frozen=True, kw_only=True):
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CPU(Stat, frozen=True, kw_only=True):
    cpu_usage: CPUUsage = CPUUsage()
    system_cpu_usage: int | UnsetType = UNSET
    online_cpus: int | UnsetType = UNSET
    throttling_data: Throttling = Throttling()


class Memory(Stat, frozen=True, kw_only=True, omit_defaults=True):
    usage: int = 0
    max_usage: int = 0
    stats: dict[str, int] = {}
    failcnt: int = 0
    limit: int = 0


class Pids(Stat, frozen=True, kw_only=True, omit_defaults=True):
    current: int = 0
    limit: int = 0


class BlkioEntry(Stat, frozen=True, kw_only=True):
    major: int
    minor: int
    op: str
    value: int


class Blkio(Stat, frozen=True, kw_only=True):
    io_service_bytes_recursive: list[BlkioEntry] | None = None
    io_serviced_recursive: list[BlkioEntry] | None = None
    io_queue_recursive: list[BlkioEntry] | None = None
    io_service_time_recursive: list[BlkioEntry] | None = None
    io_wait_time_recursive: list[BlkioEntry] | None = None
    io_merged_recursive: list[BlkioEntry] | None = None
    io_time_recursive: list[BlkioEntry] | None = None
    sectors_recursive: list[BlkioEntry] | None = None


class ContainerStats(Stat, frozen=True, kw_only=True):
    id: str
    name: str  # with "/"
    os_type: str = "linux"
    read: str
    cpu_stats: CPU = CPU()
    memory_stats: Memory = Memory()
    networks: dict[str, dict[str, int]] | UnsetType = UNSET
    pids_stats: Pids = Pids()
    blkio_stats: Blkio = Blkio()
    num_procs: int = 0  # Windows'
    storage_stats: dict[str, int] = {}
    preread: str
    precpu_stats: CPU = CPU()
