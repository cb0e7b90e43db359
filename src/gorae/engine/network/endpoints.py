"""A container's life in its networks: the story.

    plug         addresses ─▶ ports ─▶ rows (written beside the rest) ─▶ bridges and rules, where missing ─▶ a namespace, plugged in
                 ─▶ the birth joins it by its path ─▶ the descriptor is closed: from now on PID 1 holds the namespace
    unplug       memory ─▶ rows ─▶ elements of the rules, later; the veth pair goes with the namespace, and nobody waits for it
    connect      the same for one more interface of a container that runs; disconnect its opposite
    restore      rows ─▶ memory; who does not run any more is unplugged; bridges and rules are made again for who does

What fails is undone in the opposite order, so that a start that is refused leaves no address, port, link or row.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping

import msgspec

from gorae import errors
from gorae.engine.network import catalogue, rules
from gorae.engine.network.allocation import check_mac, mac_of
from gorae.engine.network.catalogue import Catalogue, new_id
from gorae.engine.network.dns.zone import View
from gorae.engine.network.firewall import Firewall
from gorae.engine.network.member import Member, Plugged, leader
from gorae.engine.network.model import HOST_BINDING, Endpoint, Joining, Network
from gorae.engine.network.plumbing import Ears, Plug, Plumbing
from gorae.engine.network.ports import HostPorts
from gorae.engine.network.record import Records
from gorae.engine.network.resolvers import Resolvers
from gorae.netlink.conversation import Message

log = logging.getLogger(__name__)


class Endpoints:
    """`told(action, network, endpoint)` publishes events."""

    def __init__(
        self,
        networks: Catalogue,
        plumbing: Plumbing,
        firewall: Firewall,
        records: Records,
        ports: HostPorts,
        told: Callable[[str, Network, Endpoint], None],
        resolvers: Resolvers,
    ) -> None:
        self.resolvers = resolvers
        self._networks = networks
        self._plumbing = plumbing
        self._firewall = firewall
        self._records = records
        self._ports = ports
        self._told = told
        self._by_container: dict[str, tuple[Endpoint, ...]] = {}
        self._in_network: dict[str, dict[str, Endpoint]] = {}
        networks.in_use = lambda identity: len(self._in_network.get(identity, ()))

    # ── looking ──

    def of(self, container: str) -> tuple[Endpoint, ...]:
        """Empty unless it runs."""
        return self._by_container.get(container, ())

    def within(self, network: str) -> Mapping[str, Endpoint]:
        """By the containers' ids."""
        return self._in_network.get(network, {})

    def all(self) -> tuple[Endpoint, ...]:
        return tuple(endpoint for endpoints in self._by_container.values() for endpoint in endpoints)

    # ── a start ──

    async def plug(self, member: Member) -> Plugged:
        """Unavailable, Forbidden or InvalidArgument in Docker's words when that cannot be had; nothing is left then."""
        made: list[Endpoint] = []
        try:
            for number, (identity, joining) in enumerate(member.joins.items()):
                made.append(self._allocate(member, self._networks.find(identity), joining, f"eth{number}"))
            self._publish(member, made)
            self._remember(member.id, tuple(made))
            self._records.join(made)
            resolver = member.lonely or any(self._network(each).has_names for each in made)
            namespace, ears = await self._plug(made, resolver)
            if ears is not None:
                self.resolvers.open(member.id, ears, lambda: self._view(member))
        except BaseException:
            self._forget(member.id, made)
            raise
        for endpoint in made:
            self._told("connect", self._network(endpoint), endpoint)
        return Plugged(namespace, tuple(made))

    async def _plug(self, endpoints: list[Endpoint], resolver: bool) -> tuple[int, Ears | None]:
        try:
            return await self._try_to_plug(endpoints, resolver)
        except errors.Unavailable:
            self._plumbing.forget_bridges()  # somebody removed a link, or our rules: look again, once
            self._firewall.restore()
            return await self._try_to_plug(endpoints, resolver)

    async def _try_to_plug(self, endpoints: list[Endpoint], resolver: bool) -> tuple[int, Ears | None]:
        for endpoint in endpoints:
            await self._prepare(self._network(endpoint))
        guard = [message for each in endpoints for message in self._guard(each)]
        leaders = {version: leader(endpoints, version, self._network) for version in (4, 6)}
        plugs = [self._plug_of(each, gateway4=each is leaders[4], gateway6=each is leaders[6]) for each in endpoints]
        return await self._plumbing.run(self._plumbing.new_namespace, plugs, guard, resolver=resolver)

    async def _prepare(self, network: Network) -> None:
        """What it needs on this machine, where it is missing: rules, bridge, loopback."""
        if network.driver != "bridge":
            return
        six = network.ipv6
        await self._firewall.ensure(six=six)
        if self._plumbing.has_bridge(network.link):
            return
        await self._firewall.add(rules.of_network(network))
        addresses = [f"{pool.gateway}/{pool.subnet.partition('/')[2]}" for pool in network.pools if pool.gateway]
        await self._plumbing.run(
            self._plumbing.bridge, network.link, catalogue.bridge_mac(network), addresses, catalogue.mtu(network), six=six
        )
        if not network.internal:
            await self._plumbing.run(self._plumbing.allow_loopback, network.link)

    def _guard(self, endpoint: Endpoint) -> list[Message]:
        return self._firewall.messages(rules.of_endpoint(endpoint, self._network(endpoint)))

    def _allocate(self, member: Member, network: Network, joining: Joining, interface: str) -> Endpoint:
        """Addresses that are its own from here on, in memory."""
        identity = new_id()
        allocation = self._networks.allocation(network.id)
        ipv4 = gateway4 = ipv6 = gateway6 = ""
        if network.ipv4:
            ipv4, gateway4 = allocation.take(4, identity, joining.ipv4)
        try:
            if network.ipv6:
                ipv6, gateway6 = allocation.take(6, identity, joining.ipv6)
            mac = check_mac(joining.mac) if joining.mac else mac_of(ipv4.partition("/")[0])
        except BaseException:
            allocation.free(Endpoint(id=identity, network=network.id, container=member.id, ipv4=ipv4, ipv6=ipv6))
            raise
        names = (member.name, *joining.aliases, member.id[:12], *((member.hostname,) if member.hostname else ()))
        return Endpoint(
            id=identity,
            network=network.id,
            container=member.id,
            interface=interface,
            link=f"veth{identity[:9]}" if network.driver == "bridge" else "",
            mac="" if network.driver == "ipvlan" else mac,
            ipv4=ipv4,
            ipv6=ipv6,
            gateway4="" if network.internal else gateway4,
            gateway6="" if network.internal else gateway6,
            names=tuple(dict.fromkeys(names)),
            priority=joining.priority,
        )

    def _publish(self, member: Member, made: list[Endpoint]) -> None:
        """At the endpoint by which the container reaches the world."""
        if not member.ports and not member.publish_all:
            return
        bridged = [each for each in made if self._network(each).driver == "bridge" and not self._network(each).internal]
        chosen = leader(bridged, 4, self._network) or leader(bridged, 6, self._network)
        if chosen is None:
            return
        network = self._network(chosen)
        default = network.options.get(HOST_BINDING, "") or self._networks.config.publish_address
        ports = self._ports.publish(
            chosen.id,
            member.name,
            member.ports,
            member.exposed,
            everything=member.publish_all,
            default="" if default in ("0.0.0.0", "::") else default,
            versions=[version for version, address in ((4, chosen.ipv4), (6, chosen.ipv6)) if address],
        )
        made[made.index(chosen)] = msgspec.structs.replace(chosen, ports=ports)

    def _plug_of(self, endpoint: Endpoint, *, gateway4: bool, gateway6: bool) -> Plug:
        network = self._network(endpoint)
        return Plug(
            kind=network.driver,
            name=endpoint.interface,
            parent=network.link,
            mac=endpoint.mac,
            link=endpoint.link,
            mode=0 if network.driver == "bridge" else catalogue.mode(network),
            mtu=catalogue.mtu(network),
            ipv4=endpoint.ipv4,
            ipv6=endpoint.ipv6,
            gateway4=endpoint.gateway4 if gateway4 else "",
            gateway6=endpoint.gateway6 if gateway6 else "",
            isolated=rules.isolated(network),
            hairpin=bool(endpoint.ports),
        )

    # ── an end ──

    def unplug(self, container: str) -> None:
        """Idempotent, and waits for nothing: kernel and rows follow."""
        endpoints = self._by_container.get(container, ())
        if not endpoints:
            return
        networks = [self._networks.get(each.network) for each in endpoints]
        self._forget(container, endpoints)
        for endpoint, network in zip(endpoints, networks, strict=True):
            if network is not None:
                self._told("disconnect", network, endpoint)

    # ── while it runs ──

    async def connect(self, member: Member, network: Network, joining: Joining, namespace: int) -> Endpoint:
        """One more interface. Its gateway becomes the container's when there was none."""
        before = self.of(member.id)
        interface = next(name for name in (f"eth{number}" for number in range(1000)) if name not in {e.interface for e in before})
        endpoint = self._allocate(member, network, joining, interface)
        self._remember(member.id, (*before, endpoint))
        try:
            self._records.join([endpoint])
            await self._prepare(network)
            after = [*before, endpoint]
            plug = self._plug_of(
                endpoint,
                gateway4=leader(after, 4, self._network) is endpoint,
                gateway6=leader(after, 6, self._network) is endpoint,
            )
            guard = self._guard(endpoint)
            await self._plumbing.run(self._plumbing.connect, namespace, plug, guard, default=True)
            if network.has_names:
                await self.serve_names(member, namespace)
        except BaseException:
            self._drop(member.id, endpoint)
            raise
        self._told("connect", network, endpoint)
        return endpoint

    async def disconnect(self, container: str, endpoint: Endpoint, namespace: int) -> None:
        """Its interface goes; another network's gateway takes over."""
        before = self.of(container)
        rest = [each for each in before if each.id != endpoint.id]
        following = None
        for version in (4, 6):
            heir = leader(rest, version, self._network)
            if heir is not None and leader(before, version, self._network) != heir:
                following = self._plug_of(heir, gateway4=True, gateway6=True)
        await self._plumbing.run(self._plumbing.disconnect, namespace, endpoint.interface, following)
        self._drop(container, endpoint)
        self._told("disconnect", self._network(endpoint), endpoint)

    def rename(self, container: str, old: str, new: str) -> None:
        """Others find it by its new name."""
        renamed = tuple(
            msgspec.structs.replace(each, names=tuple(dict.fromkeys(new if name == old else name for name in each.names)))
            for each in self.of(container)
        )
        if renamed:
            self._remember(container, renamed)
            self._records.join(renamed)

    async def serve_names(self, member: Member, namespace: int, ears: Ears | None = None) -> None:
        """A resolver for a container that runs, unless it has one; with `ears` that were kept, or new ones."""
        if not self.resolvers.serves(member.id):
            if ears is None:
                ears = await self._plumbing.run(self._plumbing.open_ears, namespace)
            self.resolvers.open(member.id, ears, lambda: self._view(member))

    def _view(self, member: Member) -> View:
        """What its resolver may tell it, now."""
        pairs = [(each, self._networks.get(each.network)) for each in self.of(member.id)]
        known = [(endpoint, network) for endpoint, network in pairs if network is not None]
        machine = [pool.gateway for _, network in known for pool in network.pools if pool.gateway]
        links = [link.partition(":") for how in member.joins.values() for link in how.links]
        return View(
            networks={network.id: network.name for _, network in known if network.has_names},
            machine=tuple(machine),
            links={alias.lower(): name.lower() for name, _, alias in links if alias},
            servers=member.servers,
            outside=any(not network.internal for _, network in known),
        )

    # ── after a restart ──

    async def load(self) -> None:
        """Rows into memory. Those of a network that is gone are dropped."""
        strays = []
        for endpoint in self._records.endpoints():
            if self._networks.get(endpoint.network) is None:
                strays.append(endpoint)
                continue
            self._networks.allocation(endpoint.network).hold(endpoint)
            self._remember(endpoint.container, (*self.of(endpoint.container), endpoint))
        if strays:
            self._records.leave(strays)

    async def restore(self, living: Mapping[str, int]) -> None:
        """`living`: the containers that run, and their PID 1. Everybody else's endpoints are free; the machine is as it must be."""
        for container in tuple(self._by_container):
            if container not in living:
                self._forget(container, self.of(container))
        for endpoint in self.all():
            for port in endpoint.ports:
                self._ports.hold(endpoint.id, port, known=True)
        for identity, members in tuple(self._in_network.items()):
            network = self._networks.get(identity)
            if network is not None:
                try:
                    await self._prepare(network)
                    ours = [each.link for each in members.values() if each.link]
                    await self._plumbing.run(self._plumbing.rejoin, network.link, ours)
                except errors.GoraeError as error:
                    log.error("network %s cannot be restored: %s", network.name, error)

    async def recover(self, member: Member, pid: int) -> None:
        """It runs, and has no row: we died between its birth and the record. What its namespace says is what it has."""
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            links, addresses = await self._plumbing.run(self._plumbing.look_inside, namespace)
        finally:
            os.close(namespace)
        outside = {each.index: each.name for each in await self._plumbing.run(self._plumbing.host_links)}
        found = []
        for number, (identity, joining) in enumerate(member.joins.items()):
            network = self._networks.find(identity)
            for link in links:
                if link.name == f"eth{number}":
                    own = [str(address) for index, address in addresses if index == link.index and not address.is_link_local]
                    found.append(
                        Endpoint(
                            id=new_id(),
                            network=network.id,
                            container=member.id,
                            interface=link.name,
                            link=outside.get(link.peer, ""),
                            mac=link.mac,
                            ipv4=next((text for text in own if ":" not in text), ""),
                            ipv6=next((text for text in own if ":" in text), ""),
                            gateway4=network.pools[0].gateway if network.pools and not network.internal else "",
                            names=(member.name, *joining.aliases, member.id[:12]),
                            priority=joining.priority,
                        )
                    )
        for endpoint in found:
            self._networks.allocation(endpoint.network).hold(endpoint)
        self._remember(member.id, tuple(found))
        self._records.join(found)

    def removed(self, network: Network) -> None:
        """Its rules and its bridge, soon."""
        if network.driver == "bridge" and self._plumbing.has_bridge(network.link):
            self._firewall.take(rules.of_network(network))
            self._plumbing.submit(self._plumbing.remove_links, [network.link])

    # ── memory ──

    def _remember(self, container: str, endpoints: tuple[Endpoint, ...]) -> None:
        self._by_container[container] = endpoints
        for endpoint in endpoints:
            former = self._in_network.setdefault(endpoint.network, {}).get(container)
            if former is not None and former != endpoint:
                self.resolvers.zone.remove(former)
            if former != endpoint:
                self.resolvers.zone.add(endpoint)
            self._in_network[endpoint.network][container] = endpoint

    def _forget(self, container: str, endpoints: Iterable[Endpoint]) -> None:
        """Everything that these endpoints hold."""
        endpoints = tuple(endpoints)
        known = self._by_container.pop(container, ())
        self.resolvers.close(container)
        for endpoint in endpoints:
            self._release(container, endpoint, known=any(each.id == endpoint.id for each in known))
        if known:
            self._records.leave(known)

    def _drop(self, container: str, endpoint: Endpoint) -> None:
        self._by_container[container] = tuple(each for each in self.of(container) if each.id != endpoint.id)
        self._release(container, endpoint, known=True)
        self._records.leave([endpoint])

    def _release(self, container: str, endpoint: Endpoint, *, known: bool) -> None:
        network = self._networks.get(endpoint.network)
        members = self._in_network.get(endpoint.network, {})
        if container in members and members[container].id == endpoint.id:
            self.resolvers.zone.remove(members.pop(container))
            if not members:
                self._in_network.pop(endpoint.network, None)
        self._ports.free(endpoint.id, endpoint.ports)
        if network is not None:
            self._networks.allocation(network.id).free(endpoint)
            if known:
                self._firewall.take(rules.of_endpoint(endpoint, network))

    def _network(self, endpoint: Endpoint) -> Network:
        found = self._networks.get(endpoint.network)
        assert found is not None  # it cannot be removed while it has endpoints
        return found
