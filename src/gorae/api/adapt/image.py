"""The engine's images → `GET /images/json`, `GET /images/{name}/json`, history, deletions and progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from gorae.api.adapt.inspect import STORAGE_DRIVER
from gorae.api.adapt.moment import NANOSECONDS, rfc3339
from gorae.engine.image import model
from gorae.wire import codec, image, progress
from gorae.wire.config import Config, HealthConfig, ImageConfig
from gorae.wire.container import GraphDriver
from gorae.wire.versions import Version


def summary(value: model.ImageSummary, version: Version, *, containers: int = -1) -> image.ImageSummary:
    untagged = not value.repo_tags
    # Before API 1.43 an image without a name was listed under one that no image can have.
    placeholder = ["<none>:<none>"] if version < (1, 43) and untagged else []
    return image.ImageSummary(
        id=value.id,
        parent_id=value.parent,
        repo_tags=list(value.repo_tags) or placeholder,
        repo_digests=list(value.repo_digests) or (["<none>@<none>"] if version < (1, 43) and untagged else []),
        created=value.created // NANOSECONDS,
        size=value.size,
        shared_size=value.shared_size,
        virtual_size=value.size if version < (1, 44) else UNSET,
        labels=dict(value.labels),
        containers=containers,
    )


def inspect(value: model.Image, version: Version) -> image.ImageInspect:
    older: dict[str, Any] = {}
    if version < (1, 52):
        older = {"parent": value.parent, "docker_version": "", "graph_driver": GraphDriver(name=STORAGE_DRIVER)}
    if version < (1, 45):
        older |= {"container": "", "container_config": Config()}
    if version < (1, 44):
        older["virtual_size"] = value.size
    return image.ImageInspect(
        **older,
        id=value.id,
        repo_tags=list(value.repo_tags),
        repo_digests=list(value.repo_digests),
        comment=value.comment,
        created=UNSET if value.created is None else rfc3339(value.created),
        author=value.author,
        config=_config(value.config),
        architecture=value.architecture,
        variant=value.variant or UNSET,
        os=value.os,
        os_version=value.os_version or UNSET,
        size=value.size,
        root_fs=image.RootFs(layers=list(value.layers)),
        metadata=image.Metadata(last_tag_time=rfc3339(value.last_tagged or 0)),
    )


def history(items: Sequence[model.HistoryItem]) -> list[image.HistoryItem]:
    return [
        image.HistoryItem(
            id=item.id,
            created=item.created // NANOSECONDS,
            created_by=item.created_by,
            tags=list(item.tags) or None,
            size=item.size,
            comment=item.comment,
        )
        for item in items
    ]


def deletions(items: Sequence[model.Untagged | model.Deleted]) -> list[image.DeletedItem]:
    return [
        image.DeletedItem(untagged=item.name) if isinstance(item, model.Untagged) else image.DeletedItem(deleted=item.id)
        for item in items
    ]


def progress_line(value: model.Progress | model.Loaded, *, quiet: bool) -> bytes:
    """Nothing for a mere step when the client wants quiet."""
    if isinstance(value, model.Loaded):
        text = f"Loaded image: {value.name}\n" if value.name else f"Loaded image ID: {value.id}\n"
        return progress.line(progress.Line(stream=text))
    if quiet:
        return b""
    return progress.line(
        progress.Line(
            status=value.status,
            id=value.id or UNSET,
            progress_detail=progress.ProgressDetail(current=value.current, total=value.total),
        )
    )


def _config(value: model.ImageConfig) -> ImageConfig:
    empty = codec.Empty()
    check = value.healthcheck
    return ImageConfig(
        user=value.user,
        exposed_ports=dict.fromkeys(value.exposed_ports, empty) or None,
        env=list(value.env),
        entrypoint=None if value.entrypoint is None else list(value.entrypoint),
        cmd=None if value.cmd is None else list(value.cmd),
        healthcheck=None
        if check is None
        else HealthConfig(
            test=list(check.test),
            interval=check.interval,
            timeout=check.timeout,
            start_period=check.start_period,
            start_interval=check.start_interval,
            retries=check.retries,
        ),
        volumes=dict.fromkeys(value.volumes, empty) or None,
        working_dir=value.working_dir,
        on_build=list(value.on_build) or None,
        labels=dict(value.labels) or None,
        stop_signal=value.stop_signal,
        shell=list(value.shell) or None,
    )
