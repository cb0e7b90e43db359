"""Networks: Docker's shapes ↔ the engine's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec
from msgspec import UNSET

from gorae.api.adapt.moment import rfc3339
from gorae.engine.network import model
from gorae.engine.networks import Joined
from gorae.wire import network as wire
from gorae.wire.container import Port
from gorae.wire.hostconfig import PortBinding
from gorae.wire.versions import Version


def wish(request: wire.CreateRequest) -> model.Wish:
    """IPv6 subnets without `EnableIPv6` mean nothing, as in Docker; IPv4 is on unless switched off."""
    ipam = request.ipam
    return model.Wish(
        name=request.name,
        driver=request.driver or "bridge",
        pools=tuple(_pool(each) for each in (ipam.config or ()) if each.subnet or each.ip_range or each.gateway) if ipam else (),
        ipv4=True if request.enable_ipv4 is None else request.enable_ipv4,
        ipv6=bool(request.enable_ipv6),
        internal=request.internal,
        attachable=request.attachable,
        ingress=request.ingress,
        config_only=request.config_only,
        scope=request.scope,
        options=request.options or {},
        labels=request.labels or {},
        ipam_driver=ipam.driver if ipam else "",
        ipam_options=(ipam.options or {}) if ipam else {},
    )


def _pool(given: wire.IpamConfig) -> model.Pool:
    return model.Pool(
        subnet=given.subnet, gateway=given.gateway, range=given.ip_range, auxiliary=given.auxiliary_addresses or {}
    )


def network(value: model.Network, members: Mapping[str, tuple[str, model.Endpoint]] | None = None) -> wire.Network:
    """With `members`, as an inspect tells it: container id → name and end."""
    return wire.Network(
        name=value.name,
        id=value.id,
        created=rfc3339(value.created_at),
        driver=value.driver,
        enable_ipv4=value.ipv4,
        enable_ipv6=value.ipv6,
        ipam=wire.Ipam(
            driver=value.ipam_driver,
            options=value.ipam_options or None,
            config=[_ipam_config(pool) for pool in value.pools],
        ),
        internal=value.internal,
        attachable=value.attachable,
        options=value.options,
        labels=value.labels,
        containers=UNSET
        if members is None
        else {container: _resource(name, endpoint) for container, (name, endpoint) in members.items()},
    )


def _ipam_config(pool: model.Pool) -> wire.IpamConfig:
    return wire.IpamConfig(
        subnet=pool.subnet, ip_range=pool.range, gateway=pool.gateway, auxiliary_addresses=pool.auxiliary or None
    )


def _resource(name: str, endpoint: model.Endpoint) -> wire.EndpointResource:
    return wire.EndpointResource(
        name=name, endpoint_id=endpoint.id, mac_address=endpoint.mac, ipv4_address=endpoint.ipv4, ipv6_address=endpoint.ipv6
    )


def endpoints(joined: Iterable[Joined]) -> dict[str, wire.EndpointSettings]:
    """`NetworkSettings.Networks`."""
    return {each.network.name: _settings(each) for each in joined}


def _settings(each: Joined) -> wire.EndpointSettings:
    end, wanted = each.endpoint, each.joining
    own = wire.EndpointIpamConfig(
        ipv4_address=wanted.ipv4, ipv6_address=wanted.ipv6, link_local_ips=list(wanted.link_local) or None
    )
    settings = wire.EndpointSettings(
        ipam_config=own if own != wire.EndpointIpamConfig() else None,
        links=list(wanted.links) or None,
        aliases=list(wanted.aliases) or None,
        mac_address=wanted.mac,
        driver_opts=wanted.driver_options or None,
        gw_priority=wanted.priority,
        network_id=each.network.id,
    )
    if end is None:
        return settings
    return msgspec.structs.replace(
        settings,
        endpoint_id=end.id,
        mac_address=end.mac,
        gateway=end.gateway4,
        ip_address=end.address4,
        ip_prefix_len=_prefix(end.ipv4),
        ipv6_gateway=end.gateway6,
        global_ipv6_address=end.address6,
        global_ipv6_prefix_len=_prefix(end.ipv6),
        dns_names=list(end.names) if each.network.has_names else None,
    )


def _prefix(address: str) -> int:
    return ip_network(address, strict=False).prefixlen if address else 0


def settings(joined: Sequence[Joined], exposed: Sequence[str], version: Version) -> wire.NetworkSettings:
    """`NetworkSettings` of an inspect."""
    found: dict[str, Any] = {"networks": endpoints(joined), "ports": port_map(joined, exposed)}
    running = [each.endpoint for each in joined if each.endpoint is not None]
    if running:
        found |= {"sandbox_id": running[0].container, "sandbox_key": f"/proc/{running[0].container[:12]}"}
    if version < (1, 52):
        default = next((each.endpoint for each in joined if each.network.is_default), None) or model.Endpoint(
            id="", network="", container=""
        )
        found |= {
            "bridge": "",
            "hairpin_mode": False,
            "link_local_ipv6_address": "",
            "link_local_ipv6_prefix_len": 0,
            "secondary_ip_addresses": None,
            "secondary_ipv6_addresses": None,
            "endpoint_id": default.id,
            "gateway": default.gateway4,
            "global_ipv6_address": default.address6,
            "global_ipv6_prefix_len": _prefix(default.ipv6),
            "ip_address": default.address4,
            "ip_prefix_len": _prefix(default.ipv4),
            "ipv6_gateway": default.gateway6,
            "mac_address": default.mac,
        }
    return wire.NetworkSettings(**found)


def port_map(joined: Iterable[Joined], exposed: Iterable[str]) -> dict[str, list[PortBinding] | None]:
    """Published ports with where they listen; exposed ones without. Empty unless it runs."""
    running = [each.endpoint for each in joined if each.endpoint is not None]
    if not running:
        return {}
    found: dict[str, list[PortBinding] | None] = {text if "/" in text else f"{text}/tcp": None for text in exposed}
    for endpoint in running:
        for port in endpoint.ports:
            key = f"{port.container_port}/{port.protocol}"
            binding = PortBinding(host_ip=port.host, host_port=str(port.host_port))
            found[key] = [*(found.get(key) or ()), binding]
    return found


def ports(joined: Iterable[Joined], exposed: Iterable[str]) -> list[Port]:
    """`Ports` of `GET /containers/json`."""
    found = []
    for text, bindings in port_map(joined, exposed).items():
        number, _, protocol = text.partition("/")
        private = int(number) if number.isdigit() else 0
        if bindings is None:
            found.append(Port(private_port=private, type=protocol))
        for binding in bindings or ():
            found.append(
                Port(ip=binding.host_ip, private_port=private, public_port=int(binding.host_port), type=protocol)
            )
    return found
