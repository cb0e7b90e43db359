"""Network namespaces for tests: made, wired with veth pairs, entered for a socket.

    with Space() as engine, Space() as neighbour:
        wire(engine, "up0", "198.51.100.1/24", neighbour, "up0", "198.51.100.2/24")
        engine.reach(neighbour, "198.51.100.2", 80)     # the source address that was seen, or None

A socket stays in the namespace in which it was made, so all of this happens in the test's own thread, which comes back at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from types import TracebackType

from gorae.linux.namespace import CLONE_NEWNET, setns, unshare
from gorae.netlink import link
from gorae.netlink.conversation import NETLINK_ROUTE, Conversation

BLOCKED = 0.4  # a connection that takes longer than this on one machine is dropped


@contextlib.contextmanager
def entered(namespace: int) -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        setns(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


class Space:
    """A namespace of the test's own, or that of a process."""

    def __init__(self, pid: int = 0) -> None:
        if pid:
            self.namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            return
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        unshare(CLONE_NEWNET)
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        setns(home, CLONE_NEWNET)
        os.close(home)
        with self.route() as route:
            route.ask(link.up(1))

    def __enter__(self) -> Space:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.namespace)

    def inside(self) -> contextlib.AbstractContextManager[None]:
        return entered(self.namespace)

    def route(self) -> Conversation:
        with self.inside():
            return Conversation(NETLINK_ROUTE)

    def read(self, path: str) -> str:
        with self.inside(), open(path, encoding="utf-8") as file:
            return file.read().strip()

    def write(self, path: str, text: str) -> None:
        with self.inside(), open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def links(self) -> list[link.Link]:
        with self.route() as route:
            return [link.link_of(body) for _, body in route.dump(link.links())]

    def socket(self, kind: int = socket.SOCK_STREAM, version: int = 4) -> socket.socket:
        with self.inside():
            made = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, kind)
        made.settimeout(BLOCKED)
        return made

    def reach(
        self, server: Space, address: str, port: int, *, listening: int = 0, udp: bool = False, at: str = "", bind: str = ""
    ) -> str | None:
        """Connect from here to `address`:`port` while `server` listens on its port `listening` (default: the same).

        The address from which it came, as the server saw it; None when nothing arrived.
        """
        version = ip_address(address).version
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        any_address = "::" if ip_address(at or address).version == 6 else "0.0.0.0"
        with server.socket(kind, version) as waiting, self.socket(kind, version) as going:
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            waiting.bind((at or any_address, listening or port))
            if bind:
                going.bind((bind, 0))
            if udp:
                return _reach_by_datagram(waiting, going, address, port)
            waiting.listen(1)
            try:
                going.connect((address, port))
            except OSError:
                return None
            try:
                joined, source = waiting.accept()
            except TimeoutError:
                return "somebody else"
            with joined:
                joined.settimeout(BLOCKED)
                going.sendall(b"hello")
                assert joined.recv(5) == b"hello"
                joined.sendall(b"and back")
                assert going.recv(8) == b"and back"
            return str(source[0])


def _reach_by_datagram(waiting: socket.socket, going: socket.socket, address: str, port: int) -> str | None:
    try:
        going.connect((address, port))
        going.send(b"hello")
        data, source = waiting.recvfrom(100)
        waiting.sendto(data, source)
        assert going.recv(100) == b"hello"
    except OSError:
        return None
    return str(source[0])


def wire(one: Space, name: str, address: str, other: Space, other_name: str, other_address: str) -> None:
    """A veth pair between two spaces, with an address at each end."""
    with one.route() as route:
        route.ask(
            link.new_veth(name, master=0, namespace=other.namespace, peer=other_name, peer_mac="02:00:00:00:00:02")
        )
    for space, own, text in ((one, name, address), (other, other_name, other_address)):
        with space.route() as route:
            index = link.link_of(route.get(link.find(own))).index
            route.ask(link.up(index), link.add_address(index, ip_interface(text)))


def add_route(space: Space, name: str, destination: str, gateway: str) -> None:
    with space.route() as route:
        index = link.link_of(route.get(link.find(name))).index
        network = ip_interface(destination).network
        route.ask(link.route(index, network.network_address, network.prefixlen, ip_address(gateway), version=network.version))
