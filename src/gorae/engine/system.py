"""What `docker info` and `docker version` ask of the engine."""

from __future__ import annotations

import asyncio
import os
import platform
import time

import msgspec

from gorae.cgroup.layout import Layout
from gorae.engine.config import Config
from gorae.engine.container.entries import Entries
from gorae.engine.container.facts import Facts
from gorae.engine.events import Events
from gorae.engine.image.images import Images
from gorae.linux import system
from gorae.version import VERSION

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Version(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    python: str
    kernel: str
    architecture: str  # Docker's: amd64, arm64
    operating_system: str = "linux"
    build_time: str = ""
    git_commit: str = ""


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """`warnings` are about this machine, not about a request; `system_time` is nanoseconds since the epoch."""

    id: str
    name: str
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    storage_driver: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    kernel_version: str
    operating_system: str
    os_type: str
    architecture: str  # `uname -m`
    cpus: int
    memory: int
    data_root: str
    server_version: str
    labels: tuple[str, ...]
    system_time: int
    security_options: tuple[str, ...]
    events_listeners: int
    file_descriptors: int
    tasks: int
    init: bool
    memory_limit: bool
    swap_limit: bool
    cpu_shares: bool
    cpu_quota: bool
    cpuset: bool
    pids_limit: bool
    oom_kill_disable: bool
    default_runtime: str
    registry_mirrors: tuple[str, ...]
    insecure_registries: tuple[str, ...]
    warnings: tuple[str, ...]
    debug: bool
    live_restore: bool = True


class System:
    def __init__(self, config: Config, facts: Facts, entries: Entries, images: Images, events: Events, identity: str) -> None:
        self._config = config
        self._facts = facts
        self._entries = entries
        self._images = images
        self._events = events
        self._identity = identity

    def version(self) -> Version:
        return Version(
            version=VERSION,
            python=platform.python_version(),
            kernel=system.kernel_release(),
            architecture=ARCHITECTURES.get(self._facts.machine, self._facts.machine),
        )

    async def info(self) -> Info:
        config, facts, layout = self._config, self._facts, self._facts.layout
        statuses = [entry.status for entry in self._entries]
        running, paused = statuses.count("running"), statuses.count("paused")
        release = system.os_release()
        limits = _limits(layout)
        return Info(
            id=self._identity,
            name=facts.hostname,
            containers=len(statuses),
            containers_running=running,
            containers_paused=paused,
            containers_stopped=len(statuses) - running - paused,
            images=len(self._images.list(all=True)),
            storage_driver="overlay",
            logging_driver=config.log_driver,
            cgroup_driver="none" if layout.mode == "none" else "cgroupfs",
            cgroup_version="2" if layout.mode == "v2" else "1",
            kernel_version=system.kernel_release(),
            operating_system=release.get("PRETTY_NAME", release.get("NAME", "Linux")),
            os_type="linux",
            architecture=facts.machine,
            cpus=facts.cpus,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            data_root=str(config.data_root),
            server_version=VERSION,
            labels=config.labels,
            system_time=time.time_ns(),
            security_options=self._security_options(),
            events_listeners=self._events.listeners,
            file_descriptors=len(os.listdir("/proc/self/fd")),
            tasks=len(asyncio.all_tasks()),
            init=config.init,
            **{name: there for name, (_, there) in limits.items()},
            default_runtime=config.default_runtime,
            registry_mirrors=config.registry_mirrors,
            insecure_registries=config.insecure_registries,
            warnings=tuple(f"WARNING: No {words} support" for words, there in limits.values() if not there),
            debug=config.debug,
        )

    def _security_options(self) -> tuple[str, ...]:
        seccomp = self._config.seccomp_profile or "builtin"
        options = [f"name=seccomp,profile={seccomp}"]
        if "cgroup" in self._facts.namespaces and self._config.default_cgroupns_mode == "private":
            options.append("name=cgroupns")
        if self._config.no_new_privileges:
            options.append("name=no-new-privileges")
        return tuple(options)


def _limits(layout: Layout) -> dict[str, tuple[str, bool]]:
    """Field of `Info` → Docker's words, and whether this machine can."""
    cpu = "cpu" in layout.controllers
    swap = layout.has("memory.swap.max") or layout.has("memory.memsw.limit_in_bytes")
    return {
        "memory_limit": ("memory limit", "memory" in layout.controllers),
        "swap_limit": ("swap limit", swap),
        "cpu_shares": ("cpu shares", cpu),
        "cpu_quota": ("cpu cfs quota", cpu),
        "cpuset": ("cpuset", "cpuset" in layout.controllers),
        "pids_limit": ("pids limit", "pids" in layout.controllers),
        "oom_kill_disable": ("oom kill disable", layout.mode in ("v1", "hybrid")),
    }
