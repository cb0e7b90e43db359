"""Control groups: the layout, and what is lost with each controller that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gorae.preflight.facts import Facts
from gorae.preflight.finding import Finding

LAYOUTS = {
    "v1": "version 1, one hierarchy a controller",
    "hybrid": "version 1 with a version 2 hierarchy beside it",
    "v2": "version 2, one hierarchy",
}


@dataclass(frozen=True, slots=True)
class Controller:
    name: str
    also: frozenset[str]
    """Other names: what is blkio in version 1 is io in version 2."""
    lost: str
    option: str
    """The kernel's configuration."""


CONTROLLERS: tuple[Controller, ...] = (
    Controller("memory", frozenset(), "memory limits (-m), out-of-memory reports and memory in stats", "CONFIG_MEMCG"),
    Controller("cpu", frozenset(), "cpu limits and shares (--cpus, --cpu-shares)", "CONFIG_CGROUP_SCHED"),
    Controller("cpuset", frozenset(), "pinning to processors (--cpuset-cpus, --cpuset-mems)", "CONFIG_CPUSETS"),
    Controller(
        "pids",
        frozenset(),
        "the limit of processes (--pids-limit): a fork bomb takes the whole machine",
        "CONFIG_CGROUP_PIDS",
    ),
    Controller(
        "io",
        frozenset({"blkio"}),
        "disk weights and rates (--blkio-weight, --device-read-bps) and disk stats",
        "CONFIG_BLK_CGROUP",
    ),
    Controller(
        "devices",
        frozenset(),
        "the device allow-list: a container with CAP_MKNOD (a default) could make and open the host's disks (--cap-drop MKNOD)",
        "CONFIG_CGROUP_DEVICE",
    ),
    Controller("freezer", frozenset(), "pause and unpause", "CONFIG_CGROUP_FREEZER"),
)


def evaluate(facts: Facts) -> Iterator[Finding]:
    if facts.cgroup_mode == "none":
        yield Finding(
            "cgroups",
            "warn",
            "no writable hierarchy: containers run without limits, stats, pause and device allow-list",
            "mount one (mount -t cgroup2 none /sys/fs/cgroup), as root",
        )
        return
    yield Finding("cgroups", "ok", LAYOUTS.get(facts.cgroup_mode, facts.cgroup_mode))
    for controller in CONTROLLERS:
        yield of_controller(controller, facts)
    yield from files(facts)


def of_controller(controller: Controller, facts: Facts) -> Finding:
    name = f"cgroup {controller.name}"
    if not {controller.name, *controller.also} & facts.controllers:
        return Finding(name, "warn", f"missing, and with it {controller.lost}", _advice(controller, facts))
    if controller.name == "devices" and facts.cgroup_mode == "v2" and "bpf" not in facts.calls:
        detail = f"version 2 needs bpf(2), which is missing, and with it {controller.lost}"
        return Finding(name, "warn", detail, "use a kernel with CONFIG_CGROUP_BPF")
    return Finding(name, "ok", "available")


def _advice(controller: Controller, facts: Facts) -> str:
    if facts.cgroup_mode == "v2":
        return f"enable it above (echo +{controller.name} > cgroup.subtree_control), or use a kernel with {controller.option}"
    if controller.name == "memory":
        return "boot with cgroup_enable=memory, or use a kernel with CONFIG_MEMCG"
    return f"mount its hierarchy, or use a kernel with {controller.option}"


def files(facts: Facts) -> Iterator[Finding]:
    """Options of a controller that distributions leave out; nothing is said when no control file could be seen."""
    if not facts.control_files:
        return
    if "memory" in facts.controllers and not facts.control_files & {"memory.memsw.limit_in_bytes", "memory.swap.max"}:
        yield Finding("cgroup swap", "warn", "swap is not counted: --memory-swap is not enforced", "boot with swapaccount=1")
    if "cpu" in facts.controllers and not facts.control_files & {"cpu.cfs_quota_us", "cpu.max"}:
        yield Finding("cgroup cpu quota", "warn", "missing: --cpus is not enforced", "use a kernel with CONFIG_CFS_BANDWIDTH")
