"""Answers about containers: created, one in full, the list, its end, its update.

`UNSET` fields are left out of the JSON; `None` is written as null.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from gorae.wire.codec import Shape
from gorae.wire.config import Config
from gorae.wire.hostconfig import HostConfig
from gorae.wire.network import EndpointSettings, NetworkSettings


class CreateResponse(Shape, frozen=True, kw_only=True):
    id: str
    warnings: list[str] = []


class UpdateResponse(Shape, frozen=True, kw_only=True):
    warnings: list[str] = []


class MountPoint(Shape, frozen=True, kw_only=True):
    type: str
    name: str | UnsetType = UNSET
    source: str = ""
    destination: str = ""
    driver: str | UnsetType = UNSET
    mode: str = ""
    rw: bool = field(default=True, name="RW")
    propagation: str = ""


class HealthcheckResult(Shape, frozen=True, kw_only=True):
    start: str
    end: str
    exit_code: int
    output: str


class Health(Shape, frozen=True, kw_only=True):
    status: str = "none"
    failing_streak: int = 0
    log: list[HealthcheckResult] | UnsetType = UNSET


class State(Shape, frozen=True, kw_only=True):
    status: str
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = field(default=False, name="OOMKilled")
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ""
    finished_at: str = ""
    health: Health | UnsetType = UNSET


class GraphDriver(Shape, frozen=True, kw_only=True):
    name: str
    data: dict[str, str] | None = None


class SnapshotStorage(Shape, frozen=True, kw_only=True):
    name: str


class RootStorage(Shape, frozen=True, kw_only=True):
    snapshot: SnapshotStorage


class Storage(Shape, frozen=True, kw_only=True):
    root_fs: RootStorage = field(name="RootFS")


class Inspect(Shape, frozen=True, kw_only=True):
    """`GET /containers/{id}/json`."""

    id: str
    created: str
    path: str
    args: list[str]
    state: State
    image: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str  # with "/"
    restart_count: int
    driver: str
    platform: str
    mount_label: str
    process_label: str
    app_armor_profile: str
    exec_ids: list[str] | None = field(name="ExecIDs")
    host_config: HostConfig
    graph_driver: GraphDriver | UnsetType = UNSET  # until API 1.51
    storage: Storage | UnsetType = UNSET  # since
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountPoint] = []
    config: Config
    network_settings: NetworkSettings


class Port(Shape, frozen=True, kw_only=True):
    ip: str | UnsetType = field(default=UNSET, name="IP")
    private_port: int
    public_port: int | UnsetType = UNSET
    type: str = "tcp"


class SummaryHostConfig(Shape, frozen=True, kw_only=True):
    network_mode: str = ""
    annotations: dict[str, str] | UnsetType = UNSET


class SummaryNetworkSettings(Shape, frozen=True, kw_only=True):
    networks: dict[str, EndpointSettings] = {}


class Summary(Shape, frozen=True, kw_only=True):
    """A row of `GET /containers/json`."""

    id: str
    names: list[str]
    image: str
    image_id: str = field(name="ImageID")
    command: str
    created: int  # seconds
    ports: list[Port] = []
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str] = {}
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworkSettings = SummaryNetworkSettings()
    mounts: list[MountPoint] = []
    health: Health | UnsetType = UNSET  # since API 1.52


class WaitError(Shape, frozen=True, kw_only=True):
    message: str


class WaitResponse(Shape, frozen=True, kw_only=True):
    status_code: int
    error: WaitError | UnsetType | None = UNSET


class TopResponse(Shape, frozen=True, kw_only=True):
    titles: list[str]
    processes: list[list[str]]


class FilesystemChange(Shape, frozen=True, kw_only=True):
    path: str
    kind: int  # 0 modified, 1 added, 2 deleted


class PruneResponse(Shape, frozen=True, kw_only=True):
    containers_deleted: list[str] | None
    space_reclaimed: int
