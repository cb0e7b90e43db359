"""The values of this room, as frozen structs.

Units: bytes, seconds as given by Docker (`stop_timeout`), nanoseconds since the epoch for every `*_at` (0: never). A mapping or
a sequence that is absent is empty; `None` stands where Docker tells "absent" from "zero" or "empty" (`command`, `entrypoint`,
`init`, `pids_limit`, …).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from gorae.engine.image.model import HealthCheck
from gorae.logs.lines import Block

Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Frozen, by keyword, and short on disk."""


class Ulimit(Struct, frozen=True):
    name: str
    soft: int
    hard: int


class Device(Struct, frozen=True):
    path_on_host: str
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class ThrottleDevice(Struct, frozen=True):
    """`rate` is bytes or operations a second, or a weight."""

    path: str
    rate: int


class Resources(Struct, frozen=True):
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int = 0
    blkio_weight_device: tuple[ThrottleDevice, ...] = ()
    blkio_device_read_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_read_iops: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_iops: tuple[ThrottleDevice, ...] = ()
    oom_kill_disable: bool = False
    ulimits: tuple[Ulimit, ...] = ()


class Mount(Struct, frozen=True):
    """One `--mount`; `type` is bind, tmpfs or volume. `propagation` only for bind, `tmpfs_*` only for tmpfs."""

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    consistency: str = ""
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False
    tmpfs_size: int = 0
    tmpfs_mode: int = 0
    tmpfs_options: tuple[tuple[str, ...], ...] = ()
    volume_no_copy: bool = False
    volume_labels: dict[str, str] = {}
    volume_driver: str = ""
    volume_driver_options: dict[str, str] = {}
    volume_subpath: str = ""


class RestartPolicy(Struct, frozen=True):
    name: str = "no"  # no, always, unless-stopped, on-failure, on-unhealthy
    maximum_retry_count: int = 0


class LogConfig(Struct, frozen=True):
    driver: str = ""  # "": the daemon's
    options: dict[str, str] = {}


class ContainerConfig(Struct, frozen=True):
    """A wish, as it was sent; `inspect` gives it back. What the image says is merged in `spec.py`, never here.

    `port_bindings`, `healthcheck`, `device_requests` and `networks` are kept in Docker's own shape for `inspect`; `create`
    warns about them until they are honoured.
    """

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_directory: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = {}
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None
    shell: tuple[str, ...] | None = None
    network_disabled: bool = False

    binds: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    tmpfs: dict[str, str] = {}
    volumes_from: tuple[str, ...] = ()
    volume_driver: str = ""
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_opt: tuple[str, ...] = ()
    resources: Resources = Resources()
    oom_score_adj: int = 0
    cgroup_parent: str = ""
    network_mode: str = "default"
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    cgroupns_mode: str = ""
    userns_mode: str = ""
    init: bool | None = None
    auto_remove: bool = False
    restart_policy: RestartPolicy = RestartPolicy()
    log: LogConfig = LogConfig()
    shm_size: int = 0
    group_add: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    device_requests: tuple[dict[str, Any], ...] = ()
    sysctls: dict[str, str] = {}
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    port_bindings: dict[str, Any] = {}
    publish_all_ports: bool = False
    networks: dict[str, Any] = {}
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    storage_options: dict[str, str] = {}
    annotations: dict[str, str] = {}
    runtime: str = ""
    console_size: tuple[int, int] = (0, 0)  # height, width


class Probe(Struct, frozen=True):
    """One run of a health check; `exit_code` -1: it took too long, or could not be run."""

    start: int
    end: int
    exit_code: int
    output: str = ""


class Health(Struct, frozen=True):
    status: Literal["starting", "healthy", "unhealthy"] = "starting"
    failing_streak: int = 0
    log: tuple[Probe, ...] = ()


class State(Struct, frozen=True):
    status: Status = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    stopped_by_user: bool = False  # `stop` or `kill` wins over the restart policy
    health: Health | None = None  # None without a health check

    @property
    def running(self) -> bool:
        """Docker's `Running`: true while paused as well."""
        return self.status in ("running", "paused")


class MountPoint(Struct, frozen=True):
    """A mount as it was resolved; `type` is bind, tmpfs or volume, `mode` the third field of `-v`."""

    type: str
    source: str
    destination: str
    mode: str = ""
    read_write: bool = True
    propagation: str = ""
    name: str = ""
    driver: str = ""


class Container(Struct, frozen=True):
    """A container at one moment. `path` and `arguments` are what is executed: entrypoint and command merged with the image's."""

    id: str
    name: str  # without "/"
    created_at: int
    image_id: str  # "sha256:…"; for `host` the identity of the built-in image
    config: ContainerConfig
    state: State
    path: str
    arguments: tuple[str, ...] = ()
    # the wish and the image merged: what Docker's `Config` of an inspect shows
    environment: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    working_directory: str = ""
    user: str = ""
    hostname: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_timeout: int | None = None
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: HealthCheck | None = None

    log_driver: str = "local"
    log_options: dict[str, str] = {}
    log_path: str = ""  # of the driver's own file
    records_path: str = ""  # of ours, which `logs` reads; "" is log_path (containers of earlier versions)
    hostname_path: str = ""
    hosts_path: str = ""
    resolv_conf_path: str = ""
    mounts: tuple[MountPoint, ...] = ()
    restart_count: int = 0
    exec_ids: tuple[str, ...] = ()
    size_rw: int | None = None  # only when asked for
    size_root: int | None = None


class Created(Struct, frozen=True):
    id: str
    warnings: tuple[str, ...] = ()


class ExecConfig(Struct, frozen=True):
    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    working_directory: str = ""
    user: str = ""
    tty: bool = False
    privileged: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] = (0, 0)  # height, width


class Exec(Struct, frozen=True):
    """`exit_code` is None until it has ended; `pid` is the number in the host's pid namespace."""

    id: str
    container: str
    config: ExecConfig
    running: bool = False
    pid: int = 0
    exit_code: int | None = None
    can_remove: bool = False


class WaitResult(Struct, frozen=True):
    exit_code: int
    error: str = ""


WaitCondition = Literal["not-running", "next-exit", "removed"]


class AttachRequest(Struct, frozen=True):
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = True
    logs: bool = False


class LogRequest(Struct, frozen=True):
    """`since` and `until` are nanoseconds since the epoch (0: no bound), `tail` None for all lines."""

    stdout: bool = True
    stderr: bool = True
    since: int = 0
    until: int = 0
    tail: int | None = None
    follow: bool = False


@dataclass(slots=True)
class Attachment:
    """The engine's end of an attach socket, owned by whoever received it: call `close()`.

    On `socket` (non-blocking, unix stream) flow, without a TTY, Docker's 8-byte frames, with a TTY raw bytes; towards the
    container raw stdin, whose end is `socket.shutdown(SHUT_WR)`. It reaches end-of-file when the program has ended and
    everything was delivered. `replay` comes before anything on the socket (attach with `logs`); `socket` is None when only the
    replay was asked for (`stream` false).
    """

    tty: bool
    socket: socket.socket | None
    replay: AsyncIterator[Sequence[Block]] | None = None

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
