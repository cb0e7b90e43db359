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

    bridges     our bridges · internal: those without a way out · outward: those whose containers are masqueraded outside
    same, loop  {bridge, bridge}: same where containers may speak with each other, loop for all
    ports4 6    {protocol, port} → {address, port}           published on every address
    selves4 6   {address, the same}: containers with published ports
    at4 at6     {address, protocol, port} → {address, port}  published on one
    members     the ports of guarded bridges · own_mac, own4, own6: {port, address} · macs, addresses4 6: of anybody
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gorae.engine.network.model import ICC, MASQUERADE, SPOOFING, Endpoint, Network
from gorae.netlink import expression as e
from gorae.netlink.nftables import Chain, Element, Rule, Set, Table

ARP, IPV4, IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
ICMPV6, NEIGHBOUR_ADVERTISEMENT, ROUTER_ADVERTISEMENT, REDIRECT = 58, 136, 134, 137
EVERYWHERE = ("0.0.0.0", "::", "")
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}
LENGTHS = {4: 4, 6: 16}
RESOLVER = b"\x7f\0\0\x0b"  # 127.0.0.11

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
        Set("outward", ("ifname",)),
        Set("same", ("ifname", "ifname")),
        Set("loop", ("ifname", "ifname")),
        *(Set(f"selves{v}", (_ADDRESS[v], _ADDRESS[v])) for v in (4, 6)),
        *(Set(f"ports{v}", ("inet_proto", "inet_service"), (_ADDRESS[v], "inet_service")) for v in (4, 6)),
        *(Set(f"at{v}", (_ADDRESS[v], "inet_proto", "inet_service"), (_ADDRESS[v], "inet_service")) for v in (4, 6)),
    )
}
GUARD_SETS = {
    one.name: one
    for one in (
        Set("members", ("ifname",)),
        Set("macs", ("ether_addr",)),
        Set("own_mac", ("ifname", "ether_addr")),
        *(Set(f"own{v}", ("ifname", _ADDRESS[v])) for v in (4, 6)),
        *(Set(f"addresses{v}", (_ADDRESS[v],)) for v in (4, 6)),
    )
}


@dataclass(frozen=True)
class Situation:
    """All that the rules depend on. `guard_forwarding`: it was us who made this machine forward, so nobody else may use that."""

    networks: tuple[Network, ...]
    endpoints: tuple[Endpoint, ...]
    guard_forwarding: bool = False


@dataclass(frozen=True)
class Elements:
    """What one network or endpoint adds: set → elements, of the two tables."""

    routed: dict[str, tuple[Element, ...]]
    bridged: dict[str, tuple[Element, ...]]


def tables(name: str, situation: Situation) -> tuple[Table, Table]:
    by_id = {network.id: network for network in situation.networks if network.driver == "bridge"}
    parts = [of_network(network) for network in by_id.values()]
    parts += [of_endpoint(each, by_id[each.network]) for each in situation.endpoints if each.network in by_id]
    routed: dict[str, dict[tuple[bytes, ...], Element]] = {one: {} for one in SETS}
    bridged: dict[str, dict[tuple[bytes, ...], Element]] = {one: {} for one in GUARD_SETS}
    for part in parts:
        for sets, added in ((routed, part.routed), (bridged, part.bridged)):
            for one, elements in added.items():
                # A key twice would refuse the whole table. Ports were checked before: what is twice is the same.
                sets[one].update((element.key, element) for element in elements)
    return (
        Table("inet", name, CHAINS, tuple(SETS.values()), tuple(_rules(situation.guard_forwarding)), _values(routed)),
        Table("bridge", name, GUARD_CHAINS, tuple(GUARD_SETS.values()), tuple(_guard()), _values(bridged)),
    )


def _values(sets: dict[str, dict[tuple[bytes, ...], Element]]) -> dict[str, tuple[Element, ...]]:
    return {one: tuple(elements.values()) for one, elements in sets.items()}


def of_network(network: Network) -> Elements:
    """Only bridges have rules."""
    if network.driver != "bridge":
        return Elements({}, {})
    link = e.interface(network.link)
    alone, pair = (Element((link,)),), (Element((link, link)),)
    routed: dict[str, tuple[Element, ...]] = {"bridges": alone, "loop": pair}
    if network.internal:
        routed["internal"] = alone
    elif network.flag(MASQUERADE, True):
        routed["outward"] = alone
    if not isolated(network):
        routed["same"] = pair
    bridged: dict[str, tuple[Element, ...]] = {}
    if not network.flag(SPOOFING, False):
        for gateway in (ip_address(pool.gateway) for pool in network.pools if pool.gateway):
            bridged[f"addresses{gateway.version}"] = (*bridged.get(f"addresses{gateway.version}", ()), Element((gateway.packed,)))
    return Elements(routed, bridged)


def of_endpoint(endpoint: Endpoint, network: Network) -> Elements:
    if network.driver != "bridge":
        return Elements({}, {})
    return Elements(_published(endpoint, network), _identity(endpoint, network))


