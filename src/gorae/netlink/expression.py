"""What an nftables rule is made of: expressions that load registers, compare them, and end in a verdict (pure).

Each function gives one encoded expression, or a few that belong together. Registers are numbered in words of 4 bytes from WORD on
(NFT_REG32_00); a key of several fields lies in consecutive words, each field padded to whole words.
linux/netfilter/nf_tables.h, net/netfilter/nft_*.c
"""

from __future__ import annotations

import sys

from gorae.netlink.attribute import attribute, be32, nested, text

WORD = 8  # NFT_REG32_00
NFTA_LIST_ELEM = 1
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_DATA_VALUE, NFTA_DATA_VERDICT = 1, 2
NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN = 1, 2
NF_DROP, NF_ACCEPT, NFT_JUMP, NFT_RETURN = 0, 1, -3, -5
META = {"protocol": 1, "mark": 3, "iifname": 6, "oifname": 7, "nfproto": 15, "l4proto": 16}
NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER = 0, 1, 2
NFT_CMP_EQ, NFT_CMP_NEQ = 0, 1
NFT_LOOKUP_F_INV = 1
NFT_CT_STATE, NFT_CT_STATUS = 0, 2
NFT_NAT_SNAT, NFT_NAT_DNAT = 0, 1
NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR = 3, 2
RTN_LOCAL = 2
INVALID, ESTABLISHED, RELATED = 1, 2, 4  # bits of `ct state`
IPS_DST_NAT = 32  # of `ct status`
NFPROTO_IPV4, NFPROTO_IPV6 = 2, 10
IFNAMSIZ = 16
ADDRESS_OFFSETS = {("source", 4): 12, ("destination", 4): 16, ("source", 16): 8, ("destination", 16): 24}


def expression(name: str, *data: bytes) -> bytes:
    return nested(NFTA_LIST_ELEM, text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, *data))


def value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(NFTA_DATA_VALUE, data))


def signed(kind: int, number: int) -> bytes:
    return be32(kind, number & 0xFFFFFFFF)


def verdict_data(kind: int, code: int, chain: str = "") -> bytes:
    words = text(NFTA_VERDICT_CHAIN, chain) if chain else b""
    return nested(kind, nested(NFTA_DATA_VERDICT, signed(NFTA_VERDICT_CODE, code), words))


def interface(name: str) -> bytes:
    """As it stands in a register: 16 bytes."""
    return name.encode().ljust(IFNAMSIZ, b"\0")


# Loading registers.


def meta(key: str, word: int = 0) -> bytes:
    return expression("meta", be32(1, WORD + word), be32(2, META[key]))


def payload(base: int, offset: int, length: int, word: int = 0) -> bytes:
    return expression("payload", be32(1, WORD + word), be32(2, base), be32(3, offset), be32(4, length))


def address(which: str, length: int, word: int = 0) -> bytes:
    """Source or destination of an IPv4 (length 4) or IPv6 (16) packet."""
    return payload(NFT_PAYLOAD_NETWORK_HEADER, ADDRESS_OFFSETS[which, length], length, word)


def destination_port(word: int = 0) -> bytes:
    return payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, word)


def masked(length: int, mask: bytes, word: int = 0) -> bytes:
    return expression(
        "bitwise",
        be32(1, WORD + word),
        be32(2, WORD + word),
        be32(3, length),
        value(4, mask),
        value(5, bytes(length)),
    )


def connection(key: int, word: int = 0) -> bytes:
    return expression("ct", be32(1, WORD + word), be32(2, key))


# Comparing them. What does not match ends the rule.


def equal(data: bytes, word: int = 0, *, unless: bool = False) -> bytes:
    return expression("cmp", be32(1, WORD + word), be32(2, NFT_CMP_NEQ if unless else NFT_CMP_EQ), value(3, data))


def in_set(name: str, word: int = 0, *, unless: bool = False) -> bytes:
    return expression("lookup", text(1, name), be32(2, WORD + word), be32(5, NFT_LOOKUP_F_INV) if unless else b"")


def mapped(name: str, word: int = 0, result: int = 0) -> bytes:
    """What the map has for the key goes to the register `result`; no entry ends the rule."""
    return expression("lookup", text(1, name), be32(2, WORD + word), be32(3, WORD + result))


def family(version: int) -> bytes:
    return meta("nfproto") + equal(bytes([NFPROTO_IPV4 if version == 4 else NFPROTO_IPV6]))


def within(which: str, network: bytes, prefix: int) -> bytes:
    """An address that lies in network/prefix."""
    length = len(network)
    mask = ((1 << 8 * length) - (1 << (8 * length - prefix))).to_bytes(length, "big")
    return address(which, length) + masked(length, mask) + equal(network)


def in_state(bits: int) -> bytes:
    # ct state is a number of the machine's byte order, a set bit among those in mind is a number other than 0.
    return connection(NFT_CT_STATE) + masked(4, _native(bits)) + equal(bytes(4), unless=True)


def destination_was_changed() -> bytes:
    return connection(NFT_CT_STATUS) + masked(4, _native(IPS_DST_NAT)) + equal(bytes(4), unless=True)


def to_this_machine() -> bytes:
    """The destination is an address of ours (and not one that is only routed through us: CVE-2025-67499)."""
    route = expression("fib", be32(1, WORD), be32(2, NFT_FIB_RESULT_ADDRTYPE), be32(3, NFTA_FIB_F_DADDR))
    return route + equal(_native(RTN_LOCAL))


# The end of a rule.


def verdict(code: int, chain: str = "") -> bytes:
    return expression("immediate", be32(1, 0), verdict_data(2, code, chain))


def accept() -> bytes:
    return verdict(NF_ACCEPT)


def drop() -> bytes:
    return verdict(NF_DROP)


def leave() -> bytes:
    return verdict(NFT_RETURN)


def counter() -> bytes:
    return expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def immediate(data: bytes, word: int = 0) -> bytes:
    return expression("immediate", be32(1, WORD + word), value(2, data))


def translate(kind: int, version: int, *, address: int = -1, port: int = -1) -> bytes:
    """SNAT or DNAT to what lies in the words `address` and `port`."""
    parts = [be32(1, kind), be32(2, NFPROTO_IPV4 if version == 4 else NFPROTO_IPV6)]
    if address >= 0:
        parts += [be32(3, WORD + address), be32(4, WORD + address)]
    if port >= 0:
        parts += [be32(5, WORD + port), be32(6, WORD + port)]
    return expression("nat", *parts)


def masquerade() -> bytes:
    return expression("masq")


def _native(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)
