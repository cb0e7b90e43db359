"""The resolver: questions and answers without a socket, asking outside over real ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.engine.network.dns import upstream
from gorae.engine.network.dns.answers import Question, address_of, local
from gorae.engine.network.dns.server import Resolver
from gorae.engine.network.dns.upstream import Upstream
from gorae.engine.network.dns.zone import View, Zone
from gorae.engine.network.model import Endpoint
from gorae.engine.network.plumbing import Ears


def endpoint(number: int, *names: str, network: str = "n", six: bool = False) -> Endpoint:
    return Endpoint(
        id=f"{network}{number}",
        network=network,
        container=f"{number}" * 64,
        ipv4=f"10.0.0.{number}/24",
        ipv6=f"fd00::{number}/64" if six else "",
        names=names,
    )


ZONE = Zone()
for each in (endpoint(2, "Web", "svc"), endpoint(3, "db", "svc", six=True), endpoint(4, "hidden", network="other")):
    ZONE.add(each)
VIEW = View(networks={"n": "backend"}, machine=("10.0.0.1",), links={"mysql": "db"})


def ask(name: str, kind: str = "A", view: View = VIEW) -> list[str] | None:
    question = Question(DNSRecord.question(name, kind).pack())
    records = local(question, ZONE, view)
    if records is None:
        return None
    return sorted(str(record.rdata) for record in DNSRecord.parse(question.answer(records, udp=True)).rr)


def test_names() -> None:
    assert ask("web") == ask("WEB") == ask("web.backend") == ["10.0.0.2"]
    assert ask("svc") == ["10.0.0.2", "10.0.0.3"]
    assert ask("mysql") == ["10.0.0.3"]
    assert ask("host.docker.internal") == ["10.0.0.1"]
    assert ask("db", "AAAA") == ["fd00::3"]
    assert ask("web", "AAAA") == []  # there is such a name, it has no such address
    assert ask("web", "MX") == []
    assert ask("2.0.0.10.in-addr.arpa", "PTR") == ["Web.backend."]
    assert ask(f"3.{'0.' * 27}d.f.ip6.arpa".replace("d.f", "0.0.d.f"), "PTR") == ["db.backend."]


@pytest.mark.parametrize(
    "name", ["hidden", "web.other", "example.org", "x.web", "", "9.0.0.10.in-addr.arpa", "4.0.0.10.in-addr.arpa"]
)
def test_what_is_asked_outside(name: str) -> None:
    assert ask(name, "PTR" if name.endswith("arpa") else "A") is None


def test_names_go_with_their_ends() -> None:
    zone = Zone()
    one, two = endpoint(2, "a", "svc"), endpoint(3, "b", "svc")
    zone.add(one)
    zone.add(two)
    before = zone.version
    zone.remove(one)
    assert zone.version > before
    assert zone.named("n", "a") == ()
    assert zone.named("n", "svc") == (two,)
    assert zone.at("n", "10.0.0.2") is None


def test_an_answer_that_is_too_long_is_cut() -> None:
    question = Question(DNSRecord.question("svc").pack())
    records = [RR("svc", QTYPE.A, rdata=A(f"10.0.{n}.1"), ttl=1) for n in range(100)]
    cut = DNSRecord.parse(question.answer(records, udp=True))
    assert cut.header.tc
    assert not cut.rr
    assert len(DNSRecord.parse(question.answer(records, udp=False)).rr) == 100


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_hostile_datagrams(data: bytes) -> None:
    try:
        question = Question(data)
    except ValueError:
        return
    records = local(question, ZONE, VIEW)
    DNSRecord.parse(question.answer(records or [], udp=True))


@pytest.mark.parametrize(
    ("name", "address"),
    [("2.0.17.172.in-addr.arpa", "172.17.0.2"), ("x.0.17.172.in-addr.arpa", None), ("in-addr.arpa", None), ("ip6.arpa", None),
     (".".join("z" * 32) + ".ip6.arpa", None)],
)  # fmt: skip
def test_addresses_in_names(name: str, address: str | None) -> None:
    assert address_of(name) == address


# ── over sockets ──


@asynccontextmanager
async def outside(*, silent: bool = False, cut: bool = False) -> AsyncIterator[tuple[int, list[str]]]:
    """A name server on the loopback: its port, and the names it was asked for."""
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer(data: bytes, udp: bool) -> bytes:
        question = DNSRecord.parse(data)
        asked.append(str(question.q.qname))
        reply = question.reply()
        if str(question.q.qname).startswith("no"):
            reply.header.rcode = RCODE.NXDOMAIN
        else:
            reply.add_answer(RR(question.q.qname, QTYPE.A, rdata=A("192.0.2.7"), ttl=30))
        if cut and udp:
            reply = reply.truncate()
        return bytes(reply.pack())

    class Datagrams(asyncio.DatagramProtocol):
        transport: Any

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
            if silent:
                asked.append("silence")
                return
            forged = b"\0\0" + answer(data, True)[2:]
            self.transport.sendto(forged, source)  # under another id: to be passed over
            self.transport.sendto(answer(data, True), source)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = answer(await reader.readexactly(size), False)
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()

    transport, _ = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", port))
    server = await asyncio.start_server(stream, sock=listener)
    try:
        yield port, asked
    finally:
        transport.close()
        server.close()


@asynccontextmanager
async def resolver(port: int, view: View) -> AsyncIterator[Ears]:
    ears = Ears(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket())
    for one in ears:
        one.bind(("127.0.0.1", 0))
    ears.tcp.listen(5)
    made = Resolver(ears, ZONE, Upstream(port), lambda: view)
    try:
        yield ears
    finally:
        made.close()


async def query(ears: Ears, name: str, kind: str = "A", *, tcp: bool = False) -> DNSRecord:
    loop = asyncio.get_running_loop()
    data = DNSRecord.question(name, kind).pack()
    if tcp:
        reader, writer = await asyncio.open_connection(*ears.tcp.getsockname())
        writer.write(len(data).to_bytes(2, "big") + data)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.close()
        return DNSRecord.parse(answer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ears.udp.getsockname())
        await loop.sock_sendall(sock, data)
        async with asyncio.timeout(10):
            answer = await loop.sock_recv(sock, 65535)
    assert answer[:2] == data[:2]
    return DNSRecord.parse(answer)


OPEN = View(networks={"n": "backend"}, servers=("127.0.0.1",))


async def test_local_names_and_outside_ones() -> None:
    async with outside() as (port, asked), resolver(port, OPEN) as ears:
        for tcp in (False, True):
            assert [str(each.rdata) for each in (await query(ears, "web", tcp=tcp)).rr] == ["10.0.0.2"]
            assert [str(each.rdata) for each in (await query(ears, "example.org", tcp=tcp)).rr] == ["192.0.2.7"]
        assert (await query(ears, "no.example.org")).header.rcode == RCODE.NXDOMAIN
        assert "web." not in asked


async def test_answers_are_kept() -> None:
    async with outside() as (port, asked), resolver(port, OPEN) as ears:
        for _ in range(5):
            assert (await query(ears, "example.org")).rr
        assert asked.count("example.org.") <= 2  # once, with the forged one's making
    assert upstream.LONGEST <= 60


async def test_a_cut_answer_is_passed_on_and_had_whole_over_tcp() -> None:
    async with outside(cut=True) as (port, _), resolver(port, OPEN) as ears:
        assert (await query(ears, "example.org")).header.tc
        assert (await query(ears, "example.org", tcp=True)).rr


async def test_an_internal_network_asks_nobody() -> None:
    """CVE-2024-29018."""
    view = View(networks={"n": "backend"}, servers=("127.0.0.1",), outside=False)
    async with outside() as (port, asked), resolver(port, view) as ears:
        assert (await query(ears, "example.org")).header.rcode == RCODE.SERVFAIL
        assert (await query(ears, "example.org", tcp=True)).header.rcode == RCODE.SERVFAIL
        assert [str(each.rdata) for each in (await query(ears, "web")).rr] == ["10.0.0.2"]
        assert asked == []


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PATIENCE", 0.05)
    async with outside(silent=True) as (port, asked), resolver(port, OPEN) as ears:
        assert (await query(ears, "example.org")).header.rcode == RCODE.SERVFAIL
        assert asked == ["silence"] * upstream.ROUNDS


async def test_ages_go_down() -> None:
    made = DNSRecord.question("x").reply()
    made.add_answer(RR("x", QTYPE.AAAA, rdata=AAAA("fd00::1"), ttl=30))
    aged = DNSRecord.parse(b"\0\0" + upstream._aged(bytes(made.pack())[2:], 10))
    assert aged.rr[0].ttl == 20
