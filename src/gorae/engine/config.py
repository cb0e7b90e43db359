"""The daemon's configuration: `daemon.json` with Docker's key names, and where things lie.

    data_root  /var/lib/gorae   lock, gorae.db, content/, snapshots/, containers/<id>/, reserve
    exec_root  /run/gorae       supervisor/, containers/<id>/

An unknown key is refused: a misspelt limit that is silently ignored is worse than a daemon that does not start.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import msgspec

from gorae import errors
from gorae.linux.process import RLIMITS
from gorae.oci.json import read_json

DEFAULT_FILE = Path("/etc/gorae/daemon.json")
PROFILE_LIMIT = 1 << 20
LOG_DRIVERS = ("local", "json-file", "syslog", "journald", "none")


class AddressPool(msgspec.Struct, frozen=True, kw_only=True):
    """Subnets of prefix length `size` out of `base`."""

    base: str
    size: int


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
    insecure: bool = False  # TCP without client certificates; not a key of Docker's
    authorization_plugins: tuple[str, ...] = ()
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
    bridge: str = ""  # link of the default network: gorae0; "none": there is no default network
    bip: str = ""  # its address with prefix
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_address_pools: tuple[AddressPool, ...] = ()
    default_network_options: dict[str, dict[str, str]] = {}
    mtu: int = 0
    icc: bool = True
    ipv6: bool = False  # of the default network
    ip_forward: bool = True
    ip_masquerade: bool = True
    iptables: bool = True  # whether rules are made at all; Docker's name, though ours are nftables
    publish_address: str = ""  # where `-p 80:80` listens; "": everywhere
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_token_origins: tuple[str, ...] = ()  # further origins that may hand out tokens; not a key of Docker's
    default_registry: str = ""  # the registry that clients add to names without one: such names are read without it; ours too
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
    "insecure": "insecure",
    "authorization-plugins": "authorization_plugins",
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
    "bridge": "bridge",
    "bip": "bip",
    "bip6": "bip6",
    "fixed-cidr": "fixed_cidr",
    "fixed-cidr-v6": "fixed_cidr_v6",
    "default-address-pools": "default_address_pools",
    "default-network-opts": "default_network_options",
    "mtu": "mtu",
    "icc": "icc",
    "ipv6": "ipv6",
    "ip-forward": "ip_forward",
    "ip-masq": "ip_masquerade",
    "iptables": "iptables",
    "ip": "publish_address",
    "publish-address": "publish_address",
    "registry-mirrors": "registry_mirrors",
    "insecure-registries": "insecure_registries",
    "registry-token-origins": "registry_token_origins",
    "default-registry": "default_registry",
    "shutdown-timeout": "shutdown_timeout",
}


def load(path: Path, **overrides: Any) -> Config:
    """The configuration in `path` (absent: the defaults), with `overrides` (field names) on top.

    Raises InvalidArgument naming the file and the key.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b"{}"
    except OSError as error:
        raise errors.InvalidArgument(f"{path}: {error.strerror}") from error
    return parse(data, str(path), **overrides)


