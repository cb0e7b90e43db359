"""Answers about the engine: version, info, disk usage."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType, field

from gorae.wire.codec import Shape
from gorae.wire.container import Summary
from gorae.wire.image import ImageSummary
from gorae.wire.volume import Volume


class Platform(Shape, frozen=True, kw_only=True):
    name: str


class Component(Shape, frozen=True, kw_only=True):
    name: str
    version: str
    details: dict[str, str] | None = None


class Version(Shape, frozen=True, kw_only=True):
    platform: Platform
    components: list[Component]
    version: str
    api_version: str
    min_api_version: str = field(name="MinAPIVersion")
    git_commit: str = ""
    go_version: str = ""
    os: str = "linux"
    arch: str
    kernel_version: str
    experimental: bool | UnsetType = UNSET
    build_time: str = ""


class Plugins(Shape, frozen=True, kw_only=True):
    volume: list[str] = []
    network: list[str] = []
    authorization: list[str] | None = None
    log: list[str] = []


class RegistryConfig(Shape, frozen=True, kw_only=True):
    insecure_registry_cidrs: list[str] = field(default_factory=list, name="InsecureRegistryCIDRs")
    index_configs: dict[str, Any] = {}
    mirrors: list[str] | None = None


class Runtime(Shape, frozen=True, kw_only=True):
    path: str = field(name="path")


class Commit(Shape, frozen=True, kw_only=True):
    id: str = field(default="", name="ID")
    expected: str | UnsetType = UNSET


class Swarm(Shape, frozen=True, kw_only=True):
    node_id: str = field(default="", name="NodeID")
    node_addr: str = ""
    local_node_state: str = "inactive"
    control_available: bool = False
    error: str = ""
    remote_managers: list[str] | None = None


class Info(Shape, frozen=True, kw_only=True):
    id: str = field(name="ID")
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str
    driver_status: list[list[str]] = []
    docker_root_dir: str
    plugins: Plugins
    memory_limit: bool = False
    swap_limit: bool = False
    cpu_cfs_period: bool = False
    cpu_cfs_quota: bool = False
    cpu_shares: bool = field(default=False, name="CPUShares")
    cpu_set: bool = field(default=False, name="CPUSet")
    pids_limit: bool = False
    oom_kill_disable: bool = False
    ipv4_forwarding: bool = field(default=False, name="IPv4Forwarding")
    bridge_nf_iptables: bool | UnsetType = field(default=UNSET, name="BridgeNfIptables")  # until API 1.49, always false since
    bridge_nf_ip6tables: bool | UnsetType = field(default=UNSET, name="BridgeNfIp6tables")
    debug: bool = False
    n_fd: int = field(default=0, name="NFd")
    n_goroutines: int = field(default=0, name="NGoroutines")
    system_time: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    n_events_listener: int = field(default=0, name="NEventsListener")
    kernel_version: str
    operating_system: str
    os_version: str = field(default="", name="OSVersion")
    os_type: str = field(default="linux", name="OSType")
    architecture: str
    ncpu: int = field(name="NCPU")
    mem_total: int
    index_server_address: str = ""
    registry_config: RegistryConfig = RegistryConfig()
    generic_resources: list[Any] | None = None
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    name: str
    labels: list[str] = []
    experimental_build: bool = False
    server_version: str
    runtimes: dict[str, Runtime]
    default_runtime: str
    swarm: Swarm = Swarm()
    live_restore_enabled: bool = True
    isolation: str = ""
    init_binary: str = ""
    containerd_commit: Commit = Commit()
    runc_commit: Commit = Commit()
    init_commit: Commit = Commit()
    security_options: list[str]
    product_license: str | UnsetType = UNSET
    cdi_spec_dirs: list[str] | None = field(default=None, name="CDISpecDirs")
    warnings: list[str] | None = None


class Usage(Shape, frozen=True, kw_only=True):
    """Since API 1.52: one an object kind."""

    active_count: int = 0
    total_count: int = 0
    reclaimable: int = 0
    total_size: int = 0
    items: list[Any] | UnsetType = UNSET


class DiskUsage(Shape, frozen=True, kw_only=True):
    """`GET /system/df`: until API 1.51 the lists, since then the usages."""

    layers_size: int | UnsetType = UNSET
    images: list[ImageSummary] | UnsetType = UNSET
    containers: list[Summary] | UnsetType = UNSET
    volumes: list[Volume] | UnsetType = UNSET
    build_cache: list[Any] | UnsetType = UNSET
    image_usage: Usage | UnsetType = UNSET
    container_usage: Usage | UnsetType = UNSET
    volume_usage: Usage | UnsetType = UNSET
    build_cache_usage: Usage | UnsetType = UNSET
