"""Limits: Docker's words to OCI's, and what is refused. Pure.

memory 0 none · memory_swap: memory + swap, 0 twice the memory, -1 no bound · nano_cpus 1e9 a CPU · pids_limit None, 0, -1 none
"""

from __future__ import annotations

from typing import NamedTuple

from gorae import errors
from gorae.engine.container.model import Resources, Ulimit
from gorae.linux.process import RLIM_INFINITY, RLIMITS
from gorae.oci import runtimespec

SMALLEST_MEMORY = 6 << 20  # Docker's: less does not hold a runtime's first moments
PERIOD = 100_000  # µs


class Throttles(NamedTuple):
    """Block devices by number (major, minor), and the rate or weight of each."""

    weights: tuple[runtimespec.WeightDevice, ...] = ()
    read_bps: tuple[runtimespec.ThrottleDevice, ...] = ()
    write_bps: tuple[runtimespec.ThrottleDevice, ...] = ()
    read_iops: tuple[runtimespec.ThrottleDevice, ...] = ()
    write_iops: tuple[runtimespec.ThrottleDevice, ...] = ()


NO_THROTTLES = Throttles()


def check(resources: Resources, cpus: int) -> None:
    """InvalidArgument in Docker's words."""
    for problem in (*_memory_problems(resources), *_cpu_problems(resources, cpus), *_other_problems(resources)):
        raise errors.InvalidArgument(problem)


