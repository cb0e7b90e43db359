"""The values of this room.

    Network    what was created: kept as a row
    Pool       one subnet of it
    Endpoint   a running container's end in a network: kept as a row from its start to its end
    Port       a published port of an endpoint
    Joining    what a container asked for when it joined (Docker's EndpointSettings, without what is answered)

Addresses are strings as people write them ("172.17.0.2"), so that they can be kept as JSON; subnets with their prefix.
"""

from __future__ import annotations

import msgspec

DEFAULT = "bridge"  # the network of who asks for none
PREDEFINED = ("bridge", "host", "none")

# Options of networks that we know, by Docker's names.
OPTION = "com.docker.network."
BRIDGE_NAME = OPTION + "bridge.name"
ICC = OPTION + "bridge.enable_icc"
MASQUERADE = OPTION + "bridge.enable_ip_masquerade"
HOST_BINDING = OPTION + "bridge.host_binding_ipv4"
DEFAULT_BRIDGE = OPTION + "bridge.default_bridge"
MTU = OPTION + "driver.mtu"
SPOOFING = "gorae.network.allow_spoofing"


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Frozen, by keyword, and short on disk."""


class Pool(Struct, frozen=True):
    """`range` is where addresses are taken from, `auxiliary` what is never given out: name → address."""

    subnet: str
    gateway: str = ""
    range: str = ""
    auxiliary: dict[str, str] = {}


class Network(Struct, frozen=True):
    id: str
    name: str
    created_at: int = 0
    driver: str = "bridge"  # bridge, host, null, macvlan, ipvlan
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = {}
    ipam_given: tuple[Pool, ...] = ()  # as it was asked for
    link: str = ""  # the bridge on this machine

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    @property
    def is_predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def has_names(self) -> bool:
        """Whether containers find each other by name in it."""
        return self.driver in ("bridge", "macvlan", "ipvlan") and not self.is_default

    def flag(self, option: str, default: bool) -> bool:
        return self.options.get(option, str(default)).lower() in ("true", "1", "t")


class Joining(Struct, frozen=True):
    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    driver_options: dict[str, str] = {}
    priority: int = 0


class Port(Struct, frozen=True):
    """`host` is the address at which it is published, "0.0.0.0" and "::" for every one."""

    protocol: str
    container_port: int
    host: str
    host_port: int


class Endpoint(Struct, frozen=True):
    """`link` is our end of its veth pair; `index` that of its interface in the container, for ours and theirs find each other."""

    id: str
    network: str
    container: str
    interface: str = "eth0"
    link: str = ""
    mac: str = ""
    ipv4: str = ""  # with its prefix: 172.17.0.2/16
    ipv6: str = ""
    gateway4: str = ""
    gateway6: str = ""
    names: tuple[str, ...] = ()  # by which others in the network find it
    ports: tuple[Port, ...] = ()
    priority: int = 0

    @property
    def address4(self) -> str:
        return self.ipv4.partition("/")[0]

    @property
    def address6(self) -> str:
        return self.ipv6.partition("/")[0]


class Wish(Struct, frozen=True):
    """`network create`."""

    name: str
    driver: str = "bridge"
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    scope: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_driver: str = ""
    ipam_options: dict[str, str] = {}
