"""A sample and the one before → `GET /containers/{id}/stats`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from gorae.api.adapt.moment import fixed_rfc3339, rfc3339
from gorae.cgroup.stats import IOEntry
from gorae.engine.container.model import Container
from gorae.engine.container.stats import Sample
from gorae.wire import stats


def container_stats(container: Container, sample: Sample | None, before: Sample | None) -> stats.ContainerStats:
    if sample is None:
        return stats.ContainerStats(id=container.id, name=f"/{container.name}", read=rfc3339(0), preread=rfc3339(0))
    memory, found = sample.stats.memory, sample.stats
    return stats.ContainerStats(
        id=container.id,
        name=f"/{container.name}",
        read=fixed_rfc3339(sample.taken_at),
        cpu_stats=_cpu(sample),
        memory_stats=stats.Memory(
            usage=memory.usage,
            max_usage=memory.maximum,
            stats=memory.details,
            failcnt=memory.failures,
            limit=sample.memory_limit,
        ),
        networks=sample.networks or UNSET,
        pids_stats=stats.Pids(current=found.pids.current, limit=found.pids.limit or 0),
        blkio_stats=stats.Blkio(
            io_service_bytes_recursive=_blocks(found.io_bytes), io_serviced_recursive=_blocks(found.io_operations)
        ),
        preread=fixed_rfc3339(before.taken_at) if before else rfc3339(0),
        precpu_stats=_cpu(before) if before else stats.CPU(),
    )


def _cpu(sample: Sample) -> stats.CPU:
    cpu = sample.stats.cpu
    return stats.CPU(
        cpu_usage=stats.CPUUsage(
            total_usage=cpu.total,
            percpu_usage=list(cpu.per_cpu) or UNSET,
            usage_in_kernelmode=cpu.system,
            usage_in_usermode=cpu.user,
        ),
        system_cpu_usage=sample.system_cpu,
        online_cpus=sample.cpus,
        throttling_data=stats.Throttling(
            periods=cpu.periods, throttled_periods=cpu.throttled_periods, throttled_time=cpu.throttled_time
        ),
    )


def _blocks(entries: Sequence[IOEntry]) -> list[stats.BlkioEntry] | None:
    return [stats.BlkioEntry(major=one.major, minor=one.minor, op=one.operation, value=one.value) for one in entries] or None
