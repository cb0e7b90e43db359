"""OCI resources → control files: pure tables, no file is touched.

    OCI (v1's words)             v1 file                                 v2 file
    ------------------------     ------------------------------------    -----------------------------------------
    memory.limit                 memory.limit_in_bytes                   memory.max
    memory.swap (with memory)    memory.memsw.limit_in_bytes             memory.swap.max = swap - limit
    memory.reservation           memory.soft_limit_in_bytes              memory.low
    memory.swappiness            memory.swappiness                       -
    memory.disableOOMKiller      memory.oom_control                      -
    memory.kernel                - (gone since Linux 5.16)               -
    memory.kernelTCP             memory.kmem.tcp.limit_in_bytes          -
    cpu.shares                   cpu.shares                              cpu.weight, 2 … 1024 … 262144 → 1 … 100 … 10000
    cpu.quota, period            cpu.cfs_quota_us, cpu.cfs_period_us     cpu.max
    cpu.burst                    cpu.cfs_burst_us                        cpu.max.burst
    cpu.idle                     cpu.idle                                cpu.idle
    cpu.realtime…                cpu.rt_runtime_us, cpu.rt_period_us     -
    cpu.cpus, mems               cpuset.cpus, cpuset.mems                the same
    pids.limit                   pids.max                                the same
    blockIO.weight               blkio.bfq.weight or blkio.weight        io.bfq.weight or io.weight, 10 … 1000 → 1 … 10000
    blockIO.throttle…            blkio.throttle.…_device                 io.max
    hugepageLimits               hugetlb.SIZE.limit_in_bytes (+ rsvd)    hugetlb.SIZE.max (+ rsvd)
    network                      net_cls.classid, net_prio.ifpriomap     -
    rdma                         rdma.max                                the same
    unified                      refused                                 as it is written

0 means "not set" for what Docker and runc treat so (limits of memory, pids; shares, quota, period, weight), -1 is unlimited.
What this host cannot enforce becomes a warning. Which version holds is asked for each controller: a hybrid host may have some
on each side.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gorae.cgroup.layout import Layout
from gorae.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from gorae.oci.runtimespec import CPU, BlockIO, HugepageLimit, Memory, Network, Rdma, Resources

_PAGE_SIZE = re.compile(r"[1-9][0-9]*[KMG]B")
_UNIFIED_FILE = re.compile(r"[a-z0-9_]+(\.[a-zA-Z0-9_]+)+")
# They move or kill processes instead of limiting them.
_NOT_LIMITS = frozenset({"cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.type", "cgroup.subtree_control", "cgroup.freeze"})


@dataclass(frozen=True)
class Write:
    """`file` is relative to the cgroup's directory in the controller's hierarchy.

    `unless_above`: refuse when the number in that file is already greater than `value` (OCI's checkBeforeUpdate, which v2 lacks).
    """

    controller: str
    file: str
    value: str
    unless_above: str | None = None


def files(resources: Resources, layout: Layout) -> tuple[tuple[Write, ...], tuple[str, ...]]:
    """What to write, in this order, and warnings. `devices` has a module of its own.

    Raises `InvalidArgument` for values that contradict each other, `Unsupported` for `unified` that this host does not have (the
    specification wants an error there, not a warning).
    """
    plan = _Plan(layout)
    if resources.memory is not None:
        _memory(plan, resources.memory)
    if resources.cpu is not None:
        _cpu(plan, resources.cpu)
        _cpuset(plan, resources.cpu)
    if resources.pids is not None and resources.pids.limit != 0:
        plan.write("pids", "pids.max", _limit(resources.pids.limit, "max"), "pids.limit")
    if resources.blockIO is not None:
        _block_io(plan, resources.blockIO)
    for hugepage in resources.hugepageLimits:
        _hugepage(plan, hugepage)
    if resources.network is not None:
        _network(plan, resources.network)
    for device, rdma in resources.rdma.items():
        _rdma(plan, device, rdma)
    _unified(plan, resources.unified)
    return tuple(plan.writes), tuple(plan.warnings)


class _Plan:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.writes: list[Write] = []
        self.warnings: list[str] = []

    def version(self, controller: str) -> int:
        hierarchy = self.layout.controllers.get(controller)
        return 0 if hierarchy is None else hierarchy.version

    def write(self, controller: str, file: str, value: str, wish: str, unless_above: str | None = None) -> None:
        if controller not in self.layout.controllers:
            self.warn(wish, f"this host has no {controller} cgroup controller")
        elif not self.layout.has(file):
            self.warn(wish, f"this host's kernel has no {file}")
        else:
            self.writes.append(Write(controller, file, value, unless_above))

    def warn(self, wish: str, why: str) -> None:
        self.warnings.append(f"{wish} is not enforced: {why}")


def _limit(number: int, unlimited: str) -> str:
    return unlimited if number < 0 else str(number)


def _word(text: str, wish: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise InvalidArgument(f"{wish}: {text!a} is no name")
    return text


def _memory(plan: _Plan, memory: Memory) -> None:
    limit, swap = memory.limit or 0, memory.swap or 0
    if limit > 0 and 0 < swap < limit:
        raise InvalidArgument(f"memory.swap ({swap}) is memory and swap together: it must not be less than memory.limit ({limit})")
    if limit < 0 and swap == 0:
        swap = -1  # v1 refuses memory without a limit under memory+swap with one
    if plan.version("memory") == 2:
        _memory_v2(plan, memory, limit, swap)
    else:
        _memory_v1(plan, memory, limit, swap)
    if memory.kernel:
        plan.warn("memory.kernel", "kernel memory has no limit of its own since Linux 5.16")
    if memory.useHierarchy is False:
        plan.warn("memory.useHierarchy", "memory is always accounted to the parents too since Linux 5.11")


def _memory_v1(plan: _Plan, memory: Memory, limit: int, swap: int) -> None:
    if limit:
        plan.write("memory", "memory.limit_in_bytes", _limit(limit, "-1"), "memory.limit")
    if swap:
        plan.write("memory", "memory.memsw.limit_in_bytes", _limit(swap, "-1"), "memory.swap")
    if memory.reservation:
        plan.write("memory", "memory.soft_limit_in_bytes", _limit(memory.reservation, "-1"), "memory.reservation")
    if memory.swappiness is not None:
        plan.write("memory", "memory.swappiness", str(memory.swappiness), "memory.swappiness")
    if memory.disableOOMKiller is not None:
        plan.write("memory", "memory.oom_control", "1" if memory.disableOOMKiller else "0", "memory.disableOOMKiller")
    if memory.kernelTCP:
        plan.write("memory", "memory.kmem.tcp.limit_in_bytes", _limit(memory.kernelTCP, "-1"), "memory.kernelTCP")


def _memory_v2(plan: _Plan, memory: Memory, limit: int, swap: int) -> None:
    if swap > 0 and limit <= 0:
        raise InvalidArgument(f"memory.swap ({swap}) needs memory.limit: cgroup v2 limits swap by itself, as their difference")
    # The swap limit goes first: while both shrink, no process is pushed into swap that is about to be taken away.
    if swap < 0 and not plan.layout.has("memory.swap.max"):
        pass  # unlimited is what a kernel without swap accounting does
    elif swap:
        plan.write("memory", "memory.swap.max", "max" if swap < 0 else str(swap - limit), "memory.swap")
    if limit:
        unless_above = "memory.current" if memory.checkBeforeUpdate and limit > 0 else None
        plan.write("memory", "memory.max", _limit(limit, "max"), "memory.limit", unless_above)
    if memory.reservation:
        plan.write("memory", "memory.low", _limit(memory.reservation, "max"), "memory.reservation")
    if memory.swappiness is not None:
        plan.warn("memory.swappiness", "cgroup v2 has no swappiness of a cgroup")
    if memory.disableOOMKiller:
        plan.warn("memory.disableOOMKiller", "cgroup v2 cannot disable the OOM killer")
    if memory.kernelTCP:
        plan.warn("memory.kernelTCP", "cgroup v2 counts TCP buffers as memory")


def weight_of_shares(shares: int) -> int:
    """cpu.shares (2 … 262144, 1024 by default) as cpu.weight (1 … 10000, 100 by default).

    The ends and the defaults must meet, which no straight line does (with one, a container of 1024 shares gets 39 and loses
    against every cgroup that was left alone): 10 to the power of a parabola in log2(shares) through these three points.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    doublings = math.log2(shares)
    return math.ceil(10 ** ((doublings * doublings + 125 * doublings) / 612 - 7 / 34) - 1e-9)


def _cpu(plan: _Plan, cpu: CPU) -> None:
    if cpu.idle is not None:
        plan.write("cpu", "cpu.idle", str(cpu.idle), "cpu.idle")
    if cpu.shares and not cpu.idle:  # the kernel refuses the shares of an idle group
        if plan.version("cpu") == 2:
            plan.write("cpu", "cpu.weight", str(weight_of_shares(cpu.shares)), "cpu.shares")
        else:
            plan.write("cpu", "cpu.shares", str(cpu.shares), "cpu.shares")
    if plan.version("cpu") == 2:
        _cpu_time_v2(plan, cpu)
    else:
        _cpu_time_v1(plan, cpu)


def _cpu_time_v1(plan: _Plan, cpu: CPU) -> None:
    if cpu.period:
        plan.write("cpu", "cpu.cfs_period_us", str(cpu.period), "cpu.period")
    if cpu.quota:
        plan.write("cpu", "cpu.cfs_quota_us", _limit(cpu.quota, "-1"), "cpu.quota")
    if cpu.burst is not None:
        plan.write("cpu", "cpu.cfs_burst_us", str(cpu.burst), "cpu.burst")
    if cpu.realtimePeriod:
        plan.write("cpu", "cpu.rt_period_us", str(cpu.realtimePeriod), "cpu.realtimePeriod")
    if cpu.realtimeRuntime:
        plan.write("cpu", "cpu.rt_runtime_us", str(cpu.realtimeRuntime), "cpu.realtimeRuntime")


def _cpu_time_v2(plan: _Plan, cpu: CPU) -> None:
    # A quota alone leaves the period as it is; a period alone cannot be written without a quota.
    if cpu.quota or cpu.period:
        maximum = _limit(cpu.quota or -1, "max")
        value = f"{maximum} {cpu.period}" if cpu.period else maximum
        plan.write("cpu", "cpu.max", value, "cpu.quota" if cpu.quota else "cpu.period")
    if cpu.burst is not None:
        plan.write("cpu", "cpu.max.burst", str(cpu.burst), "cpu.burst")
    if cpu.realtimePeriod or cpu.realtimeRuntime:
        plan.warn("cpu.realtimeRuntime", "cgroup v2 has no real-time budget of a cgroup")


def _cpuset(plan: _Plan, cpu: CPU) -> None:
    for value, file in ((cpu.cpus, "cpuset.cpus"), (cpu.mems, "cpuset.mems")):
        if value:
            if not value.isprintable():
                raise InvalidArgument(f"{file}: {value!a} is no list like 0-3,7")
            plan.write("cpuset", file, value, file.replace("cpuset", "cpu"))


# OCI's name, v1's file, io.max's key
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def _block_io(plan: _Plan, block: BlockIO) -> None:
    second = plan.version("io") == 2
    for weight in (block.weight, *(device.weight for device in block.weightDevice)):
        if weight and not 10 <= weight <= 1000:
            raise InvalidArgument(f"blockIO weight {weight} is not between 10 and 1000")
    if block.weight:
        _block_weight(plan, block.weight, "", "blockIO.weight")
    for device in block.weightDevice:
        if device.weight:
            _block_weight(plan, device.weight, f"{device.major}:{device.minor} ", "blockIO.weightDevice")
    if block.leafWeight or any(device.leafWeight for device in block.weightDevice):
        plan.warn("blockIO.leafWeight", "leaf weights are gone since Linux 5.0")
    for name, file, key in _THROTTLES:
        for throttle in getattr(block, name):
            number = f"{throttle.major}:{throttle.minor}"
            if second:  # 0 takes a limit away, as on v1
                plan.write("io", "io.max", f"{number} {key}={throttle.rate or 'max'}", f"blockIO.{name}")
            else:
                plan.write("blkio", file, f"{number} {throttle.rate}", f"blockIO.{name}")


def _block_weight(plan: _Plan, weight: int, device: str, wish: str) -> None:
    """`device` is "" or "major:minor "."""
    if plan.version("io") != 2:
        suffix = "_device" if device else ""
        bfq = f"blkio.bfq.weight{suffix}"
        plan.write("blkio", bfq if plan.layout.has(bfq) else f"blkio.weight{suffix}", f"{device}{weight}", wish)
    elif plan.layout.has("io.bfq.weight"):
        plan.write("io", "io.bfq.weight", f"{device or 'default '}{weight}", wish)
    else:
        plan.write("io", "io.weight", f"{device or 'default '}{1 + (weight - 10) * 9999 // 990}", wish)


def _hugepage(plan: _Plan, hugepage: HugepageLimit) -> None:
    if not _PAGE_SIZE.fullmatch(hugepage.pageSize):
        raise InvalidArgument(f"hugepageLimits: page size {hugepage.pageSize!a} is not like 2MB")
    name = "max" if plan.version("hugetlb") == 2 else "limit_in_bytes"
    plan.write("hugetlb", f"hugetlb.{hugepage.pageSize}.{name}", str(hugepage.limit), "hugepageLimits")
    # Reservations are counted apart since Linux 5.7; unlimited ones let mmap succeed and the first touch kill with SIGBUS.
    reserved = f"hugetlb.{hugepage.pageSize}.rsvd.{name}"
    if plan.layout.has(reserved):
        plan.write("hugetlb", reserved, str(hugepage.limit), "hugepageLimits")


def _network(plan: _Plan, network: Network) -> None:
    if network.classID:
        plan.write("net_cls", "net_cls.classid", str(network.classID), "network.classID")
    for priority in network.priorities:
        name = _word(priority.name, "network.priorities")
        plan.write("net_prio", "net_prio.ifpriomap", f"{name} {priority.priority}", "network.priorities")


def _rdma(plan: _Plan, device: str, rdma: Rdma) -> None:
    handles = "max" if rdma.hcaHandles is None else str(rdma.hcaHandles)
    objects = "max" if rdma.hcaObjects is None else str(rdma.hcaObjects)
    plan.write("rdma", "rdma.max", f"{_word(device, 'rdma')} hca_handle={handles} hca_object={objects}", "rdma")


def _unified(plan: _Plan, unified: dict[str, str]) -> None:
    for file, value in unified.items():
        if not _UNIFIED_FILE.fullmatch(file) or file in _NOT_LIMITS:
            raise InvalidArgument(f"unified: {file!a} is no control file that may be set")
        controller = file.partition(".")[0]
        holder = plan.layout.unified if controller == "cgroup" else plan.layout.controllers.get(controller)
        if holder is None or holder.version != 2:
            raise Unsupported(f"unified: {file}: there is no {controller} controller on cgroup v2 here (layout {plan.layout.mode})")
        for line in value.splitlines():  # io.max and the like take one device a write
            if not line.isprintable():
                raise InvalidArgument(f"unified: {file}: {line!a} contains control characters")
            plan.writes.append(Write(controller, file, line))
