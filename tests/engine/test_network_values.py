"""Subnets, addresses, ports, names and rules: what is decided without looking at the machine."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae import errors
from gorae.engine.config import parse
from gorae.engine.container.entries import Entries
from gorae.engine.container.model import Container, ContainerConfig, State
from gorae.engine.container.networking import Networking, joins, nameservers
from gorae.engine.network import pools, ports, rules
from gorae.engine.network.allocation import Allocation, check_mac, mac_of
from gorae.engine.network.model import ICC, MASQUERADE, SPOOFING, Endpoint, Network, Pool, Port
from gorae.engine.network.ports import HostPorts
from gorae.engine.network.rules import Situation

WEB = Network(id="w", name="web", link="br-w", pools=(Pool(subnet="10.1.0.0/24", gateway="10.1.0.1"),))
TWICE = Network(
    id="t",
    name="twice",
    link="br-t",
    ipv6=True,
    pools=(Pool(subnet="10.2.0.0/24", gateway="10.2.0.1"), Pool(subnet="fd00::/64", gateway="fd00::1")),
)


def test_thousands_of_networks_from_the_default_pools() -> None:
    assert sum(1 << (size - ipaddress.ip_network(base).prefixlen) for base, size in pools.DEFAULT_POOLS) > 3000
    taken: list[pools.Subnet] = []
    for _ in range(200):
        taken.append(pools.choose(pools.DEFAULT_POOLS, taken, 4))
    assert not any(one.overlaps(other) for one, other in itertools.combinations(taken, 2))


def test_pools_that_are_used_up() -> None:
    with pytest.raises(errors.Forbidden, match="fully subnetted"):
        pools.choose([("10.0.0.0/24", 25)], [ipaddress.ip_network("10.0.0.5/32"), ipaddress.ip_network("10.0.0.200/32")], 4)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(17, 28)), max_size=12))
def test_what_is_chosen_is_free(busy: list[tuple[int, int]]) -> None:
    taken: list[pools.Subnet] = [ipaddress.ip_network((0x0A000000 | number, size), strict=False) for number, size in busy]
    try:
        found = pools.choose([("10.0.0.0/16", 22)], taken, 4)
    except errors.Forbidden:
        every = ipaddress.ip_network("10.0.0.0/16").subnets(new_prefix=22)
        assert all(any(each.overlaps(other) for other in taken) for each in every)
        return
    assert not any(found.overlaps(each) for each in taken)
    assert found.prefixlen == 22


def test_unique_local_prefixes() -> None:
    prefix = pools.local_prefix("this data root")
    assert ipaddress.ip_network(prefix).subnet_of(ipaddress.ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert prefix == pools.local_prefix("this data root") != pools.local_prefix("another")
    first = pools.choose([(prefix, 64)], [], 6)
    assert pools.choose([(prefix, 64)], [first], 6).network_address == first.broadcast_address + 1


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (Pool(subnet="10.0.0.0/99"), "invalid subnet"),
        (Pool(subnet="10.0.0.0/31"), "no room"),
        (Pool(subnet="10.0.0.0/24", range="10.0.1.0/28"), "outside of the subnet"),
        (Pool(subnet="10.0.0.0/24", gateway="10.0.1.1"), "outside of the subnet"),
        (Pool(subnet="10.0.0.0/24", gateway="x"), "not an IP address"),
        (Pool(subnet="10.0.0.0/24", auxiliary={"x": "10.9.0.1"}), "outside"),
        (Pool(subnet="10.1.0.128/25"), "overlaps"),
    ],
)
def test_subnets_that_are_refused(pool: Pool, words: str) -> None:
    with pytest.raises(errors.GoraeError, match=words):
        pools.check((pool,), [ipaddress.ip_network("10.1.0.0/24")])


def test_addresses_go_round_and_are_never_given_twice() -> None:
    network = Network(
        id="n",
        name="n",
        pools=(Pool(subnet="10.0.0.0/28", gateway="10.0.0.1", range="10.0.0.8/29", auxiliary={"printer": "10.0.0.9"}),),
    )
    allocation = Allocation(network)
    found = [allocation.take(4, f"e{number}")[0] for number in range(6)]
    assert found == ["10.0.0.8/28", *(f"10.0.0.{last}/28" for last in range(10, 15))]
    with pytest.raises(errors.Forbidden, match="no available IPv4 addresses"):
        allocation.take(4, "one too many")
    allocation.free(Endpoint(id="e0", network="n", container="c", ipv4=found[0]))
    allocation.free(Endpoint(id="e3", network="n", container="c", ipv4=found[3]))
    assert allocation.take(4, "later")[0] == found[0]
    assert allocation.take(4, "latest")[0] == found[3]
    assert allocation.take(4, "chosen", "10.0.0.3") == ("10.0.0.3/28", "10.0.0.1")  # outside of the range, inside of the subnet
    for wanted, words in (("10.0.0.3", "already in use"), ("10.0.0.1", "already in use"), ("10.9.9.9", "no configured subnet")):
        with pytest.raises(errors.GoraeError, match=words):
            allocation.take(4, "another", wanted)
    assert allocation.take(6, "six") == ("", "")


@settings(max_examples=40)
@given(st.lists(st.integers(0, 30), max_size=60))
def test_an_address_has_one_holder(steps: list[int]) -> None:
    allocation = Allocation(WEB)
    held: dict[int, Endpoint] = {}
    for number in steps:
        if number in held:
            allocation.free(held.pop(number))
        else:
            address = allocation.take(4, str(number))[0]
            assert address not in {each.ipv4 for each in held.values()}
            held[number] = Endpoint(id=str(number), network="w", container="c", ipv4=address)
    again = Allocation(WEB)
    for endpoint in held.values():
        again.hold(endpoint)
    fresh = again.take(4, "after the crash")[0]
    assert fresh not in {each.ipv4 for each in held.values()}


def test_mac_addresses() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"
    assert check_mac("02-42-AC-11-0-2") == "02:42:ac:11:00:02"
    for text in ("", "02:42", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:42:ac:11:00:zz", "02:42:ac:11:00:02:03"):
        with pytest.raises(errors.InvalidArgument, match="invalid MAC address"):
            check_mac(text)


@pytest.mark.parametrize(
    "bindings",
    [{"x/tcp": None}, {"0/tcp": []}, {"65536/tcp": []}, {"80/icmp": []}, {"80/tcp": [{"HostPort": "x"}]},
     {"80/tcp": [{"HostPort": "9-8"}]}, {"80/tcp": [{"HostPort": "70000"}]}, {"80/tcp": [{"HostIp": "nowhere"}]}],
)  # fmt: skip
def test_ports_that_make_no_sense(bindings: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument):
        ports.check(bindings)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_host_ports_are_held_and_given_back() -> None:
    held = HostPorts()
    number = free_port()
    binding = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(number)}]}

    def publish(endpoint: str, bindings: dict[str, Any]) -> tuple[Port, ...]:
        return held.publish(endpoint, endpoint, bindings, (), everything=False, default="", versions=(4,))

    found = publish("one", binding)
    assert found == (Port(protocol="tcp", container_port=80, host="127.0.0.1", host_port=number),)
    with pytest.raises(errors.Unavailable, match=f"Bind for 127.0.0.1:{number} failed: port is already allocated"):
        publish("two", binding)
    with pytest.raises(errors.Unavailable, match="port is already allocated"):
        publish("two", {"80/tcp": [{"HostPort": str(number)}]})  # everywhere is also there
    publish("udp", {"80/udp": [{"HostIp": "127.0.0.1", "HostPort": str(number)}]})
    # What fails half-way holds nothing.
    other = free_port()
    with pytest.raises(errors.Unavailable):
        publish("three", {"70/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(other)}], **binding})
    publish("four", {"70/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(other)}]})
    held.free("two", found)  # somebody else's
    with pytest.raises(errors.Unavailable):
        publish("two", binding)
    held.free("one", found)
    publish("two", binding)
    held.close()


def test_a_range_takes_the_first_that_is_free() -> None:
    held = HostPorts((50_000, 50_002))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen(1)
        number = int(probe.getsockname()[1])
        bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": f"{number}-{number + 5}"}]}
        (found,) = held.publish("one", "one", bindings, (), everything=False, default="", versions=(4,))
        assert number < found.host_port <= number + 5
    held.close()


def test_everything_that_is_exposed() -> None:
    held = HostPorts()
    found = held.publish("one", "one", {}, ("80/tcp", "53/udp"), everything=True, default="127.0.0.1", versions=(4, 6))
    assert [(port.container_port, port.protocol, port.host) for port in found] == [
        (53, "udp", "127.0.0.1"),
        (80, "tcp", "127.0.0.1"),
    ]
    both = held.publish("two", "two", {"80/tcp": [{}]}, (), everything=False, default="", versions=(4, 6))
    assert [port.host for port in both] == ["0.0.0.0", "::"]
    assert both[0].host_port == both[1].host_port
    held.close()


# ── rules ──


def endpoint(network: str = "w", **fields: Any) -> Endpoint:
    return Endpoint(**({"id": "e", "network": network, "container": "c", "link": "veth1", "mac": "02:42:0a:01:00:02",
                        "ipv4": "10.1.0.2/24"} | fields))  # fmt: skip


def test_rules_do_not_grow_with_what_there_is() -> None:
    port = Port(protocol="tcp", container_port=80, host="0.0.0.0", host_port=8080)
    small = rules.tables("gorae", Situation((WEB,), ()))
    big = rules.tables("gorae", Situation((WEB, TWICE), tuple(endpoint(id=str(n), ports=(port,)) for n in range(50))))
    assert [table.rules for table in small] == [table.rules for table in big]
    assert len(small[0].rules) < 40


def test_elements_of_a_network() -> None:
    def sets(network: Network) -> set[str]:
        return set(rules.of_network(network).routed)

    assert sets(WEB) == {"bridges", "loop", "same", "outward"}
    hidden = Network(id="i", name="i", link="br-i", internal=True, options={ICC: "false"})
    assert sets(hidden) == {"bridges", "loop", "internal"}
    assert "outward" not in sets(Network(id="r", name="r", link="br-r", options={MASQUERADE: "false"}))
    assert sets(Network(id="m", name="m", driver="macvlan", link="eth0")) == set()
    assert not rules.of_network(Network(id="s", name="s", link="br-s", options={SPOOFING: "true"}, pools=WEB.pools)).bridged


def test_elements_of_published_ports() -> None:
    def published(**fields: Any) -> dict[str, Any]:
        made = endpoint("t", ipv4="10.2.0.2/24", ipv6="fd00::2/64", ports=(Port(container_port=80, host_port=8080, **fields),))
        return dict(rules.of_endpoint(made, TWICE).routed)

    anywhere = published(protocol="tcp", host="0.0.0.0")
    assert set(anywhere) == {"ports4", "selves4"}
    (element,) = anywhere["ports4"]
    assert element.key == (b"\x06", b"\x1f\x90")
    assert element.data == (ipaddress.ip_address("10.2.0.2").packed, b"\0\x50")
    assert set(published(protocol="udp", host="127.0.0.1")) == {"at4", "selves4"}
    assert set(published(protocol="tcp", host="::")) == {"ports6", "selves6"}
    assert set(published(protocol="sctp", host="fd99::1")) == {"at6", "selves6"}


# ── what a container asks for ──


def test_the_order_of_networks() -> None:
    config = ContainerConfig(image="x", network_mode="web", networks={"db": None, "web": {"Aliases": ["a"]}})
    assert list(joins(config)) == ["web", "db"]
    assert joins(config)["web"].aliases == ("a",)
    assert list(joins(ContainerConfig(image="x"))) == ["bridge"]
    assert list(joins(ContainerConfig(image="x", network_mode="default", networks={"default": {}}))) == ["bridge"]


def test_name_servers_of_a_file() -> None:
    assert nameservers("nameserver 1.2.3.4\n#nameserver 9.9.9.9\nnameserver fe80::1%eth0\nnameserver x\noptions a\n") == (
        "1.2.3.4",
        "fe80::1",
    )


@pytest.mark.parametrize(
    "text",
    ['{"bip": "x"}', '{"bridge": "a/b"}', '{"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}',
     '{"publish-address": "nowhere"}', '{"fixed-cidr": "10.0.0.1/99"}', '{"default-address-pools": [{"base": "10.0.0.0/16"}]}'],
)  # fmt: skip
def test_daemon_json_is_checked(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        parse(text.encode(), "daemon.json")


class Unable:
    """Endpoints of a machine without bridges."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def plug(self, member: Any) -> Any:
        try:
            raise OSError(self.number, "netlink: Unknown device type")
        except OSError as error:
            raise errors.Unavailable("network: Unknown device type") from error

    def unplug(self, container: str) -> None:
        pass


