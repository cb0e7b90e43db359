"""What a path in a container is → the header `X-Docker-Container-Path-Stat`; the body of `commit` → an image's defaults."""

from __future__ import annotations

import base64

from gorae.api.adapt.moment import rfc3339
from gorae.engine.container.archives import Change, PathStat
from gorae.engine.image.model import HealthCheck, ImageConfig
from gorae.wire import codec
from gorae.wire.archive import PathStat as WirePathStat
from gorae.wire.config import Config
from gorae.wire.container import FilesystemChange


def path_stat(value: PathStat) -> str:
    """base64 of JSON."""
    stat = WirePathStat(
        name=value.name, size=value.size, mode=value.mode, mtime=rfc3339(value.mtime), link_target=value.link_target
    )
    return base64.b64encode(codec.encode(stat)).decode()


def changes(values: list[Change]) -> list[FilesystemChange] | None:
    return [FilesystemChange(path=value.path, kind=value.kind) for value in values] or None


def image_config(given: Config) -> ImageConfig:
    check = given.healthcheck
    return ImageConfig(
        user=given.user,
        exposed_ports=tuple(given.exposed_ports or ()),
        env=tuple(given.env or ()),
        entrypoint=None if given.entrypoint is None else tuple(given.entrypoint),
        cmd=None if given.cmd is None else tuple(given.cmd),
        volumes=tuple(given.volumes or ()),
        working_dir=given.working_dir,
        labels=given.labels or {},
        stop_signal=given.stop_signal,
        healthcheck=None
        if check is None
        else HealthCheck(
            test=tuple(check.test or ()),
            interval=check.interval,
            timeout=check.timeout,
            start_period=check.start_period,
            start_interval=check.start_interval,
            retries=check.retries,
        ),
        on_build=tuple(given.on_build or ()),
        shell=tuple(given.shell or ()),
    )
