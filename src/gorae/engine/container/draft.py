"""A wish and an image to the Container that `create` records, and the files of its directory.

Pure, but for what it is given to ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from gorae.engine.config import Config
from gorae.engine.container import files, health_check, modes, options, volumes
from gorae.engine.container.facts import Facts
from gorae.engine.container.merge import merge
from gorae.engine.container.model import Container, ContainerConfig, State
from gorae.engine.image.model import Image

LOG_NAME = "output.log"


class Host(NamedTuple):
    """What of the machine's files is copied or asked."""

    exists: Callable[[str], bool]
    read: Callable[[str], str]


HOST = Host(exists=lambda path: Path(path).exists(), read=files.read_host_file)


class Draft(NamedTuple):
    """`texts`: file name → text, for the container's directory."""

    container: Container
    texts: dict[str, str]
    warnings: tuple[str, ...]


def draft(
    identity: str,
    name: str,
    config: ContainerConfig,
    image: Image,
    *,
    defaults: Config,
    facts: Facts,
    directory: Path,
    find: Callable[[str], Container],
    host: Host = HOST,
) -> Draft:
    """`directory` is the container's own; `find` answers the container of a reference and raises when there is none."""
    config = with_ids(with_defaults(config, defaults), find)
    shared = modes.sharing(config)
    merged = merge(config, image.config)
    resolved = volumes.resolve(config, merged.volumes, host.exists)
    driver, log_options = options.log_options(config, defaults)
    container = Container(
        id=identity,
        name=name,
        created_at=time.time_ns(),
        image_id=image.id,
        config=config,
        state=State(),
        **merged._asdict(),
        hostname=config.hostname or (facts.hostname if "host" in (shared.network, shared.uts) else identity[:12]),
        stop_timeout=config.stop_timeout,
        healthcheck=health_check.merged(health_check.wish_of(config.healthcheck), image.config.healthcheck),
        log_driver=driver,
        log_options=log_options,
        log_path=_log_path(driver, identity, directory),
        records_path="" if driver == "none" else str(directory / LOG_NAME),
        mounts=resolved.points,
    )
    other = shared.joined().get("network")
    container = _with_files_of(container, find(other)) if other else _with_own_files(container, directory)
    return Draft(container, {} if other else _texts(container, shared, defaults, host), resolved.warnings)


def _log_path(driver: str, identity: str, directory: Path) -> str:
    """What `inspect` calls LogPath: a file that others may read, or nothing."""
    if driver == "json-file":
        return str(directory / f"{identity}-json.log")
    return str(directory / LOG_NAME) if driver == "local" else ""


def _with_files_of(container: Container, joined: Container) -> Container:
    """Who shares a network shares its names."""
    fields = ("hostname", "hostname_path", "hosts_path", "resolv_conf_path")
    return msgspec.structs.replace(container, **{field: getattr(joined, field) for field in fields})


def _with_own_files(container: Container, directory: Path) -> Container:
    return msgspec.structs.replace(
        container,
        hostname_path=str(directory / "hostname"),
        hosts_path=str(directory / "hosts"),
        resolv_conf_path=str(directory / "resolv.conf"),
    )


def with_defaults(config: ContainerConfig, defaults: Config) -> ContainerConfig:
    """The daemon's modes where the wish has none: `inspect` tells what counts."""
    return msgspec.structs.replace(
        config,
        ipc_mode=config.ipc_mode or defaults.default_ipc_mode,
        cgroupns_mode=config.cgroupns_mode or defaults.default_cgroupns_mode,
        shm_size=config.shm_size or defaults.default_shm_size,
    )


def with_ids(config: ContainerConfig, find: Callable[[str], Container]) -> ContainerConfig:
    """`container:NAME` becomes `container:ID`: a name may be another's tomorrow."""
    changed = {
        field: modes.JOIN + find(mode.removeprefix(modes.JOIN)).id
        for field, mode in (("network_mode", config.network_mode), ("pid_mode", config.pid_mode), ("ipc_mode", config.ipc_mode))
        if mode.startswith(modes.JOIN)
    }
    return msgspec.structs.replace(config, **changed) if changed else config


def _texts(container: Container, shared: modes.Sharing, defaults: Config, host: Host) -> dict[str, str]:
    config = container.config
    own_network = shared.network != "host"
    return {
        "hostname": f"{container.hostname}\n",
        "hosts": files.hosts(config.extra_hosts, None if own_network else host.read("/etc/hosts")),
        "resolv.conf": files.resolv_conf(
            host.read("/etc/resolv.conf"),
            servers=config.dns or defaults.dns,
            search=config.dns_search or defaults.dns_search,
            options=config.dns_options or defaults.dns_options,
        ),
    }
