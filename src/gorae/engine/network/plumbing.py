"""What is done to this machine: bridges, network namespaces with their interfaces, sysctls, the rule tables.

    start   unshare ─▶ a new namespace, held by a descriptor ─▶ lo up, no IPv6 unless wanted, no router advertisements
            veth, its other end born inside as eth0, ours a port of the bridge ─▶ guard elements ─▶ up, addresses, default route
    end     nothing: the namespace goes with its last process, and the veth pair with it (deleting one takes 20 ms)

Network namespaces belong to threads, so a thread of our own walks into them; the rest of the program never leaves the machine's.
Everything in this file blocks and runs in that thread: `await plumbing.run(plumbing.bridge, …)`. Measured here: 1.3 ms a start.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Any, NamedTuple, ParamSpec, TypeVar

from gorae import errors
from gorae.engine.network import rules
from gorae.linux.namespace import CLONE_NEWNET, setns, unshare
from gorae.netlink import link, nftables
from gorae.netlink.conversation import NETLINK_NETFILTER, NETLINK_ROUTE, Conversation, Message
from gorae.netlink.nftables import BEGIN_BATCH, END_BATCH, Table

T = TypeVar("T")
P = ParamSpec("P")
RESOLVER = "127.0.0.11"
FIRST = 2  # index of the first interface in a new namespace: 1 is lo


class Ears(NamedTuple):
    """A resolver's sockets in a container's namespace. Whoever has them closes them: an open one keeps the namespace alive."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


@dataclass(frozen=True, slots=True)
class Plug:
    """One interface of a container. `kind`: bridge, macvlan, ipvlan; `parent`: the bridge, or the link that those lie on."""

    kind: str
    name: str
    parent: str
    mac: str
    link: str = ""
    mode: int = 0
    mtu: int = 0
    ipv4: str = ""
    ipv6: str = ""
    gateway4: str = ""
    gateway6: str = ""
    isolated: bool = False
    hairpin: bool = False  # br_netfilter changes a destination before the bridge has chosen a port: it may be the same


