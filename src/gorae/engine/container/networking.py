"""A container and its networks: what it asks of `engine.network`, and the names that its files tell it.

    --network none         a namespace of its own with nothing but lo: the birth makes it
    --network host         the machine's
    --network container:X  X's
    anything else          plugged in before the birth, which joins the namespace by path

<data root>/containers/<id>/hosts and resolv.conf are written anew at each start: addresses may be others than last time.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gorae import errors
from gorae.engine.config import Config
from gorae.engine.container import files, modes
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.model import Container, ContainerConfig
from gorae.engine.container.supervision import Supervision
from gorae.engine.container.tasks import Tasks
from gorae.engine.network import ports
from gorae.engine.network.allocation import check_mac
from gorae.engine.network.catalogue import Catalogue
from gorae.engine.network.endpoints import Endpoints
from gorae.engine.network.member import Member, Plugged
from gorae.engine.network.model import DEFAULT, Endpoint, Joining, Network
from gorae.engine.network.plumbing import Ears

log = logging.getLogger(__name__)

RESOLVER = "127.0.0.11"
# A kernel without bridge, veth or nftables, or an engine that may not configure networks.
INCAPABLE = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EPERM)


class Networking:
    """Between `life` and the room of networks."""

    def __init__(self, config: Config, networks: Catalogue, endpoints: Endpoints, entries: Entries) -> None:
        self._config = config
        self._networks = networks
        self._endpoints = endpoints
        self._entries = entries
        self._waiting: dict[str, Plugged] = {}
        self._handicap = ""  # what keeps this machine from having networks, once that was found out
        self.supervision: Supervision | None = None  # which keeps the sockets of resolvers, so that questions wait while we restart
        self._tasks = Tasks()

    # ── create ──

    def check(self, config: ContainerConfig) -> None:
        """At create, as Docker: a network that is not there is refused at the start only; nonsense is refused now."""
        if not is_plugged(config):
            others = [each for each in config.networks if each not in modes.BRIDGES and each not in ("none", "host")]
            if others and modes_of(config):
                raise errors.InvalidArgument(
                    "conflicting options: container cannot be connected to network endpoints with network mode "
                    f"{config.network_mode}"
                )
            return
        ports.check(config.port_bindings)
        for name, given in joins(config).items():
            if given.mac:
                check_mac(given.mac)
            for text in filter(None, (given.ipv4, given.ipv6)):
                try:
                    ipaddress.ip_address(text)
                except ValueError:
                    raise errors.InvalidArgument(f"invalid IP address: {text}") from None
            if name in modes.BRIDGES and (given.ipv4 or given.ipv6) and not self._config.bip:
                raise errors.InvalidArgument(
                    "user specified IP address is supported only when connecting to networks with user configured subnets"
                )
            if name in modes.BRIDGES and given.aliases:
                raise errors.InvalidArgument("network-scoped aliases are only supported for user-defined networks")

    def warnings(self, config: ContainerConfig) -> tuple[str, ...]:
        return (self._handicap,) if self._handicap and is_plugged(config) else ()

    # ── start and end ──

    async def plug(self, container: Container) -> str:
        """The path of its network namespace, until `moved_in`; "" when the birth needs nothing of us.

        NotFound, Forbidden, Unavailable … in Docker's words.
        """
        config = container.config
        if not is_plugged(config):
            return ""
        try:
            plugged = await self._endpoints.plug(self._member(container))
        except errors.Unavailable as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in INCAPABLE or list(joins(config)) != [DEFAULT]:
                raise
            self._handicap = f"this machine cannot have bridge networks ({cause.strerror}): containers have only their loopback"
            log.warning("%s", self._handicap)
            return ""
        self._waiting[container.id] = plugged
        try:
            self.write_files(container)
        except OSError as error:
            raise errors.StorageFull(f"{error.filename}: {error.strerror}") from error
        return plugged.path

    def moved_in(self, container: Container) -> None:
        """Its PID 1 holds the namespace now, or there will be none. Idempotent."""
        if (plugged := self._waiting.pop(container.id, None)) is not None:
            plugged.close()
            self._keep_ears(container.id)

    def unplug(self, container: Container) -> None:
        self.moved_in(container)
        self._endpoints.unplug(container.id)

    def _member(self, container: Container) -> Member:
        config = container.config
        found: dict[str, Joining] = {}
        for name, joining in joins(config).items():
            network = self._networks.find(name)
            if network.driver in ("host", "null"):
                raise errors.InvalidArgument(f"container cannot be connected to network {network.name} beside others")
            found[network.id] = joining
        return Member(
            id=container.id,
            name=container.name,
            hostname=config.hostname,
            joins=found,
            ports=config.port_bindings,
            exposed=container.exposed_ports,
            publish_all=config.publish_all_ports,
            servers=self._servers(config),
            lonely=not self._usable(config),
        )

    # ── while it runs ──

    async def connect(self, entry: Entry, network: Network, joining: Joining) -> None:
        """With the entry's lock held, and its configuration changed already."""
        container = entry.container
        namespace = self._namespace(entry)
        try:
            await self._endpoints.connect(self._member(container), network, joining, namespace)
        finally:
            os.close(namespace)
        self._keep_ears(container.id)
        self.write_files(entry.container)

    async def disconnect(self, entry: Entry, network: Network) -> None:
        endpoint = next((each for each in self._endpoints.of(entry.id) if each.network == network.id), None)
        if endpoint is None:
            raise errors.Forbidden(f"container {entry.id} is not connected to the network {network.name}")
        namespace = self._namespace(entry)
        try:
            await self._endpoints.disconnect(entry.id, endpoint, namespace)
        finally:
            os.close(namespace)
        self.write_files(entry.container)

    def _namespace(self, entry: Entry) -> int:
        """Of a container that runs; its PID 1 is nobody else while the entry says so: its end takes the lock first."""
        try:
            return os.open(f"/proc/{entry.container.state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.Conflict(f"container {entry.id} is not running: {error.strerror}") from error

    def rename(self, container: Container, old: str) -> None:
        """Others find it by its new name."""
        self._endpoints.rename(container.id, old, container.name)

    # ── restore ──

    async def restore(self) -> None:
        """After the engine has compared rows with what lives."""
        living = {entry.id: entry.container.state.pid for entry in self._entries if entry.container.state.running}
        for entry in self._entries:
            if entry.id in living and is_plugged(entry.container.config) and not self._endpoints.of(entry.id):
                try:
                    await self._endpoints.recover(self._member(entry.container), living[entry.id])
                except (errors.GoraeError, OSError) as error:
                    log.error("container %s: its networks cannot be found again: %s", entry.id, error)
        await self._endpoints.restore(living)
        for entry in self._entries:
            if entry.id in living and self._endpoints.of(entry.id):
                await self._serve_names(entry)

    async def _serve_names(self, entry: Entry) -> None:
        member = self._member(entry.container)
        if not member.lonely and not any(network.has_names for network in self._networks_of(self._endpoints.of(entry.id))):
            return
        try:
            namespace = self._namespace(entry)
            try:
                await self._endpoints.serve_names(member, namespace, await self._kept_ears(entry.id))
            finally:
                os.close(namespace)
            self._keep_ears(entry.id)
        except errors.GoraeError as error:
            log.error("container %s: its resolver cannot be opened again: %s", entry.id, error)

    # ── sockets that outlive us ──

    def _keep_ears(self, container: str) -> None:
        """Nobody waits for it: without, a restart is only noticed by who asks during it."""
        if self._endpoints.resolvers.ears(container) is not None:
            self._tasks.spawn(self._keep(container))

    async def _keep(self, container: str) -> None:
        ears = self._endpoints.resolvers.ears(container)
        if ears is not None and self.supervision is not None:
            client = await self.supervision.client()
            with contextlib.suppress(errors.NotFound, errors.Conflict):  # it has ended meanwhile, or never began
                await client.keep(container, [each.fileno() for each in ears])

    async def _kept_ears(self, container: str) -> Ears | None:
        assert self.supervision is not None
        try:
            found = await (await self.supervision.client()).kept(container)
        except errors.GoraeError:
            return None
        if len(found) != 2:
            for descriptor in found:
                os.close(descriptor)
            return None
        return Ears(socket.socket(fileno=found[0]), socket.socket(fileno=found[1]))

    async def aclose(self) -> None:
        await self._tasks.aclose(1.0)

    # ── files ──

    def write_files(self, container: Container) -> None:
        """In place: they are bound into the container."""
        endpoints = self._endpoints.of(container.id)
        directory = Path(container.hosts_path).parent
        overwrite(directory / "hosts", self._hosts(container, endpoints))
        overwrite(directory / "resolv.conf", self._resolv_conf(container, endpoints))

    def _hosts(self, container: Container, endpoints: tuple[Endpoint, ...]) -> str:
        config = container.config
        gateway = self.host_gateway(endpoints)
        extra = [each.replace(files.HOST_GATEWAY, gateway) for each in config.extra_hosts]
        lines = [files.hosts(tuple(extra)).rstrip("\n"), *self._links(container)]
        full = f"{container.hostname}.{config.domainname} " if config.domainname else ""
        for endpoint in endpoints:
            lines += [f"{address}\t{full}{container.hostname}" for address in (endpoint.address4, endpoint.address6) if address]
        return "\n".join(lines) + "\n"

    def _links(self, container: Container) -> Iterator[str]:
        """`--link` on the default network, which has no names."""
        for link in container.config.links:
            name, _, alias = link.partition(":")
            try:
                other = self._entries.find(name.rpartition("/")[2]).container
            except errors.GoraeError:
                continue
            for endpoint in self._endpoints.of(other.id):
                if (network := self._networks.get(endpoint.network)) is not None and network.is_default:
                    words = dict.fromkeys((alias.rpartition("/")[2] or other.name, other.hostname, other.name))
                    yield f"{endpoint.address4}\t{' '.join(words)}"

    def _resolv_conf(self, container: Container, endpoints: tuple[Endpoint, ...]) -> str:
        config = container.config
        servers = self._usable(config)
        options = config.dns_options or self._config.dns_options
        if not servers or any(network.has_names for network in self._networks_of(endpoints)):
            options = options or ("ndots:0",)
            servers = (RESOLVER,)
        return files.resolv_conf(
            files.read_host_file("/etc/resolv.conf"),
            servers=servers,
            search=config.dns_search or self._config.dns_search,
            options=options,
        )

    def _servers(self, config: ContainerConfig) -> tuple[str, ...]:
        """Whom to ask outside."""
        return config.dns or self._config.dns or nameservers(files.read_host_file("/etc/resolv.conf"))

    def _usable(self, config: ContainerConfig) -> tuple[str, ...]:
        """Those that a container reaches itself: one on the machine's loopback only the engine can ask."""
        return tuple(server for server in self._servers(config) if not ipaddress.ip_address(server).is_loopback)

    def _networks_of(self, endpoints: tuple[Endpoint, ...]) -> list[Network]:
        return [network for each in endpoints if (network := self._networks.get(each.network)) is not None]

    def host_gateway(self, endpoints: tuple[Endpoint, ...]) -> str:
        """What `host-gateway` means: the machine's address in the default network, or in one of the container's."""
        try:
            return self._networks.find(DEFAULT).pools[0].gateway
        except (errors.GoraeError, IndexError):
            gateways = [each.gateway4 or each.gateway6 for each in endpoints]
            return next(filter(None, gateways), "127.0.0.1")


def modes_of(config: ContainerConfig) -> str:
    """"" when the mode leaves room for networks."""
    mode = config.network_mode
    return "" if not (mode in ("none", "host") or mode.startswith(modes.JOIN)) else mode


def is_plugged(config: ContainerConfig) -> bool:
    return not config.network_disabled and modes_of(config) == ""


def joins(config: ContainerConfig) -> dict[str, Joining]:
    """Network as it was named → how it is joined. The one of the mode first, the others as they were given."""
    first = DEFAULT if config.network_mode in modes.BRIDGES else config.network_mode
    given = {DEFAULT if name in modes.BRIDGES else name: each for name, each in config.networks.items()}
    found = {first: joining(given.get(first) or {})}
    for name, each in given.items():
        found.setdefault(name, joining(each or {}))
    return found


def joining(given: dict[str, Any]) -> Joining:
    """Docker's EndpointSettings, as they were sent."""
    own = given.get("IPAMConfig") or {}
    return Joining(
        ipv4=own.get("IPv4Address") or "",
        ipv6=own.get("IPv6Address") or "",
        link_local=tuple(own.get("LinkLocalIPs") or ()),
        mac=given.get("MacAddress") or "",
        aliases=tuple(given.get("Aliases") or ()),
        links=tuple(given.get("Links") or ()),
        driver_options=given.get("DriverOpts") or {},
        priority=given.get("GwPriority") or 0,
    )


def with_network(config: ContainerConfig, name: str, given: dict[str, Any] | None) -> ContainerConfig:
    """The wish with one more network, or (None) without it."""
    changed = {key: value for key, value in config.networks.items() if key != name}
    if given is not None:
        changed[name] = given
    return msgspec.structs.replace(config, networks=changed)


def nameservers(text: str) -> tuple[str, ...]:
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            found.append(words[1].partition("%")[0])
    return tuple(found)


def overwrite(path: Path, text: str) -> None:
    """The same file with other words; the container may hold it open, and may not have made it a link to elsewhere."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        file.write(text.encode())