class Known:
    def find(self, name: str) -> Network:
        return Network(id=name, name=name)


def container(**fields: Any) -> Container:
    config = ContainerConfig(image="x", **fields)
    return Container(id="c" * 64, name="c", created_at=0, image_id="", config=config, state=State(), path="true")


def networking(number: int) -> Networking:
    return Networking(parse(b"{}", ""), Known(), Unable(number), Entries())  # type: ignore[arg-type]


async def test_a_machine_without_bridges_runs_containers_and_says_so() -> None:
    made = networking(errno.EOPNOTSUPP)
    assert made.warnings(container().config) == ()
    assert await made.plug(container()) == ""
    assert "cannot have bridge networks" in made.warnings(container().config)[0]
    assert made.warnings(container(network_mode="none").config) == ()
    # Whoever asked for a network by name gets an error instead of none.
    with pytest.raises(errors.Unavailable):
        await made.plug(container(network_mode="web"))


async def test_other_troubles_are_errors() -> None:
    with pytest.raises(errors.Unavailable):
        await networking(errno.ENOMEM).plug(container())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"networks": {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}}, "user configured subnets"),
        ({"networks": {"bridge": {"Aliases": ["x"]}}}, "user-defined networks"),
        ({"network_mode": "web", "networks": {"web": {"MacAddress": "x"}}}, "invalid MAC address"),
        ({"network_mode": "web", "networks": {"web": {"IPAMConfig": {"IPv4Address": "x"}}}}, "invalid IP address"),
        ({"network_mode": "host", "networks": {"web": {}}}, "conflicting options"),
        ({"port_bindings": {"x": None}}, "invalid containerPort"),
    ],
)
def test_wishes_that_are_refused_at_create(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=words):
        networking(0).check(container(**fields).config)