class Plumbing:
    """`group` marks the links that are ours, so that all can be taken away at once."""

    def __init__(self, group: int) -> None:
        self.group = group
        self._executor: ThreadPoolExecutor | None = None
        self._thread = threading.local()
        self._bridges: dict[str, int] = {}
        self._host = -1
        self._filter: Conversation | None = None
        self._filter_port = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the thread. OSError comes back as Unavailable, with its words."""
        try:
            return await asyncio.wrap_future(self.submit(work, *args, **kwargs))
        except OSError as error:
            raise errors.Unavailable(f"network: {error.strerror or error}") from error

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Any:
        if self._executor is None:
            # One: the kernel has one lock for all of this (rtnl), and what follows another sees what it did.
            self._executor = ThreadPoolExecutor(1, "gorae-network", initializer=self._begin)
        return self._executor.submit(work, *args, **kwargs)

    def close(self) -> None:
        if self._executor is not None:
            self._executor.submit(self._end)
            self._executor.shutdown()
            self._executor = None

    def _begin(self) -> None:
        self._host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._route = Conversation(NETLINK_ROUTE)

    def _end(self) -> None:
        self._route.close()
        if self._filter is not None:
            self._filter.close()
        os.close(self._host)

    # ── bridges ──

    def bridge(self, name: str, mac: str, addresses: Sequence[str], mtu: int, *, six: bool) -> None:
        """There afterwards, up, with these addresses. One that is there already is used as it is."""
        if name in self._bridges:
            return
        try:
            self._route.ask(link.new_bridge(name, mac=mac, mtu=mtu, group=self.group))
        except FileExistsError:
            pass
        found = self._find(name)
        if found.kind != "bridge":
            raise OSError(errno.EEXIST, f"{name} is there and is no bridge")
        self._write_bridge_sysctls(name, six=six)
        for text in addresses:
            address = ip_interface(text)
            self._route.ask(link.add_address(found.index, address))
        self._route.ask(link.up(found.index))
        self._bridges[name] = found.index

    def _write_bridge_sysctls(self, name: str, *, six: bool) -> None:
        """No router advertisement of a container is believed (CVE-2020-13401); no IPv6 where none was asked for."""
        with contextlib.suppress(FileNotFoundError):
            write_sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")
            write_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0" if six else "1")

    def has_bridge(self, name: str) -> bool:
        return name in self._bridges

    def allow_loopback(self, name: str) -> None:
        """This machine's 127.0.0.1 → container. Only once the rules stand that keep containers from using it the other way."""
        write_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")

    def rejoin(self, bridge: str, links: Sequence[str]) -> None:
        """Our ends of veth pairs are ports of the bridge again, where that was made anew."""
        master = self._bridges.get(bridge)
        if master is None:
            return
        for each in self.host_links():
            if each.name in links and each.master != master:
                self._route.ask(link.enslave(each.index, master))

    def remove_links(self, names: Sequence[str]) -> None:
        for name in names:
            self._bridges.pop(name, None)
            try:
                self._route.ask(link.delete(name))
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise

    def remove_ours(self) -> None:
        """All bridges that we made, in one go."""
        self._bridges.clear()
        with contextlib.suppress(OSError):
            self._route.ask(link.delete_group(self.group))

    def forget_bridges(self) -> None:
        """Look again before the next use: somebody removed links."""
        self._bridges.clear()

    def _find(self, name: str) -> link.Link:
        return link.link_of(self._route.get(link.find(name)))

    def mtu_of(self, name: str) -> int:
        return self._find(name).mtu

    def subnets_in_use(self) -> list[IPv4Network | IPv6Network]:
        """What this machine reaches already: its routes, but for default ones."""
        found: list[IPv4Network | IPv6Network] = []
        for _, body in self._route.dump(link.routes()):
            _, prefix, destination, _ = link.route_of(body)
            if destination and prefix:
                found.append(ip_network(f"{ip_address(destination)}/{prefix}", strict=False))
        return found

    # ── namespaces ──

    def new_namespace(self, plugs: Sequence[Plug], guard: Sequence[Message], *, resolver: bool) -> tuple[int, Ears | None]:
        """A namespace with these interfaces; the caller owns the descriptor and the ears. On failure nothing is left."""
        six = any(plug.ipv6 for plug in plugs)
        unshare(CLONE_NEWNET)
        try:
            namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                inner = Conversation(NETLINK_ROUTE)
                _write_inner_sysctls(six)
            except BaseException:
                os.close(namespace)
                raise
        finally:
            setns(self._host, CLONE_NEWNET)
        try:
            with inner:
                for index, plug in enumerate(plugs, start=FIRST):
                    self._make(plug, namespace)
                    self._settle(inner, index, plug)
                inner.ask(link.up(1))
                if guard:
                    self.change(guard)
                for index, plug in enumerate(plugs, start=FIRST):
                    inner.ask(*_configure(index, plug))
                for plug in plugs:
                    self._await_carrier(inner, plug)
            return namespace, self.open_ears(namespace, fresh=True) if resolver else None
        except BaseException:
            os.close(namespace)
            raise

    def open_ears(self, namespace: int, *, fresh: bool = False) -> Ears:
        """Sockets of a resolver inside, and the rules that lead to them; unless it is `fresh`, instead of those to others."""
        with contextlib.ExitStack() as undo:
            with self.inside(namespace):
                ears = Ears(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                undo.callback(ears.close)
                inner = Conversation(NETLINK_NETFILTER)
            with inner:
                for each in ears:
                    each.bind((RESOLVER, 0))
                ears.tcp.listen(64)
                table = rules.resolver(*(each.getsockname()[1] for each in ears))
                inner.batch(BEGIN_BATCH, nftables.create(table) if fresh else nftables.replace(table), END_BATCH)
            undo.pop_all()
        return ears

    def _make(self, plug: Plug, namespace: int) -> None:
        if plug.kind == "bridge":
            master = self._bridges[plug.parent]
            self._route.ask(
                link.new_veth(
                    plug.link,
                    master=master,
                    namespace=namespace,
                    peer=plug.name,
                    peer_mac=plug.mac,
                    mtu=plug.mtu,
                )
            )
            if plug.isolated or plug.hairpin:
                port = self._find(plug.link).index
                self._route.ask(link.set_port(port, isolated=plug.isolated, hairpin=plug.hairpin))
        else:
            parent = self._find(plug.parent).index
            self._route.ask(
                link.new_upon(
                    plug.kind, plug.name, parent=parent, mode=plug.mode, namespace=namespace, mac=plug.mac, mtu=plug.mtu
                )
            )

    def _await_carrier(self, inner: Conversation, plug: Plug) -> None:
        """An interface sends, and a port forwards, only when the link watch has seen its carrier: a moment later, in a work queue.

        Until then packets are dropped, and a program that connects at once waits a second for TCP's second try. To ask for one
        link makes the kernel look at it first (rtnl_getlink, Linux 6.8).
        """
        inner.get(link.find(plug.name))
        if plug.link:
            self._find(plug.link)

    def _settle(self, inner: Conversation, index: int, plug: Plug) -> None:
        """Interfaces of a new namespace are numbered as they come; another kernel's habit would be noticed here."""
        if link.link_of(inner.get(link.find(plug.name))).index != index:
            raise OSError(errno.EPROTO, f"interface {plug.name} has not the index {index}")

    def connect(self, namespace: int, plug: Plug, guard: Sequence[Message], *, default: bool) -> None:
        """One more interface for a running container; `default`: its gateway becomes the container's."""
        with self.inside(namespace):
            inner = Conversation(NETLINK_ROUTE)
            if plug.ipv6:
                with contextlib.suppress(FileNotFoundError):
                    write_sysctl("net/ipv6/conf/default/disable_ipv6", "0")
        with inner:
            self._make(plug, namespace)
            index = link.link_of(inner.get(link.find(plug.name))).index
            if guard:
                self.change(guard)
            inner.ask(*_configure(index, plug, default=default))
            self._await_carrier(inner, plug)

    def disconnect(self, namespace: int, interface: str, following: Plug | None) -> None:
        """Without that interface; `following` gives the default route from now on."""
        with self.inside(namespace):
            inner = Conversation(NETLINK_ROUTE)
        with inner:
            with contextlib.suppress(OSError):
                inner.ask(link.delete(interface))
            if following is not None:
                index = link.link_of(inner.get(link.find(following.name))).index
                inner.ask(*_default_routes(index, following))

    def look_inside(self, namespace: int) -> tuple[list[link.Link], list[tuple[int, Any]]]:
        """The links and addresses of a container that runs."""
        with self.inside(namespace):
            inner = Conversation(NETLINK_ROUTE)
        with inner:
            return (
                [link.link_of(body) for _, body in inner.dump(link.links())],
                [link.address_of(body) for _, body in inner.dump(link.addresses())],
            )

    def host_links(self) -> list[link.Link]:
        return [link.link_of(body) for _, body in self._route.dump(link.links())]

    @contextlib.contextmanager
    def inside(self, namespace: int) -> Iterator[None]:
        """This thread, in another network namespace: sockets made now belong to it."""
        setns(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(self._host, CLONE_NEWNET)

    # ── rules ──

    @property
    def filter_port(self) -> int:
        """Of the socket that changes rules; 0 as long as there is none."""
        return self._filter_port

    def change(self, messages: Sequence[Message]) -> None:
        """One transaction."""
        if self._filter is None:
            self._filter = Conversation(NETLINK_NETFILTER)
            self._filter_port = self._filter.port
        self._filter.batch(BEGIN_BATCH, messages, END_BATCH)

    def install(self, tables: Sequence[Table]) -> None:
        """All of them in one transaction, instead of what was there."""
        self.change([message for table in tables for message in nftables.replace(table)])

    def uninstall(self, tables: Sequence[tuple[str, str]]) -> None:
        self.change([message for family, name in tables for message in nftables.remove(family, name)])

    def switch_forwarding_on(self, *, six: bool) -> tuple[str, ...]:
        """The sysctls (paths below /proc/sys) that were 0 and are 1 now."""
        changed = []
        if read_sysctl("net/ipv4/ip_forward") == "0":
            write_sysctl("net/ipv4/ip_forward", "1")
            changed.append("net/ipv4/ip_forward")
        if six and read_sysctl("net/ipv6/conf/all/forwarding") == "0":
            # A machine that forwards stops believing its own router, unless told otherwise: accept_ra=2.
            others = {"all", "default", "lo", *self._bridges}
            for name in os.listdir("/proc/sys/net/ipv6/conf"):
                if name not in others and read_sysctl(f"net/ipv6/conf/{name}/accept_ra") == "1":
                    write_sysctl(f"net/ipv6/conf/{name}/accept_ra", "2")
            write_sysctl("net/ipv6/conf/all/forwarding", "1")
            changed.append("net/ipv6/conf/all/forwarding")
        return tuple(changed)


def _write_inner_sysctls(six: bool) -> None:
    """In the namespace that this thread is in. `all` goes to `default` as well, which an interface takes when it is made."""
    with contextlib.suppress(FileNotFoundError):
        if six:
            write_sysctl("net/ipv6/conf/default/accept_ra", "0")
        else:
            write_sysctl("net/ipv6/conf/all/disable_ipv6", "1")


def _configure(index: int, plug: Plug, *, default: bool = True) -> list[Message]:
    addresses = [link.add_address(index, ip_interface(text)) for text in (plug.ipv4, plug.ipv6) if text]
    return [link.up(index), *addresses, *(_default_routes(index, plug) if default else ())]


def _default_routes(index: int, plug: Plug) -> list[Message]:
    return [link.default_route(index, ip_address(text)) for text in (plug.gateway4, plug.gateway6) if text]


def write_sysctl(path: str, value: str) -> None:
    descriptor = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def read_sysctl(path: str) -> str:
    try:
        with open(f"/proc/sys/{path}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