# ── what is routed ──


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
        pair = e.address("source", length) + e.address("destination", length, length // 4) + e.in_set(f"selves{version}")
        yield Rule("snat", e.family(version) + pair + e.masquerade(), "a container that reaches itself by its published port")
    loop = e.meta("iifname") + e.meta("oifname", 4) + e.in_set("loop")
    yield Rule("snat", loop + e.destination_was_changed() + e.masquerade(), "hairpin: the answer must come back this way")
    yield Rule("snat", loop + e.leave(), "within one network")
    from_loopback = e.family(4) + e.within("source", b"\x7f\0\0\0", 8)
    yield Rule("snat", to_bridge + from_loopback + e.masquerade(), "a container cannot answer to 127.0.0.1")
    yield Rule("snat", e.meta("iifname") + e.in_set("outward") + e.masquerade(), "outside, containers have the machine's address")


def _published(endpoint: Endpoint, network: Network) -> dict[str, tuple[Element, ...]]:
    found: dict[str, list[Element]] = {}
    for port in endpoint.ports:
        listening = ip_address(port.host or "0.0.0.0")
        target = endpoint.address4 if listening.version == 4 else endpoint.address6
        if not target or network.internal:
            continue
        packed = ip_address(target).packed
        found[f"selves{listening.version}"] = [Element((packed, packed))]
        key = (bytes([PROTOCOLS[port.protocol]]), port.host_port.to_bytes(2, "big"))
        data = (packed, port.container_port.to_bytes(2, "big"))
        everywhere = port.host in EVERYWHERE
        name = f"{'ports' if everywhere else 'at'}{listening.version}"
        found.setdefault(name, []).append(Element(key if everywhere else (listening.packed, *key), data))
    return {name: tuple(elements) for name, elements in found.items()}


# ── what enters a port of a bridge ──


GUARD_CHAINS = (Chain("guard", "filter", "prerouting", -300, e.NF_ACCEPT), Chain("ip4"), Chain("arp"), Chain("ip6"))


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
        yield Rule(chain, e.payload(network, offset, 4) + e.in_set("addresses4") + e.counter() + e.drop(), "a neighbour's")
    transport = e.NFT_PAYLOAD_TRANSPORT_HEADER
    icmp = e.meta("l4proto") + e.equal(bytes([ICMPV6])) + e.payload(transport, 0, 1)
    for number in (ROUTER_ADVERTISEMENT, REDIRECT):
        yield Rule("ip6", icmp + e.equal(bytes([number])) + e.counter() + e.drop(), "no container is a router (CVE-2020-13401)")
    told = icmp + e.equal(bytes([NEIGHBOUR_ADVERTISEMENT]))
    own = port + e.payload(transport, 8, 16, 4) + e.in_set("own6")
    foreign = e.payload(transport, 8, 16) + e.in_set("addresses6")
    yield Rule("ip6", told + own + e.accept(), "it tells of its own address")
    yield Rule("ip6", told + foreign + e.counter() + e.drop(), "it tells of a neighbour's")
    yield Rule("ip6", port + e.payload(network, 8, 16, 4) + e.in_set("own6") + e.leave(), "its own address")
    yield Rule("ip6", e.payload(network, 8, 16) + e.in_set("addresses6") + e.counter() + e.drop(), "a neighbour's")


def _identity(endpoint: Endpoint, network: Network) -> dict[str, tuple[Element, ...]]:
    if network.flag(SPOOFING, False) or not endpoint.link:
        return {}
    port, mac = e.interface(endpoint.link), bytes.fromhex(endpoint.mac.replace(":", ""))
    found: dict[str, tuple[Element, ...]] = {}
    found |= {"members": (Element((port,)),), "macs": (Element((mac,)),), "own_mac": (Element((port, mac)),)}
    for address in (ip_address(text) for text in (endpoint.address4, endpoint.address6) if text):
        found[f"own{address.version}"] = (Element((port, address.packed)),)
        found[f"addresses{address.version}"] = (Element((address.packed,)),)
    return found


# ── small things ──


def subnets(network: Network) -> list[IPv4Network | IPv6Network]:
    return [ip_network(pool.subnet) for pool in network.pools]


def isolated(network: Network) -> bool:
    """Whether its containers may not speak with each other."""
    return not network.flag(ICC, True)


def resolver(udp_port: int, tcp_port: int) -> Table:
    """In a container's own namespace: what it sends to 127.0.0.11:53 goes to our sockets there."""
    rules = []
    for protocol, port in (("udp", udp_port), ("tcp", tcp_port)):
        asked = e.within("destination", RESOLVER, 32) + e.meta("l4proto") + e.equal(bytes([PROTOCOLS[protocol]]))
        asked += e.destination_port() + e.equal((53).to_bytes(2, "big"))
        target = e.immediate(RESOLVER) + e.immediate(port.to_bytes(2, "big"), 1)
        rules.append(Rule("output", asked + target + e.translate(e.NFT_NAT_DNAT, 4, address=0, port=1), "the engine's resolver"))
    return Table("ip", "gorae-dns", (Chain("output", "nat", "output", -100, e.NF_ACCEPT),), (), tuple(rules))
