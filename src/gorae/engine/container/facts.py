"""What `spec` must know of this machine: gathered once when the engine opens, so that everything after it is pure."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from gorae import errors
from gorae.cgroup.layout import NONE, Layout, detect
from gorae.engine.container.model import Device, Resources, ThrottleDevice
from gorae.engine.container.resources import Throttles
from gorae.linux import capability, system
from gorae.linux.process import RLIMITS, get_rlimit
from gorae.oci import runtimespec

MOST_DEVICES = 4096  # in one directory given to --device, and below /dev for --privileged


@dataclass(frozen=True)
class Facts:
    """`namespaces` are the kinds this kernel has, in /proc's words; `limits` the engine's own (soft, hard) by RLIMIT name."""

    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    bounding: int = (1 << len(capability.NAMES)) - 1
    cpus: int = 1
    hostname: str = "localhost"
    namespaces: frozenset[str] = frozenset({"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"})
    layout: Layout = NONE
    thermal: tuple[str, ...] = ()
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    oom_score_adj: int = 0

    def throttles(self, resources: Resources) -> Throttles:
        """The block devices that limits name. InvalidArgument for a path that is none."""
        weights = tuple(
            runtimespec.WeightDevice(*block_device(item.path), weight=item.rate) for item in resources.blkio_weight_device
        )
        rates = (
            resources.blkio_device_read_bps,
            resources.blkio_device_write_bps,
            resources.blkio_device_read_iops,
            resources.blkio_device_write_iops,
        )
        return Throttles(weights, *(tuple(_throttle(item) for item in limits) for limits in rates))

    def holds(self, name: str) -> bool:
        return bool(self.bounding >> capability.NAMES[name] & 1)


def gather() -> Facts:
    return Facts(
        machine=system.machine(),
        kernel=system.kernel_version(),
        bounding=capability.bounding(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        hostname=os.uname().nodename,
        namespaces=frozenset(name for name in os.listdir("/proc/self/ns") if "_for_children" not in name),
        layout=detect(),
        thermal=thermal_paths(),
        limits={name: get_rlimit(number) for name, number in RLIMITS.items()},
        oom_score_adj=_own_oom_score_adj(),
    )


def thermal_paths() -> tuple[str, ...]:
    """Per-CPU throttle counts tell what a neighbour computes (GHSA-6fw5-f8r9-fgfm)."""
    directory = "/sys/devices/system/cpu"
    try:
        names = os.listdir(directory)
    except OSError:
        return ()
    paths = (f"{directory}/{name}/thermal_throttle" for name in sorted(names) if name.startswith("cpu") and name[3:].isdigit())
    return tuple(path for path in paths if os.path.isdir(path))


def _own_oom_score_adj() -> int:
    try:
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _throttle(limit: ThrottleDevice) -> runtimespec.ThrottleDevice:
    return runtimespec.ThrottleDevice(*block_device(limit.path), rate=limit.rate)


def block_device(path: str) -> tuple[int, int]:
    """(major, minor); InvalidArgument for what is no block device."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise errors.InvalidArgument(f"no such block device: {ascii(path)[1:-1]}") from error
    if not stat.S_ISBLK(found.st_mode):
        raise errors.InvalidArgument(f"{ascii(path)[1:-1]} is not a block device")
    return os.major(found.st_rdev), os.minor(found.st_rdev)


def device_nodes(device: Device) -> tuple[runtimespec.Device, ...]:
    """The node, or all nodes below a directory, under the names they get inside. InvalidArgument in Docker's words."""
    inside = device.path_in_container or device.path_on_host
    if not device.path_on_host.startswith("/") or not inside.startswith("/"):
        raise errors.InvalidArgument(f"device {device.path_on_host!a}: an absolute path is expected")
    try:
        found = os.stat(device.path_on_host)
        if stat.S_ISDIR(found.st_mode):
            return _nodes_below(device.path_on_host, inside, lambda path: False)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise errors.InvalidArgument(
            f'error gathering device information while adding custom device "{ascii(device.path_on_host)[1:-1]}": {why}'
        ) from error
    node = _node(inside, found)
    if node is None:
        raise errors.InvalidArgument(
            f'error gathering device information while adding custom device "{ascii(device.path_on_host)[1:-1]}": not a device node'
        )
    return (node,)


def host_devices() -> tuple[runtimespec.Device, ...]:
    """Every device node of the host, for --privileged; terminals and what a container has of its own are left out."""
    own = (
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/fd",
        "/dev/console",
        "/dev/ptmx",
        "/dev/.lxc",
        "/dev/.lxd-mounts",
        "/dev/.udev",
    )
    return _nodes_below("/dev", "/dev", lambda path: path in own)


def _nodes_below(directory: str, inside: str, left_out: Callable[[str], bool]) -> tuple[runtimespec.Device, ...]:
    nodes: list[runtimespec.Device] = []
    pending = [(directory, inside)]
    while pending:
        here, there = pending.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                name = f"{there}/{entry.name}"
                if left_out(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, name))
                elif node := _node(name, entry.stat(follow_symlinks=False)):
                    nodes.append(node)
                    if len(nodes) > MOST_DEVICES:
                        raise errors.InvalidArgument(f"device {directory}: more than {MOST_DEVICES} nodes")
    return tuple(sorted(nodes, key=lambda node: node.path))


def _node(path: str, found: os.stat_result) -> runtimespec.Device | None:
    kind = "b" if stat.S_ISBLK(found.st_mode) else "c" if stat.S_ISCHR(found.st_mode) else ""
    if not kind:
        return None
    return runtimespec.Device(
        path=path,
        type=kind,
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        fileMode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
    )