def parse(data: bytes, where: str, **overrides: Any) -> Config:
    """The configuration in `data`, which came from `where`."""
    document = read_json(data, where)
    if not isinstance(document, dict):
        raise errors.InvalidArgument(f"{where}: an object is expected, not {type(document).__name__}")
    fields: dict[str, Any] = {}
    for key, value in document.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise errors.InvalidArgument(f"{where}: unknown key {key!r}{hint}")
        fields[KEYS[key]] = parse_bytes(value) if key == "default-shm-size" and isinstance(value, str) else value
    try:
        config = msgspec.convert(fields | overrides, Config, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise errors.InvalidArgument(f"{where}: {_in_docker_names(str(error))}") from error
    _check(config, where)
    return config


def parse_bytes(text: str) -> int:
    """`64M`, `1.5g`, `512`: bytes, in powers of 1024. InvalidArgument otherwise."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(?:i?b)?\s*", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise errors.InvalidArgument(f"invalid size: '{text}'")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def _decode_path(kind: type, value: object) -> object:
    if kind is Path:
        if not isinstance(value, str | Path):
            raise TypeError(f"expected a path, not {value!r}")
        return Path(value)
    raise NotImplementedError(kind)


def _in_docker_names(message: str) -> str:
    for docker, ours in KEYS.items():
        message = message.replace(f"$.{ours}", f"`{docker}`")
    return message


def _check(config: Config, where: str) -> None:
    for name, path in (("data-root", config.data_root), ("exec-root", config.exec_root)):
        if not path.is_absolute() or ".." in path.parts:
            raise errors.InvalidArgument(f"{where}: {name} must be an absolute path without '..', not {str(path)!r}")
    parent = config.cgroup_parent
    if not re.fullmatch(r"(/[A-Za-z0-9_.\-]+)+", parent) or ".." in parent.split("/"):
        raise errors.InvalidArgument(f"{where}: cgroup-parent must look like /gorae, not {parent!r}")
    if config.log_driver not in LOG_DRIVERS:
        raise errors.InvalidArgument(f"{where}: log-driver {config.log_driver!r} is not one of {', '.join(LOG_DRIVERS)}")
    if config.default_ipc_mode not in ("private", "shareable", "none", "host"):
        raise errors.InvalidArgument(
            f"{where}: default-ipc-mode {config.default_ipc_mode!r} is not private, shareable, none or host"
        )
    if config.default_cgroupns_mode not in ("private", "host"):
        raise errors.InvalidArgument(f"{where}: default-cgroupns-mode {config.default_cgroupns_mode!r} is not private or host")
    _check_networks(config, where)
    if config.default_shm_size <= 0:
        raise errors.InvalidArgument(f"{where}: default-shm-size must be positive")
    for host in config.hosts:
        if not re.fullmatch(r"(unix:///.+|tcp://[^/\s]+|fd://.*)", host):
            raise errors.InvalidArgument(f"{where}: host {host!r} is not unix:///path, tcp://address:port or fd://")
    for name, limit in config.default_ulimits.items():
        if f"RLIMIT_{name.upper()}" not in RLIMITS or not all(isinstance(limit.get(end), int) for end in ("Soft", "Hard")):
            raise errors.InvalidArgument(
                f'{where}: default-ulimits {name!r}: a known name and {{"Soft": n, "Hard": n}} are expected'
            )
    _check_profile(config.seccomp_profile, where)


def _check_profile(path: str, where: str) -> None:
    if path not in ("", "builtin", "unconfined") and not path.startswith("/"):
        raise errors.InvalidArgument(f"{where}: seccomp-profile must be an absolute path, builtin or unconfined, not {path!r}")


def seccomp_profile(config: Config) -> str:
    """What a container's specification takes: "", "builtin", "unconfined" or the profile's text; InvalidArgument names the file."""
    path = config.seccomp_profile
    if not path.startswith("/"):
        return path
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(PROFILE_LIMIT)
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidArgument(f"seccomp-profile {path} cannot be read: {error}") from error
    read_json(text.encode(), path)
    return text


def _check_networks(config: Config, where: str) -> None:
    readers: tuple[tuple[str, str, Callable[[str], object]], ...] = (
        ("bip", config.bip, ip_interface),
        ("bip6", config.bip6, ip_interface),
        ("fixed-cidr", config.fixed_cidr, ip_network),
        ("fixed-cidr-v6", config.fixed_cidr_v6, ip_network),
        ("publish-address", config.publish_address, ip_address),
        *(("default-address-pools", pool.base, ip_network) for pool in config.default_address_pools),
    )
    for key, text, read in readers:
        try:
            if text:
                read(text)
        except ValueError as error:
            raise errors.InvalidArgument(f"{where}: {key}: {error}") from None
    for pool in config.default_address_pools:
        base = ip_network(pool.base)
        if not base.prefixlen <= pool.size <= base.max_prefixlen - 2:
            raise errors.InvalidArgument(f"{where}: default-address-pools: size {pool.size} does not fit into {pool.base}")
    if config.bridge and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,14}", config.bridge):
        raise errors.InvalidArgument(f"{where}: bridge {config.bridge!r} is no name of a network link")
