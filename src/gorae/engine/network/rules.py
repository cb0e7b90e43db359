"""Networks and endpoints → the rule set in the kernel. Pure.

    table inet gorae                                    everything that is routed
      raw        prerouting -300   a bridge's container speaks to 127.0.0.0/8: dropped (CVE-2020-8558)
      dnat       prerouting -100   a published port of this machine → container; never for 127.0.0.0/8 from outside (moby 45610)
      local      output     -100   the same for this machine's own programs, loopback included
      forward    forward       0   established · within a network · published · from a bridge to outside; else to a bridge: dropped
      snat       postrouting 100   hairpin and loopback: masqueraded · from a bridge to outside: masqueraded
    table bridge gorae                                  everything that enters a bridge's port
      guard      prerouting        source MAC, IPv4, ARP and IPv6 addresses must be the port's own

The chains never grow: networks, endpoints and ports are elements of sets and maps, looked up in constant time.

    bridges     our bridges                     internal   those without a way out      same  {bridge, bridge}, where icc is allowed
    own4 own6   {subnet, its bridge}            outward4 6 subnets that are masqueraded
    ports4 6    {protocol, port} → {address, port}           published on every address
    at4 at6     {address, protocol, port} → {address, port}  published on one
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gorae.engine.network.model import ICC, MASQUERADE, SPOOFING, Endpoint, Network
from gorae.netlink import expression as e
from gorae.netlink.nftables import Chain, Element, Rule, Set, Table

ARP, IPV4, IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
ICMPV6, NEIGHBOUR_ADVERTISEMENT, ROUTER_ADVERTISEMENT, REDIRECT = 58, 136, 134, 137
EVERYWHERE = ("0.0.0.0", "::", "")
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}
LENGTHS = {4: 4, 6: 16}

CHAINS = (
    Chain("raw", "filter", "prerouting", -300, e.NF_ACCEPT),
    Chain("dnat", "nat", "prerouting", -100, e.NF_ACCEPT),
    Chain("local", "nat", "output", -100, e.NF_ACCEPT),
    Chain("forward", "filter", "forward", 0, e.NF_ACCEPT),
    Chain("snat", "nat", "postrouting", 100, e.NF_ACCEPT),
    Chain("publish"),
)
_ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
SETS = {
    one.name: one
    for one in (
        Set("bridges", ("ifname",)),
        Set("internal", ("ifname",)),
        Set("same", ("ifname", "ifname")),
        *(
            each
            for version in (4, 6)
            for each in (
                Set(f"own{version}", (_ADDRESS[version], "ifname"), ranges=True),
                Set(f"outward{version}", (_ADDRESS[version],), ranges=True),
                Set(f"ports{version}", ("inet_proto", "inet_service"), (_ADDRESS[version], "inet_service")),
                Set(f"at{version}", (_ADDRESS[version], "inet_proto", "inet_service"), (_ADDRESS[version], "inet_service")),
            )
        ),
    )
}
GUARD_SETS = {
    one.name: one
    for one in (
        Set("members", ("ifname",)),
        Set("macs", ("ether_addr",)),
        Set("own_mac", ("ifname", "ether_addr")),
        Set("own4", ("ifname", "ipv4_addr")),
        Set("own6", ("ifname", "ipv6_addr")),
        Set("subnets4", ("ipv4_addr",), ranges=True),
        Set("subnets6", ("ipv6_addr",), ranges=True),
    )
}


@dataclass(frozen=True)
class Situation:
    """All that the rules depend on. `guard_forwarding`: it was us who made this machine forward, so nobody else may use that."""

    networks: tuple[Network, ...]
    endpoints: tuple[Endpoint, ...]
    guard_forwarding: bool = False
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Elements:
    """What one endpoint adds: set → elements, of the two tables."""

    routed: dict[str, tuple[Element, ...]]
    bridged: dict[str, tuple[Element, ...]]


def tables(name: str, situation: Situation) -> tuple[Table, Table]:
    return _routed(name, situation), _bridged(name, situation)


def of_endpoint(endpoint: Endpoint, network: Network) -> Elements:
    """Only bridges have rules."""
    if network.driver != "bridge":
        return Elements({}, {})
    return Elements(dict(_published(endpoint, network)), dict(_identity(endpoint, network)))


# ── what is routed ──


def _routed(name: str, situation: Situation) -> Table:
    bridges = [network for network in situation.networks if network.driver == "bridge"]
    by_id = {network.id: network for network in bridges}
    elements: dict[str, list[Element]] = {one: [] for one in SETS}
    elements["bridges"] = [Element((e.interface(network.link),)) for network in bridges]
    elements["internal"] = [Element((e.interface(network.link),)) for network in bridges if network.internal]
    elements["same"] = [Element((e.interface(network.link),) * 2) for network in bridges if not isolated(network)]
    for network in bridges:
        for subnet in subnets(network):
            own = Element(
                (subnet[0].packed, e.interface(network.link)), end=(subnet[-1].packed, e.interface(network.link))
            )
            elements[f"own{subnet.version}"].append(own)
    for version in (4, 6):
        outward = [
            subnet
            for network in bridges
            if not network.internal and network.flag(MASQUERADE, True)
            for subnet in subnets(network)
            if subnet.version == version
        ]
        elements[f"outward{version}"] = [Element((first,), end=(last,)) for first, last in ranges(outward)]
    for endpoint in situation.endpoints:
        if endpoint.network in by_id:
            for one, added in _published(endpoint, by_id[endpoint.network]):
                elements[one] += added
    return Table(
        "inet",
        name,
        CHAINS,
        tuple(SETS.values()),
        tuple(_rules(situation.guard_forwarding)),
        {one: _distinct(added) for one, added in elements.items()},
    )


def _rules(guard_forwarding: bool) -> Iterable[Rule]:
    from_bridge = e.meta("iifname") + e.in_set("bridges")
    to_bridge = e.meta("oifname") + e.in_set("bridges")
    for which in ("destination", "source"):
        loopback = e.family(4) + e.within(which, b"\x7f\0\0\0", 8)
        yield Rule("raw", from_bridge + loopback + e.drop(), "a container may not speak to or as the machine's loopback")

    yield Rule("dnat", e.family(4) + e.within("destination", b"\x7f\0\0\0", 8) + e.leave(), "nobody outside reaches 127.0.0.1")
    for chain in ("dnat", "local"):
        yield Rule(chain, e.to_this_machine() + e.verdict(e.NFT_JUMP, "publish"), "published ports of this machine")
    for version in (4, 6):
        words = LENGTHS[version] // 4
        key = e.address("destination", LENGTHS[version]) + e.meta("l4proto", words) + e.destination_port(words + 1)
        change = e.translate(e.NFT_NAT_DNAT, version, address=0, port=words)
        yield Rule("publish", e.family(version) + key + e.mapped(f"at{version}") + change, "published on one address")
        key = e.meta("l4proto") + e.destination_port(1)
        yield Rule("publish", e.family(version) + key + e.mapped(f"ports{version}") + change, "published on every address")

    yield Rule("forward", e.in_state(e.ESTABLISHED | e.RELATED) + e.accept(), "what was allowed to begin goes on")
    # Bridged packets come by here as well, where br_netfilter is loaded.
    same = e.meta("iifname") + e.meta("oifname", 4) + e.in_set("same")
    yield Rule("forward", same + e.accept(), "within one network")
    yield Rule("forward", e.meta("iifname") + e.in_set("internal") + e.drop(), "an internal network has no way out")
    yield Rule("forward", e.meta("oifname") + e.in_set("internal") + e.drop(), "and none in")
    yield Rule("forward", to_bridge + e.destination_was_changed() + e.accept(), "published ports")
    yield Rule("forward", to_bridge + e.counter() + e.drop(), "no other way into a network")
    yield Rule("forward", from_bridge + e.accept(), "out into the world")
    if guard_forwarding:
        yield Rule("forward", e.counter() + e.drop(), "forwarding was switched on for containers only")

    for version in (4, 6):
        length = LENGTHS[version]
        own = e.family(version) + e.address("source", length) + e.meta("oifname", length // 4) + e.in_set(f"own{version}")
        yield Rule("snat", own + e.destination_was_changed() + e.masquerade(), "hairpin: the answer must come back this way")
        yield Rule("snat", own + e.leave(), "within one network")
    from_loopback = e.family(4) + e.within("source", b"\x7f\0\0\0", 8)
    yield Rule("snat", to_bridge + from_loopback + e.masquerade(), "a container cannot answer to 127.0.0.1")
    for version in (4, 6):
        outward = e.family(version) + e.address("source", LENGTHS[version]) + e.in_set(f"outward{version}")
        yield Rule("snat", outward + e.masquerade(), "outside, containers have the machine's address")


def _published(endpoint: Endpoint, network: Network) -> Iterable[tuple[str, tuple[Element, ...]]]:
    found: dict[str, list[Element]] = {}
    for port in endpoint.ports:
        listening = ip_address(port.host or "0.0.0.0")
        target = endpoint.address4 if listening.version == 4 else endpoint.address6
        if not target or network.internal:
            continue
        key = (bytes([PROTOCOLS[port.protocol]]), port.host_port.to_bytes(2, "big"))
        data = (ip_address(target).packed, port.container_port.to_bytes(2, "big"))
        everywhere = port.host in EVERYWHERE
        name = f"{'ports' if everywhere else 'at'}{listening.version}"
        found.setdefault(name, []).append(Element(key if everywhere else (listening.packed, *key), data))
    return [(name, tuple(elements)) for name, elements in found.items()]


# ── what enters a port of a bridge ──


def _bridged(name: str, situation: Situation) -> Table:
    guarded = {
        network.id: network for network in situation.networks if network.driver == "bridge" and not network.flag(SPOOFING, False)
    }
    elements: dict[str, list[Element]] = {one: [] for one in GUARD_SETS}
    for version in (4, 6):
        inside = [each for network in guarded.values() for each in subnets(network) if each.version == version]
        elements[f"subnets{version}"] = [Element((first,), end=(last,)) for first, last in ranges(inside)]
    for endpoint in situation.endpoints:
        if endpoint.network in guarded:
            for one, added in _identity(endpoint, guarded[endpoint.network]):
                elements[one] += added
    return Table(
        "bridge",
        name,
        (Chain("guard", "filter", "prerouting", -300, e.NF_ACCEPT), Chain("ip4"), Chain("arp"), Chain("ip6")),
        tuple(GUARD_SETS.values()),
        tuple(_guard()),
        {one: _distinct(added) for one, added in elements.items()},
    )


def _guard() -> Iterable[Rule]:
    """A container that routes for others keeps their addresses; it may only not take those of its neighbours."""
    port = e.meta("iifname")
    mac = e.payload(e.NFT_PAYLOAD_LL_HEADER, 6, 6)
    yield Rule("guard", port + e.in_set("members", unless=True) + e.accept(), "no container of ours")
    theirs = e.payload(e.NFT_PAYLOAD_LL_HEADER, 6, 6, 4) + e.in_set("own_mac", unless=True)
    yield Rule("guard", mac + e.in_set("macs") + port + theirs + e.drop(), "another container's MAC address")
    for kind, chain in ((IPV4, "ip4"), (ARP, "arp"), (IPV6, "ip6")):
        yield Rule("guard", e.meta("protocol") + e.equal(kind) + e.verdict(e.NFT_JUMP, chain))
    network = e.NFT_PAYLOAD_NETWORK_HEADER
    for chain, offset in (("ip4", 12), ("arp", 14)):
        own = port + e.payload(network, offset, 4, 4) + e.in_set("own4")
        yield Rule(chain, own + e.leave(), "its own address")
        yield Rule(chain, e.payload(network, offset, 4) + e.in_set("subnets4") + e.counter() + e.drop(), "a neighbour's")
    transport = e.NFT_PAYLOAD_TRANSPORT_HEADER
    icmp = e.meta("l4proto") + e.equal(bytes([ICMPV6])) + e.payload(transport, 0, 1)
    for number in (ROUTER_ADVERTISEMENT, REDIRECT):
        yield Rule("ip6", icmp + e.equal(bytes([number])) + e.counter() + e.drop(), "no container is a router (CVE-2020-13401)")
    told = icmp + e.equal(bytes([NEIGHBOUR_ADVERTISEMENT]))
    own = port + e.payload(transport, 8, 16, 4) + e.in_set("own6")
    foreign = e.payload(transport, 8, 16) + e.in_set("subnets6")
    yield Rule("ip6", told + own + e.accept(), "it tells of its own address")
    yield Rule("ip6", told + foreign + e.counter() + e.drop(), "it tells of a neighbour's")
    yield Rule("ip6", port + e.payload(network, 8, 16, 4) + e.in_set("own6") + e.leave(), "its own address")
    yield Rule("ip6", e.payload(network, 8, 16) + e.in_set("subnets6") + e.counter() + e.drop(), "a neighbour's")


def _identity(endpoint: Endpoint, network: Network) -> Iterable[tuple[str, tuple[Element, ...]]]:
    if network.flag(SPOOFING, False) or not endpoint.link:
        return
    port, mac = e.interface(endpoint.link), bytes.fromhex(endpoint.mac.replace(":", ""))
    yield "members", (Element((port,)),)
    yield "macs", (Element((mac,)),)
    yield "own_mac", (Element((port, mac)),)
    if endpoint.ipv4:
        yield "own4", (Element((port, ip_address(endpoint.address4).packed)),)
    if endpoint.ipv6:
        yield "own6", (Element((port, ip_address(endpoint.address6).packed)),)


# ── small things ──


def subnets(network: Network) -> list[IPv4Network | IPv6Network]:
    return [ip_network(pool.subnet) for pool in network.pools]


def ranges(networks: Sequence[IPv4Network | IPv6Network]) -> list[tuple[bytes, bytes]]:
    """First and last address of each run without a gap: two ranges of a set may not touch."""
    found: list[tuple[int, int]] = []
    length = 16 if networks and networks[0].version == 6 else 4
    for first, last in sorted((int(each[0]), int(each[-1])) for each in networks):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return [(first.to_bytes(length, "big"), last.to_bytes(length, "big")) for first, last in found]


def isolated(network: Network) -> bool:
    """Whether its containers may not speak with each other."""
    return not network.flag(ICC, True)


def _distinct(elements: Iterable[Element]) -> tuple[Element, ...]:
    """A key twice would refuse the whole table; the ports were checked before, so what is twice is the same."""
    return tuple({element.key: element for element in elements}.values())


Address = IPv4Address | IPv6Address
