"""Messages of rtnetlink: links, addresses, routes, neighbours (pure). rtnetlink(7), linux/if_link.h, linux/rtnetlink.h

    struct ifinfomsg   family u8 · pad u8 · type u16 · index i32 · flags u32 · change u32
    struct ifaddrmsg   family u8 · prefix u8 · flags u8 · scope u8 · index u32
    struct rtmsg       family · dst_len · src_len · tos · table · protocol · scope · type (u8 each) · flags u32
    struct ndmsg       family u8 · pad u8 · pad u16 · index i32 · state u16 · flags u8 · type u8
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

from gorae.netlink.attribute import attribute, nested, number, parse, string, text, u8, u16, u32
from gorae.netlink.conversation import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Message

Interface = IPv4Interface | IPv6Interface
Address = IPv4Address | IPv6Address

INFO = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBI")
ROUTE = struct.Struct("=BBBBBBBBI")
NEIGHBOUR = struct.Struct("=BxHiHBB")

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH = 28
RTNLGRP_LINK = 1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_NET_NS_FD, IFLA_GROUP, IFLA_AF_SPEC, IFLA_PROTINFO, IFLA_LINK_NETNSID = 28, 27, 26, 12, 37
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
IFLA_BR_MCAST_SNOOPING, IFLA_BR_FORWARD_DELAY = 23, 1
IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE = 1, 1
IFLA_VLAN_ID = 1
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT = 0x80
IFF_UP, IFF_LOOPBACK = 1, 8
RTNH_F_ONLINK = 4
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RT_SCOPE_LINK = 254, 4, 1, 253
NEW = NLM_F_CREATE | NLM_F_EXCL


@dataclass(frozen=True, slots=True)
class Link:
    """What a dump tells of one."""

    index: int
    name: str
    flags: int
    kind: str = ""
    master: int = 0
    mac: str = ""
    mtu: int = 0
    group: int = 0
    peer: int = 0  # index of what lies under it, or of the veth's other end (in its own namespace)


def _mac(value: str) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(value.replace(":", "")))


def new_bridge(name: str, *, mac: str = "", mtu: int = 0, group: int = 0) -> Message:
    """Up; without multicast snooping, which drops neighbour solicitations while no querier is known."""
    body = INFO.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name)
    body += _mac(mac) if mac else b""
    body += u32(IFLA_MTU, mtu) if mtu else b""
    body += u32(IFLA_GROUP, group) if group else b""
    body += nested(
        IFLA_LINKINFO,
        text(IFLA_INFO_KIND, "bridge"),
        nested(IFLA_INFO_DATA, u8(IFLA_BR_MCAST_SNOOPING, 0), u32(IFLA_BR_FORWARD_DELAY, 0)),
    )
    return Message(RTM_NEWLINK, NEW, body)


def new_veth(
    name: str, *, master: int, namespace: int, peer: str, peer_mac: str, mtu: int = 0, group: int = 0, peer_index: int = 0
) -> Message:
    """A pair whose `peer` is born in the network namespace behind the descriptor: moving it there later costs 18 ms.

    Our end is up and a port of the bridge `master` (an index). The peer cannot be set up in the same message (ENOTCONN).
    """
    length = u32(IFLA_MTU, mtu) if mtu else b""
    other = INFO.pack(0, 0, peer_index, 0, 0) + text(IFLA_IFNAME, peer) + _mac(peer_mac) + length + u32(IFLA_NET_NS_FD, namespace)
    body = INFO.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name) + length
    body += u32(IFLA_GROUP, group) if group else b""
    body += u32(IFLA_MASTER, master) if master else b""
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other)))
    return Message(RTM_NEWLINK, NEW, body)


def new_upon(kind: str, name: str, *, parent: int, mode: int, namespace: int, mac: str = "", mtu: int = 0) -> Message:
    """A macvlan or ipvlan on the link `parent` (an index), born in the namespace behind the descriptor; not yet up."""
    data = u32(IFLA_MACVLAN_MODE, mode) if kind == "macvlan" else u16(IFLA_IPVLAN_MODE, mode)
    body = INFO.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + u32(IFLA_LINK, parent) + u32(IFLA_NET_NS_FD, namespace)
    body += _mac(mac) if mac else b""
    body += u32(IFLA_MTU, mtu) if mtu else b""
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data))
    return Message(RTM_NEWLINK, NEW, body)


def new_vlan(name: str, *, parent: int, number: int, group: int = 0) -> Message:
    body = INFO.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name) + u32(IFLA_LINK, parent)
    body += u32(IFLA_GROUP, group) if group else b""
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "vlan"), nested(IFLA_INFO_DATA, u16(IFLA_VLAN_ID, number)))
    return Message(RTM_NEWLINK, NEW, body)


def set_port(index: int, *, isolated: bool, hairpin: bool) -> Message:
    """A bridge's port: `isolated` speaks with no other isolated port (Linux 4.18); `hairpin` may get its own frames back."""
    flags = nested(IFLA_PROTINFO, u8(IFLA_BRPORT_MODE, hairpin), u8(IFLA_BRPORT_ISOLATED, isolated))
    return Message(RTM_SETLINK, 0, INFO.pack(socket.AF_BRIDGE, 0, index, 0, 0) + flags)


