"""Messages of nftables: a table as a value, and the batches that put it into the kernel, change elements, or take it away (pure).

    Table ─┬─ Chain      with a hook: base chain
           ├─ Rule       in order, within their chains
           └─ Set        with elements; a map when its elements have data

A batch is one transaction: every packet meets either the old rules or the new ones. nf_tables.h, nfnetlink.h
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gorae.netlink.attribute import attribute, be32, nested, parse, string, text
from gorae.netlink.conversation import NLM_F_APPEND, NLM_F_CREATE, Message
from gorae.netlink.expression import NFTA_DATA_VALUE, NFTA_LIST_ELEM, signed

NFNL_SUBSYS_NFTABLES = 10
NFNLGRP_NFTABLES = 7
BEGIN, END = 0x10, 0x11
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE = range(9)
NEWSET, GETSET, DELSET, NEWSETELEM, GETSETELEM, DELSETELEM = range(9, 15)
FAMILIES = {"inet": 1, "ip": 2, "bridge": 7, "ip6": 10}
HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_CONCAT = 0x4, 0x8, 0x80
INTERVAL_END = 1
USERDATA_COMMENT = 0
# nft's numbers of types, so that `nft list` shows elements as what they are; the length in a register.
TYPES = {
    "ipv4_addr": (7, 4),
    "ipv6_addr": (8, 16),
    "ether_addr": (9, 6),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "ifname": (41, 16),
}
TOGETHER = 400  # elements in one message: its attributes have 16-bit lengths


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    kind: str = ""  # "filter", "nat"; "" without a hook
    hook: str = ""
    priority: int = 0
    policy: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    chain: str
    expressions: bytes
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """`key` and `data` are fields, each as in a register; `end` makes it the range from key to end."""

    key: tuple[bytes, ...]
    data: tuple[bytes, ...] = ()
    end: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Set:
    name: str
    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    ranges: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    family: str
    name: str
    chains: tuple[Chain, ...] = ()
    sets: tuple[Set, ...] = ()
    rules: tuple[Rule, ...] = ()
    elements: dict[str, tuple[Element, ...]] = field(default_factory=dict)


BEGIN_BATCH = Message(BEGIN, 0, struct.pack(">BBH", 0, 0, NFNL_SUBSYS_NFTABLES))
END_BATCH = Message(END, 0, struct.pack(">BBH", 0, 0, NFNL_SUBSYS_NFTABLES))


def replace(table: Table) -> list[Message]:
    """Whatever is there under that name goes, and this comes."""
    return [*remove(table.family, table.name), *create(table)]


def create(table: Table) -> list[Message]:
    """Where there is none. Much cheaper than `replace` on a socket that is closed afterwards: closing one waits until all that was
    removed is gone, a grace period of RCU (6-15 ms here).
    """
    return [
        _message(NEWTABLE, table.family, text(1, table.name)),
        *(_chain(table, chain) for chain in table.chains),
        *(_set(table, one, number) for number, one in enumerate(table.sets, start=1)),
        *(
            message
            for one in table.sets
            if table.elements.get(one.name)
            for message in add(table.family, table.name, one, table.elements[one.name])
        ),
        *(_rule(table, rule) for rule in table.rules),
    ]


def remove(family: str, name: str) -> list[Message]:
    """Added first, so that removing it cannot fail."""
    return [_message(NEWTABLE, family, text(1, name)), _message(DELTABLE, family, text(1, name), create=False)]


def add(family: str, table: str, one: Set, elements: Iterable[Element]) -> list[Message]:
    return _elements(NEWSETELEM, family, table, one, tuple(elements))


def take(family: str, table: str, one: Set, elements: Iterable[Element]) -> list[Message]:
    """Elements that are there; one that is not fails the batch (ENOENT)."""
    return _elements(DELSETELEM, family, table, one, tuple(elements))


def chains(family: str) -> Message:
    """To be dumped; `chain_of` reads each answer."""
    return Message(NFNL_SUBSYS_NFTABLES << 8 | GETCHAIN, 0, struct.pack(">BBH", FAMILIES[family], 0, 0))


def chain_of(body: bytes) -> tuple[str, Chain]:
    """The table's name, and the chain."""
    found = parse(body[4:])
    hook = parse(found.get(4, b""))
    numbers = {number: name for name, number in HOOKS.items()}
    return string(found.get(1, b"")), Chain(
        name=string(found.get(3, b"")),
        kind=string(found.get(7, b"")),
        hook=numbers.get(int.from_bytes(hook.get(1, b"\xff"), "big"), ""),
        priority=int.from_bytes(hook.get(2, b""), "big", signed=True),
        policy=int.from_bytes(found[5], "big") if 5 in found else None,
    )


