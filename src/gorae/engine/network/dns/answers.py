"""One question → one answer. Pure.

    name             A, AAAA       every end of that name in the container's networks, in another order each time
    name.network     likewise, in that network alone
    *.docker.internal              the machine, as the container sees it
    an address       PTR           name.network
    a known name, another type     no error, no records
    anything else                  None: to be asked outside

A message that is no question has no answer at all.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from ipaddress import ip_address

from dnslib import AAAA, PTR, QTYPE, RCODE, RR, A, DNSRecord

from gorae.engine.network.dns.zone import View, Zone
from gorae.engine.network.model import Endpoint

TTL = 10  # an address may be another's a minute later
HEADER = 12
PLAIN_UDP = 512  # RFC 1035 4.2.1, without EDNS
MACHINE = ("host.docker.internal", "gateway.docker.internal")


class Question:
    """A message that was understood. ValueError when it cannot be."""

    def __init__(self, data: bytes) -> None:
        if len(data) < HEADER or data[2] & 0x80:
            raise ValueError("not a question")
        try:
            self.record = DNSRecord.parse(data)
            self.name = str(self.record.q.qname).rstrip(".").lower()
        except Exception as error:  # dnslib lets every kind of error through
            raise ValueError(f"not understood: {error}") from error
        if len(self.record.questions) != 1 or self.record.header.opcode != 0:
            raise ValueError("exactly one standard question is answered")
        self.kind = int(self.record.q.qtype)
        # EDNS: a client says how much it can take.
        sizes = [int(each.rclass) for each in self.record.ar if each.rtype == QTYPE.OPT]
        self.room = max(PLAIN_UDP, *sizes) if sizes else PLAIN_UDP

    def answer(self, records: Sequence[RR], *, udp: bool) -> bytes:
        reply = self.record.reply(ra=1, aa=0)
        for record in records:
            reply.add_answer(record)
        packed = bytes(reply.pack())
        if udp and len(packed) > self.room:
            return bytes(reply.truncate().pack())
        return packed

    def failure(self, code: str) -> bytes:
        reply = self.record.reply(ra=1, aa=0)
        reply.header.rcode = getattr(RCODE, code)
        return bytes(reply.pack())


def local(question: Question, zone: Zone, view: View) -> list[RR] | None:
    """The records; None when it is to be asked outside."""
    if question.kind == QTYPE.PTR:
        return _pointers(question, zone, view)
    addresses = _addresses(question.name, zone, view)
    if addresses is None:
        return None
    kinds = {QTYPE.A: (4, A), QTYPE.AAAA: (6, AAAA)}
    if question.kind not in kinds:
        return []
    version, data = kinds[question.kind]
    chosen = [address for address in addresses if ip_address(address).version == version]
    random.shuffle(chosen)  # who takes the first has another one each time
    owner = question.record.q.qname
    return [RR(owner, question.kind, rdata=data(address), ttl=TTL) for address in chosen]


def _addresses(name: str, zone: Zone, view: View) -> list[str] | None:
    if name in MACHINE:
        return list(view.machine)
    name = view.links.get(name, name)
    found = [endpoint for network in view.networks for endpoint in zone.named(network, name)]
    if not found:
        for network, called in view.networks.items():
            if name.endswith(f".{called.lower()}"):
                found += zone.named(network, name[: -len(called) - 1])
    if not found:
        return None
    return [address for endpoint in found for address in (endpoint.address4, endpoint.address6) if address]


def _pointers(question: Question, zone: Zone, view: View) -> list[RR] | None:
    address = address_of(question.name)
    if address is None:
        return None
    for network, called in view.networks.items():
        if (endpoint := zone.at(network, address)) is not None:
            return [RR(question.record.q.qname, QTYPE.PTR, rdata=PTR(f"{_first_name(endpoint)}.{called}"), ttl=TTL)]
    return None


def _first_name(endpoint: Endpoint) -> str:
    return endpoint.names[0] if endpoint.names else endpoint.container[:12]


def address_of(name: str) -> str | None:
    """`2.0.17.172.in-addr.arpa` → 172.17.0.2; the same for ip6.arpa."""
    parts = name.split(".")
    try:
        if parts[-2:] == ["in-addr", "arpa"] and len(parts) == 6:
            return str(ip_address(".".join(reversed(parts[:4]))))
        if parts[-2:] == ["ip6", "arpa"] and len(parts) == 34:
            digits = "".join(reversed(parts[:32]))
            return str(ip_address(bytes.fromhex(digits)))
    except ValueError:
        pass
    return None
