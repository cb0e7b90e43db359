"""Image configurations (image specification, config.md, with Docker's additions): what runs, its layers, how it came about.

    ImageConfig ─┬─ architecture, os, variant, created, author
                 ├─ config      User Env Entrypoint Cmd WorkingDir Volumes ExposedPorts Labels StopSignal Healthcheck Shell OnBuild
                 ├─ rootfs      diff_ids: the digests of the uncompressed layers, lowest first
                 └─ history     one entry a step, with or without a layer

The digest of the configuration's bytes is the image's id, so that a pulled one is stored as it came and never encoded again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated

from gorae.errors import InvalidArgument
from gorae.oci import codec
from gorae.oci.codec import OneOf, int64, named
from gorae.oci.digest import Digest
from gorae.oci.json import read_json
from gorae.oci.manifest import CONFIG_LIMIT, MOST_LAYERS
from gorae.oci.platform import Platform, normalise


@dataclass(frozen=True)
class Healthcheck:
    """Times in nanoseconds, 0: inherited. `Test`: () inherited, ("NONE",), ("CMD", …) or ("CMD-SHELL", command)."""

    Test: tuple[str, ...] = ()
    Interval: int64 = 0
    Timeout: int64 = 0
    StartPeriod: int64 = 0
    StartInterval: int64 = 0
    Retries: int64 = 0


@dataclass(frozen=True)
class Config:
    """`Entrypoint` and `Cmd`: None is not set, () is set to nothing. Ports are like `80/tcp`."""

    User: str = ""
    ExposedPorts: frozenset[str] = frozenset()
    Env: tuple[str, ...] = ()
    Entrypoint: tuple[str, ...] | None = None
    Cmd: tuple[str, ...] | None = None
    Healthcheck: Healthcheck | None = None
    ArgsEscaped: bool = False
    Volumes: frozenset[str] = frozenset()
    WorkingDir: str = ""
    OnBuild: tuple[str, ...] = ()
    Labels: dict[str, str] = field(default_factory=dict)
    StopSignal: str = ""
    StopTimeout: int64 | None = None
    Shell: tuple[str, ...] = ()


@dataclass(frozen=True)
class RootFS:
    type: Annotated[str, OneOf("layers")]
    diff_ids: tuple[Digest, ...] = ()


@dataclass(frozen=True)
class History:
    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True)
class ImageConfig:
    """`created` is an RFC 3339 time."""

    architecture: str
    os: str
    rootfs: RootFS
    config: Config = field(default_factory=Config)
    variant: str | None = None
    os_version: str | None = named("os.version", None)
    os_features: tuple[str, ...] = named("os.features", ())
    created: str | None = None
    author: str = ""
    docker_version: str = ""
    history: tuple[History, ...] = ()

    @property
    def platform(self) -> Platform:
        return normalise(Platform(self.architecture, self.os, self.os_version, self.os_features, self.variant))


def decode(data: bytes) -> ImageConfig:
    """Raises `InvalidArgument`."""
    config = codec.decode(ImageConfig, read_json(data, "image config", CONFIG_LIMIT), "image config")
    if len(config.rootfs.diff_ids) > MOST_LAYERS:
        raise InvalidArgument(f"image config: {len(config.rootfs.diff_ids)} layers are more than the {MOST_LAYERS} allowed")
    layers = sum(not each.empty_layer for each in config.history)
    if config.history and layers > len(config.rootfs.diff_ids):
        raise InvalidArgument(f"image config: its history has {layers} layers, its rootfs {len(config.rootfs.diff_ids)}")
    return config


def encode(config: ImageConfig) -> bytes:
    """Compact JSON, the same bytes for the same value; its sha256 is the image's id."""
    return json.dumps(codec.encode(config), separators=(",", ":"), ensure_ascii=False).encode()
