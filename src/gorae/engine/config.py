"""The daemon's configuration: `daemon.json` with Docker's key names, and where things lie.

    data_root  /var/lib/gorae   lock, gorae.db, content/, snapshots/, containers/<id>/, reserve
    exec_root  /run/gorae       supervisor/, containers/<id>/

An unknown key is refused: a misspelt limit that is silently ignored is worse than a daemon that does not start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gorae import errors

DEFAULT_FILE = Path("/etc/gorae/daemon.json")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    data_root: Path = Path("/var/lib/gorae")
    exec_root: Path = Path("/run/gorae")
    cgroup_parent: str = "/gorae"  # from the root of each hierarchy
    hosts: tuple[str, ...] = ()  # "unix:///run/gorae/docker.sock"; empty: that one below exec_root
    group: str = "docker"
    pidfile: Path | None = None
    labels: tuple[str, ...] = ()
    debug: bool = False
    log_level: str = "info"
    tls: bool = False
    tls_verify: bool = False
    tls_ca_certificate: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    log_driver: str = "local"
    log_options: dict[str, str] = {}
    default_runtime: str = "gorae"
    default_shm_size: int = 64 << 20
    default_ulimits: dict[str, dict[str, Any]] = {}
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = "private"
    no_new_privileges: bool = False
    seccomp_profile: str = ""  # a path, "unconfined" or "" for the built-in one
    init: bool = False
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    shutdown_timeout: int = 15


KEYS: dict[str, str] = {
    "data-root": "data_root",
    "exec-root": "exec_root",
    "cgroup-parent": "cgroup_parent",
    "hosts": "hosts",
    "group": "group",
    "pidfile": "pidfile",
    "labels": "labels",
    "debug": "debug",
    "log-level": "log_level",
    "tls": "tls",
    "tlsverify": "tls_verify",
    "tlscacert": "tls_ca_certificate",
    "tlscert": "tls_certificate",
    "tlskey": "tls_key",
    "log-driver": "log_driver",
    "log-opts": "log_options",
    "default-runtime": "default_runtime",
    "default-shm-size": "default_shm_size",
    "default-ulimits": "default_ulimits",
    "default-ipc-mode": "default_ipc_mode",
    "default-cgroupns-mode": "default_cgroupns_mode",
    "no-new-privileges": "no_new_privileges",
    "seccomp-profile": "seccomp_profile",
    "init": "init",
    "dns": "dns",
    "dns-opts": "dns_options",
    "dns-search": "dns_search",
    "registry-mirrors": "registry_mirrors",
    "insecure-registries": "insecure_registries",
    "shutdown-timeout": "shutdown_timeout",
}


def load(path: Path, **overrides: Any) -> Config:
    """The configuration in `path` (absent: the defaults), with `overrides` (field names) on top.

    Raises InvalidArgument naming the file and the key.
    """
    raise errors.Unsupported("not yet")
