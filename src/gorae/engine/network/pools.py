"""Which subnets a network gets. Pure.

    asked for      checked: inside of it lie range, gateway and auxiliary addresses; it overlaps with no other network's
    not asked for  the first of the default pools that overlaps neither with a network nor with what this machine already routes

The default pools give some 3,300 networks: first 32 of 4,094 addresses, then those of 254. IPv6 subnets are /64 of a unique local
prefix (RFC 4193) that is made from the data root's identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gorae import errors
from gorae.engine.network.model import Pool

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

DEFAULT_POOLS = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/15", 20),
    ("172.20.0.0/14", 24),
    ("172.24.0.0/13", 24),
    ("192.168.0.0/16", 24),
)
EXHAUSTED = "all predefined address pools have been fully subnetted"
OVERLAPS = "invalid pool request: Pool overlaps with other one on this address space"


def choose(pools: Iterable[tuple[str, int]], taken: Iterable[Subnet], version: int) -> Subnet:
    """The first free subnet; Forbidden, in Docker's words, when there is none."""
    held = sorted((int(each.network_address), int(each.broadcast_address)) for each in taken if each.version == version)
    for base, size in pools:
        network = ip_network(base, strict=False)
        if network.version == version and (found := _first_free(network, max(size, network.prefixlen), held)) is not None:
            return found
    raise errors.Forbidden(EXHAUSTED)


def _first_free(network: Subnet, size: int, held: list[tuple[int, int]]) -> Subnet | None:
    """Jumps over what is taken (first and last addresses, in order): a thousand networks are not a million comparisons."""
    step = 1 << (network.max_prefixlen - size)
    bottom, end = int(network.network_address), int(network.broadcast_address)
    start = bottom
    for first, last in held:
        if first >= start + step:
            break
        if last >= start:
            start = bottom + -(-(last + 1 - bottom) // step) * step
    if start + step - 1 > end:
        return None
    return IPv4Network((start, size)) if network.version == 4 else IPv6Network((start, size))


def local_prefix(identity: str) -> str:
    """fdxx:xxxx:xxxx::/48, the same for one data root for ever."""
    return str(IPv6Network((b"\xfd" + hashlib.sha256(identity.encode()).digest()[:5] + bytes(10), 48)))


def check(pools: tuple[Pool, ...], taken: Iterable[Subnet]) -> tuple[Pool, ...]:
    """The pools in their normal form. InvalidArgument or Forbidden in Docker's words."""
    held = list(taken)
    found = []
    for pool in pools:
        subnet = subnet_of(pool.subnet)
        if any(subnet.version == each.version and subnet.overlaps(each) for each in held):
            raise errors.Forbidden(OVERLAPS)
        held.append(subnet)
        found.append(_checked(pool, subnet))
    return tuple(found)


def subnet_of(text: str) -> Subnet:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise errors.InvalidArgument(f"invalid subnet {text}: invalid CIDR block notation") from None


def _checked(pool: Pool, subnet: Subnet) -> Pool:
    if subnet.num_addresses < 4 and subnet.version == 4:
        raise errors.InvalidArgument(f"invalid subnet {subnet}: it has no room for a gateway and a container")
    span = subnet
    if pool.range:
        span = subnet_of(pool.range)
        if span.version != subnet.version or not span.subnet_of(subnet):  # type: ignore[arg-type]
            raise errors.InvalidArgument(f"invalid ip-range {pool.range}: it is outside of the subnet {subnet}")
    gateway = _inside("gateway", pool.gateway, subnet) if pool.gateway else first_address(subnet)
    auxiliary = {name: str(_inside("auxiliary address", text, subnet)) for name, text in pool.auxiliary.items()}
    return Pool(
        subnet=str(subnet), gateway=str(gateway), range=str(span) if pool.range else "", auxiliary=auxiliary
    )


def first_address(subnet: Subnet) -> Address:
    return subnet.network_address + 1


def _inside(what: str, text: str, subnet: Subnet) -> Address:
    try:
        found = ip_address(text.partition("/")[0])
    except ValueError:
        raise errors.InvalidArgument(f"invalid {what} {text}: not an IP address") from None
    if found not in subnet:
        raise errors.InvalidArgument(f"invalid {what} {text}: it is outside of the subnet {subnet}")
    return found


def of_version(pools: tuple[Pool, ...], version: int) -> Iterator[Pool]:
    return (pool for pool in pools if ip_network(pool.subnet).version == version)
