"""What `docker info` and `docker version` ask of the engine."""

from __future__ import annotations

import msgspec


class Version(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    python: str
    kernel: str
    architecture: str  # Docker's: amd64, arm64
    operating_system: str  # "linux"
    build_time: str = ""
    git_commit: str = ""


class Info(msgspec.Struct, frozen=True, kw_only=True):
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
    def version(self) -> Version:
        raise NotImplementedError

    async def info(self) -> Info:
        raise NotImplementedError