def _memory_problems(resources: Resources) -> list[str]:
    memory, swap, reservation = resources.memory, resources.memory_swap, resources.memory_reservation
    problems = []
    if memory < 0 or swap < -1 or reservation < 0:
        problems.append("invalid memory limit: a negative number of bytes")
    if 0 < memory < SMALLEST_MEMORY or 0 < reservation < SMALLEST_MEMORY:
        problems.append("Minimum memory limit allowed is 6MB")
    if memory == 0 and swap > 0:
        problems.append("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        problems.append("Minimum memoryswap limit should be larger than memory limit, see usage")
    if 0 < memory < reservation:
        problems.append("Minimum memory limit can not be less than memory reservation limit, see usage")
    if resources.memory_swappiness is not None and not -1 <= resources.memory_swappiness <= 100:
        problems.append(f"Invalid value: {resources.memory_swappiness}, valid memory swappiness range is 0-100")
    return problems


def _cpu_problems(resources: Resources, cpus: int) -> list[str]:
    problems = []
    if resources.nano_cpus and resources.cpu_period:
        problems.append("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if resources.nano_cpus and resources.cpu_quota:
        problems.append("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if resources.nano_cpus < 0 or resources.nano_cpus > cpus * 1_000_000_000:
        problems.append(f"range of CPUs is from 0.01 to {cpus:.2f}, as there are only {cpus} CPUs available")
    if resources.cpu_shares < 0:
        problems.append(f"invalid CPU shares ({resources.cpu_shares}): value must be a positive integer")
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        problems.append("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < resources.cpu_quota < 1000:
        problems.append("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for name, text, limit in (("cpus", resources.cpuset_cpus, cpus), ("mems", resources.cpuset_mems, 1024)):
        numbers = parse_set(text)
        if numbers is None:
            problems.append(f"Invalid value {ascii(text)[1:-1]} for cpuset {name}")
        elif name == "cpus" and numbers and max(numbers) >= limit:
            problems.append(f"Requested CPUs are not available - requested {text}, available: 0-{limit - 1}")
    return problems


def _other_problems(resources: Resources) -> list[str]:
    problems = []
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        problems.append("Range of blkio weight is from 10 to 1000")
    for limit in resources.ulimits:
        if f"RLIMIT_{limit.name.upper()}" not in RLIMITS:
            problems.append(f"invalid ulimit type: {ascii(limit.name)[1:-1]}")
        elif limit.soft < -1 or limit.hard < -1:
            problems.append(f"ulimit {limit.name}: a limit cannot be less than -1 (no limit)")
        elif limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
            problems.append(f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}")
    return problems


def parse_set(text: str) -> frozenset[int] | None:
    """`0-2,7` → {0, 1, 2, 7}; None when it is no such list or absurdly long."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        low, dash, high = part.strip().partition("-")
        if not (low.isascii() and low.isdigit() and len(low) < 6) or (
            dash and not (high.isascii() and high.isdigit() and len(high) < 6)
        ):
            return None
        first, last = int(low), int(high) if dash else int(low)
        if last < first or last > 8192:
            return None
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


def translate(
    resources: Resources, devices: tuple[runtimespec.DeviceRule, ...], throttles: Throttles = NO_THROTTLES
) -> runtimespec.Resources:
    """The specification's Resources, device rules included. Block devices of throttles are resolved by `facts`, see `spec`."""
    return runtimespec.Resources(
        devices=devices,
        memory=_memory(resources),
        cpu=_cpu(resources),
        pids=None
        if resources.pids_limit is None
        else runtimespec.Pids(limit=resources.pids_limit if resources.pids_limit > 0 else -1),
        blockIO=_block_io(resources, throttles),
    )


def _memory(resources: Resources) -> runtimespec.Memory | None:
    if not (resources.memory or resources.memory_reservation or resources.memory_swap or resources.oom_kill_disable) and (
        resources.memory_swappiness in (None, -1)
    ):
        return None
    swap: int | None = resources.memory_swap or (2 * resources.memory if resources.memory else None)
    return runtimespec.Memory(
        limit=resources.memory or None,
        reservation=resources.memory_reservation or None,
        swap=swap,
        swappiness=None if resources.memory_swappiness in (None, -1) else resources.memory_swappiness,
        disableOOMKiller=True if resources.oom_kill_disable else None,
    )


def _block_io(resources: Resources, throttles: Throttles) -> runtimespec.BlockIO | None:
    found = runtimespec.BlockIO(
        weight=resources.blkio_weight or None,
        weightDevice=throttles.weights,
        throttleReadBpsDevice=throttles.read_bps,
        throttleWriteBpsDevice=throttles.write_bps,
        throttleReadIOPSDevice=throttles.read_iops,
        throttleWriteIOPSDevice=throttles.write_iops,
    )
    return None if found == runtimespec.BlockIO() else found


def _cpu(resources: Resources) -> runtimespec.CPU | None:
    period, quota = resources.cpu_period, resources.cpu_quota
    if resources.nano_cpus:
        period, quota = PERIOD, resources.nano_cpus * PERIOD // 1_000_000_000
    cpu = runtimespec.CPU(
        shares=resources.cpu_shares or None,
        quota=quota or None,
        period=period or None,
        realtimeRuntime=resources.cpu_realtime_runtime or None,
        realtimePeriod=resources.cpu_realtime_period or None,
        cpus=resources.cpuset_cpus or None,
        mems=resources.cpuset_mems or None,
    )
    return None if cpu == runtimespec.CPU() else cpu


def rlimits(
    ulimits: tuple[Ulimit, ...], own: dict[str, tuple[int, int]], *, may_raise: bool
) -> tuple[tuple[runtimespec.Rlimit, ...], tuple[str, ...]]:
    """The limits that can be set, and warnings for those that are above the engine's `own` hard limits (getrlimit's numbers)
    without CAP_SYS_RESOURCE.
    """
    limits: list[runtimespec.Rlimit] = []
    warnings: list[str] = []
    for limit in ulimits:
        kind = f"RLIMIT_{limit.name.upper()}"
        soft, hard = (RLIM_INFINITY if value == -1 else value for value in (limit.soft, limit.hard))
        ceiling = own.get(kind, (RLIM_INFINITY, RLIM_INFINITY))[1]
        if hard > ceiling and not may_raise:
            warnings.append(
                f"ulimit {limit.name}: {limit.hard} is above the engine's own hard limit, which it cannot raise without "
                f"CAP_SYS_RESOURCE; used {ceiling}"
            )
            hard, soft = ceiling, min(soft, ceiling)
        limits.append(runtimespec.Rlimit(type=kind, hard=hard, soft=soft))
    return tuple(limits), tuple(warnings)
