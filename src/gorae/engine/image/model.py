"""What an image is to the engine. Docker's JSON spellings are made from these in `api/adapt`.

    ImageSummary          one line of `images`
    Image                 all of `inspect`
      └─ ImageConfig      the defaults a container inherits
           └─ HealthCheck
    HistoryItem           one line of `history`
    Untagged, Deleted     what `remove` did, in order
    Pruned                what `prune` did
    Progress, Loaded      what `import_` and `load` tell on their way
    Pulled, Pushed        what `pull` and `push` tell at the end of a name
    RemoteImage           what a registry says of a name
    ImageEvent            told to the engine's event bus

Times are nanoseconds since the epoch, sizes are bytes, an id is "sha256:" and 64 hex digits (the digest of the configuration).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class HealthCheck(Struct, frozen=True, kw_only=True):
    """`test` is () to inherit, ("NONE",), ("CMD", argument, …) or ("CMD-SHELL", command); durations in nanoseconds, 0 means
    the default."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ImageConfig(Struct, frozen=True, kw_only=True):
    """What a container inherits. `None` for entrypoint and cmd means unset, which differs from empty."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()  # "80/tcp"
    env: tuple[str, ...] = ()  # "NAME=value"
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: HealthCheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()


class Image(Struct, frozen=True, kw_only=True):
    id: str
    repo_tags: tuple[str, ...] = ()  # familiar, "busybox:latest"
    repo_digests: tuple[str, ...] = ()  # familiar, "busybox@sha256:…"
    parent: str = ""
    comment: str = ""
    created: int | None = None
    author: str = ""
    architecture: str
    variant: str = ""
    os: str = "linux"
    os_version: str = ""
    config: ImageConfig
    size: int  # all layers unpacked
    layers: tuple[str, ...] = ()  # diff ids, lowest first
    last_tagged: int | None = None
    builtin: bool = False  # made by the engine, cannot be removed


class ImageSummary(Struct, frozen=True, kw_only=True):
    id: str
    parent: str = ""
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    created: int
    size: int
    shared_size: int = -1  # -1: not computed
    labels: Mapping[str, str] = field(default_factory=dict)
    builtin: bool = False


class HistoryItem(Struct, frozen=True, kw_only=True):
    """Newest first. `id` is "<missing>" for steps that are no image of their own."""

    id: str = "<missing>"
    created: int = 0
    created_by: str = ""
    tags: tuple[str, ...] = ()
    size: int = 0
    comment: str = ""


class Untagged(Struct, frozen=True):
    name: str


class Deleted(Struct, frozen=True):
    id: str


class Pruned(Struct, frozen=True, kw_only=True):
    removed: tuple[Untagged | Deleted, ...] = ()
    reclaimed: int = 0


class Progress(Struct, frozen=True, kw_only=True):
    """A step on the way: Docker's `status`, `id` and `progressDetail`."""

    status: str
    id: str = ""
    current: int = 0
    total: int = 0


class Loaded(Struct, frozen=True, kw_only=True):
    """One name (or, nameless, one image) has arrived."""

    id: str
    name: str = ""


class Pulled(Struct, frozen=True, kw_only=True):
    """`reference` has arrived (or was here: not `fresh`), by `digest`."""

    id: str
    reference: str
    digest: str
    fresh: bool


class Pushed(Struct, frozen=True, kw_only=True):
    """One tag stands in the registry."""

    tag: str
    digest: str
    size: int


class RemoteImage(Struct, frozen=True, kw_only=True):
    """What a registry says of a name. `platforms` are (os, architecture, variant)."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[tuple[str, str, str], ...] = ()


class ImageEvent(Struct, frozen=True, kw_only=True):
    """`action` is Docker's: import, load, save, tag, untag, delete, prune, pull, push."""

    action: str
    id: str
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
