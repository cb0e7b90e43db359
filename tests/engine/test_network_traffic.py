"""Who reaches whom: real packets between containers, the machine and a neighbour on the same segment.

The daemon runs in a network namespace of its own, so nothing here meets the machine's network.

    neighbour 198.51.100.2 ── up0 ── 198.51.100.1 engine ── bridges ── containers
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from dnslib import DNSRecord
from tests.engine.spaces import Space, add_route, wire
from tests.running import DOCKER, Daemon, until

from gorae.netlink import link, nftables
from gorae.netlink.conversation import NETLINK_NETFILTER, Conversation

pytestmark = pytest.mark.kernel

ENGINE, NEIGHBOUR = "198.51.100.1", "198.51.100.2"
DEFAULT, WEB, DARK, APART = "10.77.0", "10.77.1", "10.77.2", "10.77.3"


class Town:
    """The daemon, its namespace, and the spaces of its containers."""

    def __init__(self, daemon: Daemon, engine: Space, neighbour: Space) -> None:
        self.daemon = daemon
        self.engine = engine
        self.neighbour = neighbour
        self._spaces: dict[str, Space] = {}

    def run(self, name: str, *words: str, network: str = "bridge") -> Space:
        """A container that sleeps."""
        self.daemon.docker("run", "-d", "--name", name, "--network", network, *words, "busybox", "sleep", "1000")
        return self.space(name)

    def space(self, name: str) -> Space:
        if name not in self._spaces:
            self._spaces[name] = Space(int(self.inspect(name)["State"]["Pid"]))
        return self._spaces[name]

    def inspect(self, name: str) -> Any:
        return json.loads(self.daemon.docker("inspect", name).stdout)[0]

    def address(self, name: str, network: str = "bridge", key: str = "IPAddress") -> str:
        return str(self.inspect(name)["NetworkSettings"]["Networks"][network][key])

    def fails(self, *words: str) -> str:
        done = self.daemon.docker(*words, check=False)
        assert done.returncode != 0
        return done.stderr.decode()

    def close(self) -> None:
        for space in self._spaces.values():
            space.__exit__(None, None, None)
        self._spaces.clear()

    def flush(self, *tables: str) -> None:
        """What `nft flush ruleset` does."""
        with self.engine.inside():
            conversation = Conversation(NETLINK_NETFILTER)
        with conversation:
            for family in ("inet", "bridge"):
                for name in tables:
                    conversation.batch(nftables.BEGIN_BATCH, nftables.remove(family, name), nftables.END_BATCH)

    def has_rules(self) -> bool:
        with self.engine.inside():
            conversation = Conversation(NETLINK_NETFILTER)
        with conversation:
            names = {nftables.chain_of(body)[0] for _, body in conversation.dump(nftables.chains("inet"))}
        return self.table in names

    @property
    def table(self) -> str:
        return f"gorae-{self.daemon.bridge}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Space() as engine, Space() as neighbour:
        wire(engine, "up0", f"{ENGINE}/24", neighbour, "up0", f"{NEIGHBOUR}/24")
        add_route(neighbour, "up0", "10.77.0.0/16", ENGINE)
        engine.write("/proc/sys/net/ipv4/ip_forward", "0")
        settings = {"bip": f"{DEFAULT}.1/24", "default-address-pools": [{"base": "10.78.0.0/16", "size": 24}]}
        daemon = Daemon(tmp_path_factory.mktemp("town"), settings)
        with engine.inside():
            daemon.start()
        daemon.import_busybox()
        made = Town(daemon, engine, neighbour)
        try:
            daemon.docker("network", "create", "--subnet", f"{WEB}.0/24", "web")
            daemon.docker("network", "create", "--subnet", f"{DARK}.0/24", "--internal", "dark")
            option = "com.docker.network.bridge.enable_icc=false"
            daemon.docker("network", "create", "--subnet", f"{APART}.0/24", "-o", option, "apart")
            made.run("one")
            made.run("two")
            made.run("shop", "-p", "8080:80", "-p", "127.0.0.1:8081:81", "-p", "8053:53/udp", network="web")
            made.run("client", network="web")
            made.run("night", network="dark")
            made.run("owl", network="dark")
            made.run("left", "-p", "8082:82", network="apart")
            made.run("right", network="apart")
            yield made
        finally:
            made.close()
            with engine.inside():
                daemon.remove_everything()
            daemon.stop()
            daemon.sweep()
        assert {each.name for each in engine.links()} == {"lo", "up0"}
        assert not made.has_rules()
        assert engine.read("/proc/sys/net/ipv4/ip_forward") == "0"


def test_within_aip_address(town: Town) -> None:
    assert town.space("one").reach(town.space("two"), town.address("two"), 80) == town.address("one")
    assert town.space("one").reach(town.space("two"), town.address("two"), 80, udp=True) == town.address("one")
    assert town.space("night").reach(town.space("owl"), town.address("owl", "dark"), 80) == town.address("night", "dark")


@pytest.mark.parametrize(
    ("source", "target", "network"),
    [("one", "shop", "web"), ("client", "one", "bridge"), ("one", "owl", "dark"), ("owl", "one", "bridge"), ("owl", "shop", "web")],
)
def test_networks_are_apart(town: Town, source: str, target: str, network: str) -> None:
    assert town.space(source).reach(town.space(target), town.address(target, network), 80) is None


def test_icc_false(town: Town) -> None:
    left, right = town.space("left"), town.space("right")
    assert left.reach(right, town.address("right", "apart"), 80) is None
    # Not by way of the gateway either.
    add_route(left, "eth0", f"{town.address('right', 'apart')}/32", f"{APART}.1")
    assert left.reach(right, town.address("right", "apart"), 80) is None
    assert left.reach(town.neighbour, NEIGHBOUR, 80) == ENGINE


def test_outside(town: Town) -> None:
    assert town.space("one").reach(town.neighbour, NEIGHBOUR, 80) == ENGINE
    assert town.space("one").reach(town.neighbour, NEIGHBOUR, 80, udp=True) == ENGINE
    assert town.space("owl").reach(town.neighbour, NEIGHBOUR, 80) is None
    assert town.space("owl").reach(town.engine, f"{DARK}.1", 80) == town.address("owl", "dark")


def test_an_internal_network_stays_inside_whatever_its_containers_try(town: Town) -> None:
    owl = town.space("owl")
    add_route(owl, "eth0", "0.0.0.0/0", f"{DARK}.1")
    assert owl.reach(town.neighbour, NEIGHBOUR, 80) is None
    assert owl.reach(town.space("shop"), ENGINE, 8080, listening=80) is None
    assert town.neighbour.reach(owl, town.address("owl", "dark"), 80) is None


def test_published_everywhere(town: Town) -> None:
    shop = town.space("shop")
    assert town.neighbour.reach(shop, ENGINE, 8080, listening=80) == NEIGHBOUR  # the source is kept
    assert town.neighbour.reach(shop, ENGINE, 8053, listening=53, udp=True) == NEIGHBOUR
    assert town.engine.reach(shop, "127.0.0.1", 8080, listening=80) == f"{WEB}.1"
    assert town.engine.reach(shop, "127.0.0.1", 8053, listening=53, udp=True) == f"{WEB}.1"
    assert town.engine.reach(shop, ENGINE, 8080, listening=80) is not None
    assert town.space("one").reach(shop, f"{DEFAULT}.1", 8080, listening=80) is not None
    assert town.space("client").reach(shop, f"{WEB}.1", 8080, listening=80) is not None
    assert town.space("client").reach(shop, ENGINE, 8080, listening=80) is not None
    assert shop.reach(shop, ENGINE, 8080, listening=80) is not None  # hairpin


def test_published_on_the_loopback(town: Town) -> None:
    shop = town.space("shop")
    assert town.engine.reach(shop, "127.0.0.1", 8081, listening=81) == f"{WEB}.1"
    assert town.neighbour.reach(shop, ENGINE, 8081, listening=81) is None
    assert town.space("one").reach(shop, f"{DEFAULT}.1", 8081, listening=81) is None
    # moby 41872 and 45610: a neighbour sends packets for 127.0.0.1 to the engine's MAC address.
    with town.neighbour.route() as route:
        index = link.link_of(route.get(link.find("up0"))).index
        route.ask(link.route(index, ip_address("127.0.0.0"), 9, ip_address(ENGINE)))
    town.neighbour.write("/proc/sys/net/ipv4/conf/up0/route_localnet", "1")
    town.neighbour.write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")
    assert town.neighbour.reach(shop, "127.0.0.1", 8081, listening=81, bind=NEIGHBOUR) is None


def test_the_machines_loopback_is_its_own(town: Town) -> None:
    """CVE-2020-8558: route_localnet is on at the bridge, for published ports."""
    one = town.space("one")
    one.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")
    with one.route() as route:
        index = link.link_of(route.get(link.find("eth0"))).index
        route.ask(link.route(index, ip_address("127.99.0.0"), 16, ip_address(f"{DEFAULT}.1")))
    assert one.reach(town.engine, "127.99.0.1", 9999, bind=town.address("one")) is None


def test_a_neighbour_cannot_route_straight_to_a_container(town: Town) -> None:
    assert town.neighbour.reach(town.space("one"), town.address("one"), 80) is None
    assert town.neighbour.reach(town.space("shop"), town.address("shop", "web"), 80) is None
    assert town.neighbour.reach(town.space("shop"), town.address("shop", "web"), 81) is None
    assert town.engine.reach(town.space("one"), town.address("one"), 80) == f"{DEFAULT}.1"


def test_forwarding_is_for_containers_only(town: Town) -> None:
    """It was off, and it was us who switched it on: the machine is not a router for others now."""
    with Space() as third:
        wire(town.engine, "up1", "203.0.113.1/24", third, "up1", "203.0.113.2/24")
        add_route(third, "up1", "198.51.100.0/24", "203.0.113.1")
        add_route(town.neighbour, "up0", "203.0.113.0/24", ENGINE)
        assert town.engine.read("/proc/sys/net/ipv4/ip_forward") == "1"
        assert town.neighbour.reach(third, "203.0.113.2", 80) is None
        with town.engine.route() as route:
            route.ask(link.delete("up1"))


def test_a_container_cannot_have_its_neighbours_address(town: Town) -> None:
    one, two = town.space("one"), town.space("two")
    taken = town.address("two")
    with one.route() as route:
        index = link.link_of(route.get(link.find("eth0"))).index
        route.ask(link.add_address(index, ip_interface(f"{taken}/32")))
    assert one.reach(town.engine, f"{DEFAULT}.1", 80, bind=taken) is None
    assert one.reach(town.neighbour, NEIGHBOUR, 80, bind=taken) is None
    assert town.engine.reach(two, taken, 80) == f"{DEFAULT}.1"
    # Nor the gateway's.
    with one.route() as route:
        route.ask(link.add_address(index, ip_interface(f"{DEFAULT}.1/32")))
    assert two.reach(town.engine, f"{DEFAULT}.1", 80) == taken


def test_no_ipv6_where_none_was_asked_for(town: Town) -> None:
    for name in ("one", "shop", "owl"):
        assert town.space(name).read("/proc/sys/net/ipv6/conf/all/disable_ipv6") == "1"
        assert town.space(name).read("/proc/net/if_inet6") == ""


def test_a_clash_of_ports_is_told_before_anything_starts(town: Town) -> None:
    words = town.fails("run", "--name", "late", "-p", "8080:80", "busybox", "true")
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in words
    assert town.inspect("late")["State"]["Status"] == "created"
    town.daemon.docker("rm", "late")
    with town.engine.socket() as other:
        other.bind(("0.0.0.0", 8099))
        other.listen(1)
        assert "address already in use" in town.fails("run", "--rm", "-p", "8099:80", "busybox", "true")
    # The other way round: what is published cannot be bound by another program.
    with town.engine.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("0.0.0.0", 8080))


def test_ephemeral_ports_and_ranges(town: Town) -> None:
    town.run("many", "-p", "80", "-p", "9100-9101:90-91", "-P", "--expose", "70/udp", network="web")
    ports = town.inspect("many")["NetworkSettings"]["Ports"]
    assert [ports[key][0]["HostPort"] for key in ("90/tcp", "91/tcp")] == ["9100", "9101"]
    free = int(ports["80/tcp"][0]["HostPort"])
    assert town.neighbour.reach(town.space("many"), ENGINE, free, listening=80) == NEIGHBOUR
    assert town.neighbour.reach(town.space("many"), ENGINE, 9101, listening=91) == NEIGHBOUR
    udp = int(ports["70/udp"][0]["HostPort"])
    assert town.neighbour.reach(town.space("many"), ENGINE, udp, listening=70, udp=True) == NEIGHBOUR
    town.daemon.docker("rm", "-f", "many")
    assert town.neighbour.reach(town.space("shop"), ENGINE, free, listening=80) is None


def test_rules_come_back_when_somebody_flushes_them(town: Town) -> None:
    town.flush(town.table)
    until(town.has_rules, "the rules are restored", 5)
    assert town.space("one").reach(town.space("shop"), town.address("shop", "web"), 80) is None
    assert town.neighbour.reach(town.space("shop"), ENGINE, 8080, listening=80) == NEIGHBOUR
    assert town.space("one").reach(town.neighbour, NEIGHBOUR, 80) == ENGINE


def test_a_dead_daemon_leaves_its_containers_connected(town: Town) -> None:
    shop = town.space("shop")
    with shop.socket() as waiting, town.neighbour.socket() as going:
        waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        waiting.bind(("0.0.0.0", 80))
        waiting.listen(1)
        going.connect((ENGINE, 8080))
        joined, _ = waiting.accept()
        with joined:
            town.daemon.kill()
            going.sendall(b"still there?")
            assert joined.recv(100) == b"still there?"
            town.flush(town.table)  # and a flush that nobody hears
            with town.engine.inside():
                town.daemon.start()
            assert town.has_rules()
            joined.sendall(b"yes")
            assert going.recv(100) == b"yes"
    assert town.neighbour.reach(shop, ENGINE, 8080, listening=80) == NEIGHBOUR
    assert "already allocated" in town.fails("run", "--rm", "-p", "8080:80", "busybox", "true")
    new = town.run("new", network="web")
    assert town.address("new", "web") not in {town.address(name, "web") for name in ("shop", "client")}
    assert new.reach(shop, town.address("shop", "web"), 80) == town.address("new", "web")
    town.daemon.docker("rm", "-f", "new")


def lookup(space: Space, name: str, kind: str = "A") -> list[str]:
    """What the resolver inside says."""
    with space.socket(socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        asking.connect(("127.0.0.11", 53))
        asking.send(DNSRecord.question(name, kind).pack())
        return sorted(str(record.rdata) for record in DNSRecord.parse(asking.recv(4096)).rr)


def test_names(town: Town) -> None:
    town.run("api", "--network-alias", "svc", network="web")
    town.run("api2", "--network-alias", "svc", network="web")
    client, one = town.space("client"), town.space("one")
    addresses = [town.address(name, "web") for name in ("api", "api2")]
    assert lookup(client, "api") == [addresses[0]]
    assert lookup(client, "svc") == sorted(addresses)
    assert lookup(client, ".".join(reversed(addresses[0].split("."))) + ".in-addr.arpa", "PTR") == ["api.web."]
    assert lookup(town.space("api"), "owl") == []
    assert lookup(town.space("owl"), "night") == [town.address("night", "dark")]
    assert lookup(town.space("owl"), "host.docker.internal") == [f"{DARK}.1"]
    with one.socket(socket.SOCK_DGRAM) as asking:  # the default network has no names
        asking.connect(("127.0.0.11", 53))
        asking.send(DNSRecord.question("two").pack())
        with pytest.raises(OSError, match=r"refused|timed out"):
            asking.recv(100)
    town.daemon.docker("rename", "api", "newer")
    assert lookup(client, "newer") == [addresses[0]]
    assert lookup(client, "api") == []
    # A container may be a name server itself.
    with town.space("api2").socket(socket.SOCK_DGRAM) as own:
        own.bind(("0.0.0.0", 53))
        assert lookup(town.space("api2"), "client") == [town.address("client", "web")]
    # What is asked while the daemon is away is answered when it is back.
    with client.socket(socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        asking.connect(("127.0.0.11", 53))
        town.daemon.kill()
        asking.send(DNSRecord.question("newer").pack())
        with town.engine.inside():
            town.daemon.start()
        assert [str(record.rdata) for record in DNSRecord.parse(asking.recv(4096)).rr] == [addresses[0]]
    town.daemon.docker("rm", "-f", "newer", "api2")
    assert lookup(client, "svc") == []


def test_connect_and_disconnect_while_it_runs(town: Town) -> None:
    one = town.space("one")
    town.daemon.docker("network", "connect", "web", "one")
    assert one.reach(town.space("shop"), town.address("shop", "web"), 80) == town.address("one", "web")
    assert one.reach(town.neighbour, NEIGHBOUR, 80) == ENGINE
    assert "already exists in network web" in town.fails("network", "connect", "web", "one")
    town.daemon.docker("network", "disconnect", "web", "one")
    assert one.reach(town.space("shop"), f"{WEB}.2", 80) is None
    assert "is not connected to" in town.fails("network", "disconnect", "web", "one")
    assert one.reach(town.neighbour, NEIGHBOUR, 80) == ENGINE


def test_several_networks_from_the_start(town: Town) -> None:
    town.daemon.docker("create", "--name", "both", "--network", "web", "busybox", "sleep", "100")
    town.daemon.docker("network", "connect", "--ip", f"{DARK}.77", "dark", "both")
    town.daemon.docker("start", "both")
    both = town.space("both")
    assert town.address("both", "dark") == f"{DARK}.77"
    assert both.reach(town.space("owl"), town.address("owl", "dark"), 80) == f"{DARK}.77"
    assert both.reach(town.space("shop"), town.address("shop", "web"), 80) == town.address("both", "web")
    assert both.reach(town.neighbour, NEIGHBOUR, 80) == ENGINE
    assert "Address already in use" in town.fails("run", "--rm", "--network", "dark", "--ip", f"{DARK}.77", "busybox", "true")
    town.daemon.docker("rm", "-f", "both")


def test_ipv6(town: Town) -> None:
    town.engine.write("/proc/sys/net/ipv6/conf/all/forwarding", "0")
    wire6 = {"up0": "2001:db8:1::1/64"}
    for space, text in ((town.engine, wire6["up0"]), (town.neighbour, "2001:db8:1::2/64")):
        with space.route() as route:
            index = link.link_of(route.get(link.find("up0"))).index
            route.ask(link.add_address(index, ip_interface(text)))
    town.daemon.docker("network", "create", "--ipv6", "six")
    subnet = json.loads(town.daemon.docker("network", "inspect", "six").stdout)[0]["IPAM"]["Config"][1]["Subnet"]
    assert subnet.startswith("fd")
    first = town.run("six1", "-p", "8600:86", network="six")
    second = town.run("six2", network="six")
    addresses = {name: town.address(name, "six", "GlobalIPv6Address") for name in ("six1", "six2")}
    assert first.reach(second, addresses["six2"], 80) == addresses["six1"]
    assert first.reach(town.neighbour, "2001:db8:1::2", 80) == "2001:db8:1::1"
    assert town.neighbour.reach(first, "2001:db8:1::1", 8600, listening=86) == "2001:db8:1::2"
    assert town.neighbour.reach(first, ENGINE, 8600, listening=86) == NEIGHBOUR
    assert second.reach(first, "2001:db8:1::1", 8600, listening=86) is not None
    assert lookup(second, "six1", "AAAA") == [addresses["six1"]]
    # Straight to a container: no.
    add_route(town.neighbour, "up0", subnet, "2001:db8:1::1")
    assert town.neighbour.reach(first, addresses["six1"], 80) is None
    # Another's address, and router advertisements (CVE-2020-13401): no.
    with first.route() as route:
        index = link.link_of(route.get(link.find("eth0"))).index
        route.ask(link.add_address(index, ip_interface(f"{addresses['six2']}/128")))
    assert first.reach(town.engine, subnet.replace("::/64", "::1"), 80, bind=addresses["six2"]) is None
    assert second.read("/proc/sys/net/ipv6/conf/eth0/accept_ra") == "0"
    bridge = next(each.name for each in town.engine.links() if each.index == _master(town, "six1"))
    assert town.engine.read(f"/proc/sys/net/ipv6/conf/{bridge}/accept_ra") == "0"
    town.daemon.docker("rm", "-f", "six1", "six2")
    town.daemon.docker("network", "rm", "six")


def _master(town: Town, container: str) -> int:
    peer = next(each.peer for each in town.space(container).links() if each.name == "eth0")
    return next(each.master for each in town.engine.links() if each.index == peer)


def test_macvlan(town: Town) -> None:
    """On the machine's own segment: the neighbour sees the container itself."""
    pool = ("--subnet", "198.51.100.0/24", "--ip-range", "198.51.100.64/27")
    town.daemon.docker("network", "create", "-d", "macvlan", *pool, "-o", "parent=up0", "lan")
    one = town.run("lan1", network="lan")
    assert town.address("lan1", "lan").startswith("198.51.100.6")
    assert one.reach(town.neighbour, NEIGHBOUR, 80) == town.address("lan1", "lan")
    assert town.neighbour.reach(one, town.address("lan1", "lan"), 80) == NEIGHBOUR
    two = town.run("lan2", network="lan")
    assert two.reach(one, town.address("lan1", "lan"), 80) == town.address("lan2", "lan")
    assert lookup(two, "lan1") == [town.address("lan1", "lan")]
    town.daemon.docker("rm", "-f", "lan1", "lan2")
    town.daemon.docker("network", "rm", "lan")


