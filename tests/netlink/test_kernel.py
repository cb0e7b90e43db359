"""What the kernel makes of our messages, in a namespace of the test's own; pyroute2 is asked what it sees."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from tests.engine.spaces import Space

from gorae.netlink import expression as e
from gorae.netlink import link, nftables
from gorae.netlink.conversation import NETLINK_NETFILTER, Conversation
from gorae.netlink.nftables import Chain, Element, Rule, Set, Table

pytestmark = pytest.mark.kernel

MARKS = Set("marks", ("ipv4_addr", "inet_service"), ("ipv4_addr", "inet_service"))
SPANS = Set("spans", ("ipv4_addr",), ranges=True)
AREAS = Set("areas", ("ipv4_addr", "ifname"), ranges=True)


@pytest.fixture
def space() -> Iterator[Space]:
    with Space() as made:
        yield made


def index_of(space: Space, name: str) -> int:
    with space.route() as route:
        return link.link_of(route.get(link.find(name))).index


def test_a_bridge_and_a_container(space: Space) -> None:
    with Space() as inner:
        with space.route() as route:
            route.ask(link.new_bridge("br0", mac="02:42:01:02:03:04", mtu=1400, group=77))
            bridge = link.link_of(route.get(link.find("br0")))
            assert (bridge.kind, bridge.mac, bridge.mtu, bridge.group) == ("bridge", "02:42:01:02:03:04", 1400, 77)
            route.ask(link.add_address(bridge.index, ip_interface("10.0.0.1/24")))
            route.ask(
                link.new_veth(
                    "port", master=bridge.index, namespace=inner.namespace, peer="eth0", peer_mac="02:42:0a:00:00:02", mtu=1400
                )
            )
            port = link.link_of(route.get(link.find("port")))
            assert (port.kind, port.master) == ("veth", bridge.index)
            route.ask(link.set_port(port.index, isolated=True, hairpin=True))
        with inner.route() as route:
            eth0 = link.link_of(route.get(link.find("eth0")))
            assert (eth0.index, eth0.mac, eth0.mtu) == (2, "02:42:0a:00:00:02", 1400)
            gateway = ip_address("10.0.0.1")
            route.ask(
                link.up(eth0.index),
                link.add_address(eth0.index, ip_interface("10.0.0.2/24")),
                link.default_route(eth0.index, gateway),
                link.neighbour(eth0.index, gateway, bridge.mac),
            )
            found = [link.route_of(body) for _, body in route.dump(link.routes())]
            assert (eth0.index, 0, b"", gateway.packed) in found
            route.get(link.find("eth0"))  # both ends are looked at, so that they carry packets at once
        with space.route() as route:
            route.get(link.find("port"))
        assert inner.reach(space, "10.0.0.1", 80) == "10.0.0.2"
        with space.route() as route:
            route.ask(link.delete_group(77))
        assert "br0" not in {each.name for each in space.links()}


def test_refusals_have_the_kernels_words(space: Space) -> None:
    with space.route() as route:
        route.ask(link.new_bridge("br0"))
        with pytest.raises(FileExistsError):
            route.ask(link.new_bridge("br0"))
        with pytest.raises(OSError, match="netlink: ") as refused:
            route.get(link.find("nothing"))
        assert refused.value.errno == errno.ENODEV
        # All are tried, and each has its own answer.
        answers = route.try_all(link.new_bridge("br1"), link.new_bridge("br0"), link.new_bridge("br2"))
        assert [answer is None for answer in answers] == [True, False, True]
    with pytest.raises(ValueError, match="all other links"):
        link.delete_group(0)


def table(**elements: tuple[Element, ...]) -> Table:
    return Table(
        "inet",
        "tried",
        (Chain("in", "filter", "input", 0, e.NF_ACCEPT), Chain("other")),
        (MARKS, SPANS, AREAS),
        (
            Rule("in", e.family(4) + e.within("source", b"\x0a\0\0\0", 8) + e.in_state(e.ESTABLISHED) + e.accept(), "a comment"),
            Rule("in", e.to_this_machine() + e.verdict(e.NFT_JUMP, "other")),
            Rule("other", e.meta("iifname") + e.equal(e.interface("lo")) + e.counter() + e.leave()),
        ),
        elements,
    )


def netfilter(space: Space) -> Conversation:
    with space.inside():
        return Conversation(NETLINK_NETFILTER)


def put(conversation: Conversation, messages: list[Any]) -> None:
    conversation.batch(nftables.BEGIN_BATCH, messages, nftables.END_BATCH)


def test_a_table_as_another_library_reads_it(space: Space) -> None:
    pytest.importorskip("pyroute2")
    from pyroute2.nftables.main import NFTables

    key = (ip_address("10.0.0.1").packed, b"\0\x50")
    with netfilter(space) as conversation:
        put(
            conversation,
            nftables.replace(
                table(
                    marks=(Element(key, (ip_address("10.0.0.9").packed, b"\0\x51")),),
                    spans=(Element((b"\x0a\0\0\0",), end=(b"\x0a\0\0\xff",)),),
                    areas=(Element((b"\x0a\0\0\0", e.interface("br0")), end=(b"\x0a\0\0\xff", e.interface("br0"))),),
                )
            ),
        )
    with space.inside():
        judge = NFTables(nfgen_family=nftables.FAMILIES["inet"])
    with judge:
        rules = [
            (rule.get_attr("NFTA_RULE_CHAIN"), [each.get_attr("NFTA_EXPR_NAME") for each in rule.get_attr("NFTA_RULE_EXPRESSIONS")])
            for rule in judge.get_rules()
        ]
        sets = {each.get_attr("NFTA_SET_NAME"): each.get_attr("NFTA_SET_KEY_LEN") for each in judge.get_sets()}
    assert rules == [
        ("in", ["meta", "cmp", "payload", "bitwise", "cmp", "ct", "bitwise", "cmp", "immediate"]),
        ("in", ["fib", "cmp", "immediate"]),
        ("other", ["meta", "cmp", "counter", "immediate"]),
    ]
    assert sets == {"marks": 8, "spans": 4, "areas": 20}


def test_a_batch_is_all_or_nothing(space: Space) -> None:
    with netfilter(space) as conversation:
        put(conversation, nftables.replace(table()))
        one = Element((ip_address("10.0.0.1").packed, b"\0\x50"), (ip_address("10.0.0.9").packed, b"\0\x51"))
        two = Element((ip_address("10.0.0.2").packed, b"\0\x50"), (ip_address("10.0.0.9").packed, b"\0\x51"))
        with pytest.raises(FileNotFoundError):
            put(conversation, [*nftables.add("inet", "tried", MARKS, [one]), *nftables.take("inet", "tried", MARKS, [two])])
        with pytest.raises(FileNotFoundError):
            put(conversation, nftables.take("inet", "tried", MARKS, [one]))
        put(conversation, nftables.add("inet", "tried", MARKS, [one, two]))
        put(conversation, nftables.add("inet", "tried", MARKS, [one]))  # once more is no error
        put(conversation, nftables.take("inet", "tried", MARKS, [one, two]))
        put(conversation, nftables.remove("inet", "tried"))
        put(conversation, nftables.remove("inet", "tried"))  # nor is this
        assert not conversation.dump(nftables.chains("inet"))


def test_thousands_of_elements(space: Space) -> None:
    many = tuple(
        Element((ip_address(0x0A000000 + number).packed, b"\0\x50"), (ip_address("10.0.0.9").packed, b"\0\x51"))
        for number in range(20_000)
    )
    with netfilter(space) as conversation:
        put(conversation, nftables.replace(table(marks=many)))
        put(conversation, nftables.take("inet", "tried", MARKS, many))


def test_who_changed_what_is_told(space: Space) -> None:
    with space.inside():
        ears = Conversation(NETLINK_NETFILTER, (nftables.NFNLGRP_NFTABLES,))
    with ears, netfilter(space) as ours, netfilter(space) as theirs:
        put(ours, nftables.replace(table()))
        assert {port for _, port, _ in ears.heard()} == {ours.port}
        put(theirs, nftables.remove("inet", "tried"))
        heard = [(port, nftables.touched_table(kind, body)) for kind, port, body in ears.heard()]
        assert (theirs.port, "tried") in heard