def table_is_there(family: str, name: str) -> Message:
    """To be got: OSError ENOENT when it is not."""
    return Message(NFNL_SUBSYS_NFTABLES << 8 | GETTABLE, 0, struct.pack(">BBH", FAMILIES[family], 0, 0) + text(1, name))


def removed_table(kind: int, body: bytes) -> str | None:
    """For a notification: the name of the table that was deleted."""
    if kind != NFNL_SUBSYS_NFTABLES << 8 | DELTABLE:
        return None
    return string(parse(body[4:]).get(1, b""))


def touched_table(kind: int, body: bytes) -> str | None:
    """For a notification that something was taken from a table: its name."""
    if kind >> 8 != NFNL_SUBSYS_NFTABLES or kind & 0xFF not in (DELTABLE, DELCHAIN, DELRULE, DELSET):
        return None
    return string(parse(body[4:]).get(1, b""))


def _message(kind: int, family: str, body: bytes, *, create: bool = True, flags: int = 0) -> Message:
    head = struct.pack(">BBH", FAMILIES[family], 0, 0)
    return Message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags | (NLM_F_CREATE if create else 0), head + body)


def _chain(table: Table, chain: Chain) -> Message:
    body = text(1, table.name) + text(3, chain.name)
    if chain.hook:
        body += nested(4, be32(1, HOOKS[chain.hook]), signed(2, chain.priority)) + text(7, chain.kind)
    if chain.policy is not None:
        body += be32(5, chain.policy)
    return _message(NEWCHAIN, table.family, body)


def _rule(table: Table, rule: Rule) -> Message:
    body = text(1, table.name) + text(2, rule.chain) + nested(4, rule.expressions)
    if rule.comment:
        words = rule.comment.encode() + b"\0"
        body += attribute(7, bytes([USERDATA_COMMENT, len(words)]) + words)
    return _message(NEWRULE, table.family, body, flags=NLM_F_APPEND)


def _set(table: Table, one: Set, number: int) -> Message:
    flags = (NFT_SET_MAP if one.data else 0) | (NFT_SET_INTERVAL if one.ranges else 0)
    body = text(1, table.name) + text(2, one.name)
    concatenated = len(one.key) > 1
    flags |= NFT_SET_CONCAT if concatenated and one.ranges else 0
    body += be32(3, flags) + be32(4, _type(one.key)) + be32(5, _length(one.key))
    if one.data:
        body += be32(6, _type(one.data)) + be32(7, _length(one.data))
    if concatenated and one.ranges:
        fields = [nested(NFTA_LIST_ELEM, be32(1, TYPES[name][1])) for name in one.key]
        body += nested(9, nested(2, *fields))
    return _message(NEWSET, table.family, body + be32(10, number))


def _type(fields: Sequence[str]) -> int:
    """nft's number of a concatenation: 6 bits a type."""
    number = 0
    for name in fields:
        number = number << 6 | TYPES[name][0]
    return number


def _length(fields: Sequence[str]) -> int:
    if len(fields) == 1:
        return TYPES[fields[0]][1]
    return sum((TYPES[name][1] + 3) & ~3 for name in fields)


def _elements(kind: int, family: str, table: str, one: Set, elements: tuple[Element, ...]) -> list[Message]:
    encoded: list[bytes] = []
    for element in elements:
        encoded += _element(one, element)
    messages = []
    for start in range(0, len(encoded), TOGETHER):
        body = text(1, table) + text(2, one.name) + nested(3, *encoded[start : start + TOGETHER])
        messages.append(_message(kind, family, body, create=kind == NEWSETELEM))
    return messages


def _element(one: Set, element: Element) -> list[bytes]:
    key = _value(1, element.key)
    data = _value(2, element.data) if element.data else b""
    if not element.end:
        return [nested(NFTA_LIST_ELEM, key, data)]
    if len(one.key) > 1:
        return [nested(NFTA_LIST_ELEM, key, _value(10, element.end), data)]
    # One field: a range is two elements, the second being the first value that is outside.
    outside = int.from_bytes(element.end[0], "big") + 1
    ends = [nested(NFTA_LIST_ELEM, key, data)]
    if outside < 1 << 8 * len(element.end[0]):
        after = _value(1, (outside.to_bytes(len(element.end[0]), "big"),))
        ends.append(nested(NFTA_LIST_ELEM, after, be32(3, INTERVAL_END)))
    return ends


def _value(kind: int, fields: tuple[bytes, ...]) -> bytes:
    if len(fields) == 1:
        return nested(kind, attribute(NFTA_DATA_VALUE, fields[0]))
    return nested(kind, attribute(NFTA_DATA_VALUE, b"".join(one + bytes(-len(one) % 4) for one in fields)))