def test_mac_and_files(town: Town) -> None:
    town.run("named", "--mac-address", "02:42:00:00:00:99", "--hostname", "me", "--add-host", "it:1.2.3.4",
             "--add-host", "up:host-gateway", network="web")  # fmt: skip
    assert town.address("named", "web", "MacAddress") == "02:42:00:00:00:99"
    assert "02:42:00:00:00:99" in {each.mac for each in town.space("named").links()}
    hosts = town.daemon.docker("exec", "named", "cat", "/etc/hosts").stdout.decode().splitlines()
    assert f"{town.address('named', 'web')}\tme" in hosts
    assert "1.2.3.4\tit" in hosts
    assert f"{DEFAULT}.1\tup" in hosts
    town.daemon.docker("rm", "-f", "named")


def test_a_network_in_use_stays(town: Town) -> None:
    assert "has active endpoints" in town.fails("network", "rm", "web")
    assert "pre-defined" in town.fails("network", "rm", "bridge")
    assert "already exists" in town.fails("network", "create", "web")
    assert "overlaps" in town.fails("network", "create", "--subnet", f"{WEB}.128/25", "more")
    assert "network nowhere not found" in town.fails("run", "--rm", "--network", "nowhere", "busybox", "true")


def test_deleted_links_are_made_again(town: Town) -> None:
    """As after a reboot, but for the containers that run."""
    town.daemon.docker("network", "create", "--subnet", "10.77.9.0/24", "brief")
    town.daemon.docker("run", "--rm", "--network", "brief", "busybox", "true")
    name = next(each.name for each in town.engine.links() if _address_of(town.engine, each.index) == "10.77.9.1")
    with town.engine.route() as route:
        route.ask(link.delete(name))
    town.daemon.docker("run", "--rm", "--network", "brief", "busybox", "true")
    town.daemon.docker("network", "rm", "brief")
    until(lambda: name not in {each.name for each in town.engine.links()}, "its bridge goes")


def _address_of(space: Space, index: int) -> str:
    with space.route() as route:
        pairs = [link.address_of(body) for _, body in route.dump(link.addresses())]
    return next((str(address.ip) for number, address in pairs if number == index and address.version == 4), "")


def test_many_at_once(town: Town) -> None:
    before = {each.name for each in town.engine.links()}
    command = [DOCKER, "run", "--rm", "--network", "web", "busybox", "hostname", "-i"]
    environment = town.daemon.environment
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(12)]
    found = {process.communicate(timeout=60)[0].split()[-1] for process in running}
    assert len(found) == 12
    until(lambda: {each.name for each in town.engine.links()} <= before, "their links go")


