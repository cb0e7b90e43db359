"""Networks, and the endpoints by which containers join them."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from gorae.wire.codec import Shape
from gorae.wire.hostconfig import PortMap


class EndpointIpamConfig(Shape, frozen=True, kw_only=True, omit_defaults=True):
    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = field(default=None, name="LinkLocalIPs")


class EndpointSettings(Shape, frozen=True, kw_only=True):
    ipam_config: EndpointIpamConfig | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = field(default="", name="NetworkID")
    endpoint_id: str = field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = field(default="", name="IPAddress")
    ip_prefix_len: int = field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = field(default="", name="IPv6Gateway")
    global_ipv6_address: str = field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = field(default=None, name="DNSNames")


class NetworkingConfig(Shape, frozen=True, kw_only=True):
    endpoints_config: dict[str, EndpointSettings | None] | None = None


class NetworkSettings(Shape, frozen=True, kw_only=True):
    """What an inspect tells. The fields below `networks` are the default bridge's, told until API 1.51."""

    sandbox_id: str = field(default="", name="SandboxID")
    sandbox_key: str = ""
    ports: PortMap = {}
    networks: dict[str, EndpointSettings] = {}
    bridge: str | UnsetType = UNSET
    hairpin_mode: bool | UnsetType = UNSET
    link_local_ipv6_address: str | UnsetType = field(default=UNSET, name="LinkLocalIPv6Address")
    link_local_ipv6_prefix_len: int | UnsetType = field(default=UNSET, name="LinkLocalIPv6PrefixLen")
    secondary_ip_addresses: list[str] | UnsetType | None = field(default=UNSET, name="SecondaryIPAddresses")
    secondary_ipv6_addresses: list[str] | UnsetType | None = field(default=UNSET, name="SecondaryIPv6Addresses")
    endpoint_id: str | UnsetType = field(default=UNSET, name="EndpointID")
    gateway: str | UnsetType = UNSET
    global_ipv6_address: str | UnsetType = field(default=UNSET, name="GlobalIPv6Address")
    global_ipv6_prefix_len: int | UnsetType = field(default=UNSET, name="GlobalIPv6PrefixLen")
    ip_address: str | UnsetType = field(default=UNSET, name="IPAddress")
    ip_prefix_len: int | UnsetType = field(default=UNSET, name="IPPrefixLen")
    ipv6_gateway: str | UnsetType = field(default=UNSET, name="IPv6Gateway")
    mac_address: str | UnsetType = UNSET


class IpamConfig(Shape, frozen=True, kw_only=True, omit_defaults=True):
    subnet: str = ""
    ip_range: str = field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class Ipam(Shape, frozen=True, kw_only=True):
    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[IpamConfig] = []


class IpamWish(Shape, frozen=True, kw_only=True):
    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IpamConfig] | None = None


class ConfigReference(Shape, frozen=True, kw_only=True):
    network: str = ""


class CreateRequest(Shape, frozen=True, kw_only=True):
    name: str = ""
    check_duplicate: bool = False  # until API 1.44; names are unique anyhow
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    ipam: IpamWish | None = field(default=None, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class CreateResponse(Shape, frozen=True, kw_only=True):
    id: str
    warning: str = ""


class ConnectRequest(Shape, frozen=True, kw_only=True):
    container: str = ""
    endpoint_config: EndpointSettings | None = None


class DisconnectRequest(Shape, frozen=True, kw_only=True):
    container: str = ""
    force: bool = False


class EndpointResource(Shape, frozen=True, kw_only=True):
    name: str = ""
    endpoint_id: str = field(default="", name="EndpointID")
    mac_address: str = ""
    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")


class Network(Shape, frozen=True, kw_only=True):
    name: str
    id: str
    created: str
    scope: str = "local"
    driver: str = "bridge"
    enable_ipv4: bool = field(default=True, name="EnableIPv4")
    enable_ipv6: bool = field(default=False, name="EnableIPv6")
    ipam: Ipam = field(default=Ipam(), name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = ConfigReference()
    config_only: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    containers: dict[str, EndpointResource] | UnsetType = UNSET  # only in an inspect
