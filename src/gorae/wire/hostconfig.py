"""HostConfig: what of a container depends on the machine. Every field of API 1.56, and the few that older clients still send.

A field that is not honoured is here all the same: what is decoded can be warned about, what is not would vanish in silence.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from gorae.wire.codec import Shape


class DeviceMapping(Shape, frozen=True, kw_only=True):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Shape, frozen=True, kw_only=True):
    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class WeightDevice(Shape, frozen=True, kw_only=True):
    path: str = ""
    weight: int = 0


class ThrottleDevice(Shape, frozen=True, kw_only=True):
    path: str = ""
    rate: int = 0


class Ulimit(Shape, frozen=True, kw_only=True):
    name: str = ""
    soft: int = 0
    hard: int = 0


class LogConfig(Shape, frozen=True, kw_only=True):
    type: str = ""
    config: dict[str, str] | None = None


class RestartPolicy(Shape, frozen=True, kw_only=True):
    name: str = ""
    maximum_retry_count: int = 0


class PortBinding(Shape, frozen=True, kw_only=True):
    host_ip: str = ""
    host_port: str = ""


PortMap = dict[str, list[PortBinding] | None]


class BindOptions(Shape, frozen=True, kw_only=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Shape, frozen=True, kw_only=True):
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Shape, frozen=True, kw_only=True):
    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None
    subpath: str = ""


class ImageOptions(Shape, frozen=True, kw_only=True):
    subpath: str = ""


class TmpfsOptions(Shape, frozen=True, kw_only=True):
    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class ClusterOptions(Shape, frozen=True, kw_only=True):
    pass


class Mount(Shape, frozen=True, kw_only=True, omit_defaults=True):
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: ClusterOptions | None = None


class Resources(Shape, frozen=True, kw_only=True):
    """Limits. They are part of HostConfig at create, and the whole of an update (with the restart policy)."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    # Windows only
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = field(default=0, name="IOMaximumBandwidth")
    # until API 1.41
    kernel_memory: int = 0
    kernel_memory_tcp: int = field(default=0, name="KernelMemoryTCP")


class HostConfig(Resources, frozen=True, kw_only=True):
    binds: list[str] | None = None
    container_id_file: str = field(default="", name="ContainerIDFile")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: PortMap | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[Mount] | None = None
    console_size: list[int] | None = None  # height, width
    annotations: dict[str, str] | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = None


class UpdateRequest(Resources, frozen=True, kw_only=True):
    restart_policy: RestartPolicy = RestartPolicy()


def is_default(value: Any) -> bool:
    """Whether a field says nothing: zero, empty, or a struct whose fields all say nothing."""
    if isinstance(value, Shape):
        return all(is_default(getattr(value, name)) for name in value.__struct_fields__)
    return not value
