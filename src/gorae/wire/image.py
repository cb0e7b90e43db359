"""Answers about images."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from gorae.wire.codec import Shape
from gorae.wire.config import Config, ImageConfig
from gorae.wire.container import GraphDriver


class RootFs(Shape, frozen=True, kw_only=True):
    type: str = "layers"
    layers: list[str] = []


class Metadata(Shape, frozen=True, kw_only=True):
    last_tag_time: str = "0001-01-01T00:00:00Z"


class Descriptor(Shape, frozen=True, kw_only=True):
    """An OCI descriptor, with OCI's own spelling."""

    media_type: str = field(name="mediaType")
    digest: str = field(name="digest")
    size: int = field(name="size")


class ImageInspect(Shape, frozen=True, kw_only=True):
    """`GET /images/{name}/json`."""

    id: str
    descriptor: Descriptor | UnsetType = UNSET
    repo_tags: list[str] = []
    repo_digests: list[str] = []
    parent: str | UnsetType = UNSET  # until API 1.51, as the next three
    comment: str = ""
    created: str | UnsetType = UNSET
    container: str | UnsetType = UNSET
    container_config: Config | UnsetType | None = UNSET
    docker_version: str | UnsetType = UNSET
    author: str = ""
    config: ImageConfig
    architecture: str
    variant: str | UnsetType = UNSET
    os: str
    os_version: str | UnsetType = UNSET
    size: int
    virtual_size: int | UnsetType = UNSET  # until API 1.43
    graph_driver: GraphDriver | UnsetType = UNSET
    root_fs: RootFs = field(name="RootFS")
    metadata: Metadata = Metadata()


class ImageSummary(Shape, frozen=True, kw_only=True):
    """A row of `GET /images/json`; -1 where nothing was calculated."""

    id: str
    parent_id: str = ""
    repo_tags: list[str] | None = []
    repo_digests: list[str] | None = []
    created: int  # seconds
    size: int
    shared_size: int = -1
    virtual_size: int | UnsetType = UNSET  # until API 1.43
    labels: dict[str, str] | None = {}
    containers: int = -1
    descriptor: Descriptor | UnsetType = UNSET


class HistoryItem(Shape, frozen=True, kw_only=True):
    id: str
    created: int
    created_by: str
    tags: list[str] | None
    size: int
    comment: str


class DeletedItem(Shape, frozen=True, kw_only=True):
    untagged: str | UnsetType = UNSET
    deleted: str | UnsetType = UNSET


class ImagesPruneResponse(Shape, frozen=True, kw_only=True):
    images_deleted: list[DeletedItem] | None
    space_reclaimed: int