def no_link_local(index: int) -> Message:
    """No IPv6 address is made up for it."""
    mode = nested(socket.AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE))
    return Message(RTM_NEWLINK, 0, INFO.pack(0, 0, index, 0, 0) + nested(IFLA_AF_SPEC, mode))


def up(index: int, *, name: str = "") -> Message:
    """By index, or by name (index 0)."""
    return Message(RTM_NEWLINK, 0, INFO.pack(0, 0, index, IFF_UP, IFF_UP) + (text(IFLA_IFNAME, name) if name else b""))


def enslave(index: int, master: int) -> Message:
    """A port of that bridge, and up."""
    return Message(RTM_NEWLINK, 0, INFO.pack(0, 0, index, IFF_UP, IFF_UP) + u32(IFLA_MASTER, master))


def rename(index: int, name: str) -> Message:
    return Message(RTM_NEWLINK, 0, INFO.pack(0, 0, index, 0, 0) + text(IFLA_IFNAME, name))


def delete(name: str = "", *, index: int = 0) -> Message:
    return Message(RTM_DELLINK, 0, INFO.pack(0, 0, index, 0, 0) + (text(IFLA_IFNAME, name) if name else b""))


def delete_group(group: int) -> Message:
    """All links of the group at once: the kernel waits for its readers once, not once a link."""
    if not group:
        raise ValueError("group 0 is the group of all other links")
    return Message(RTM_DELLINK, 0, INFO.pack(0, 0, 0, 0, 0) + u32(IFLA_GROUP, group))


def links() -> Message:
    """To be dumped; `link_of` reads each answer."""
    return Message(RTM_GETLINK, 0, INFO.pack(0, 0, 0, 0, 0))


def find(name: str) -> Message:
    """To be got."""
    return Message(RTM_GETLINK, 0, INFO.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name))


def link_of(body: bytes) -> Link:
    _, _, index, flags, _ = INFO.unpack_from(body)
    found = parse(body[INFO.size :])
    info = parse(found.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=string(found.get(IFLA_IFNAME, b"")),
        flags=flags,
        kind=string(info.get(IFLA_INFO_KIND, b"")),
        master=number(found.get(IFLA_MASTER, b"")),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=number(found.get(IFLA_MTU, b"")),
        group=number(found.get(IFLA_GROUP, b"")),
        peer=number(found.get(IFLA_LINK, b"")),
    )


def add_address(index: int, address: Interface) -> Message:
    """IPv6 without duplicate address detection: who gives addresses out knows that this one is free."""
    six = address.version == 6
    body = ADDRESS.pack(socket.AF_INET6 if six else socket.AF_INET, address.network.prefixlen, 0, 0, index)
    body += attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    if six:
        body += u32(IFA_FLAGS, IFA_F_NODAD | IFA_F_PERMANENT)
    elif address.network.prefixlen < 31:
        body += attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body)


def addresses() -> Message:
    return Message(RTM_GETADDR, 0, ADDRESS.pack(0, 0, 0, 0, 0))


def address_of(body: bytes) -> tuple[int, Interface]:
    """Index of its link, and the address with its prefix."""
    _, prefix, _, _, index = ADDRESS.unpack_from(body)
    found = parse(body[ADDRESS.size :])
    packed = found.get(IFA_LOCAL) or found[IFA_ADDRESS]
    return index, ip_interface(f"{ip_address(packed)}/{prefix}")


def default_route(index: int, gateway: Address, *, priority: int = 0) -> Message:
    """Through `gateway`, reached directly by the link even when it lies outside of the link's subnet."""
    return route(index, None, 0, gateway, priority=priority, version=gateway.version)


def route(
    index: int, destination: Address | None, prefix: int, gateway: Address | None, *, priority: int = 0, version: int = 4
) -> Message:
    """Without a gateway: what lies directly on the link."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    scope = 0 if gateway is not None or version == 6 else RT_SCOPE_LINK
    flags = RTNH_F_ONLINK if gateway is not None else 0
    body = ROUTE.pack(family, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, flags)
    body += attribute(RTA_DST, destination.packed) if destination is not None else b""
    body += attribute(RTA_GATEWAY, gateway.packed) if gateway is not None else b""
    body += u32(RTA_OIF, index)
    body += u32(RTA_PRIORITY, priority) if priority else b""
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body)


def routes() -> Message:
    return Message(RTM_GETROUTE, 0, ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))


def route_of(body: bytes) -> tuple[int, int, bytes, bytes]:
    """Link, prefix length, destination and gateway (packed, may be empty)."""
    prefix = ROUTE.unpack_from(body)[1]
    found = parse(body[ROUTE.size :])
    return number(found.get(RTA_OIF, b"")), prefix, found.get(RTA_DST, b""), found.get(RTA_GATEWAY, b"")


def neighbour(index: int, address: Address, mac: str) -> Message:
    """A fixed entry: nobody can answer for that address instead."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    body = NEIGHBOUR.pack(family, 0, index, NUD_PERMANENT, 0, 0)
    body += attribute(NDA_DST, address.packed) + attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return Message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)
