"""Published ports: what `-p`, `-P` and `--expose` mean, and which host ports are given out.

    "80/tcp": [{"HostIp": "", "HostPort": "8080"}]     container port → bindings, Docker's shape
    "80/tcp": []  or  HostPort "" or "0"               any free port
    "80/tcp": [{"HostPort": "8000-8010"}]              the first free one of the range

A host port is held by a socket that is bound and never used: the kernel's rules take every packet before it, but no other
program can bind the port meanwhile, and one that has it is noticed before anything starts.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from gorae import errors
from gorae.engine.network.model import Port

PROTOCOLS = ("tcp", "udp", "sctp")
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
EPHEMERAL = (49153, 65535)  # Docker's, when the kernel does not tell its own


def parse_port(text: str) -> tuple[int, str]:
    """`80/tcp`, `80`: number and protocol. InvalidArgument in Docker's words."""
    digits, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise errors.InvalidArgument(f"invalid proto: {protocol}")
    if not digits.isdecimal() or not 0 < int(digits) <= 65535:
        raise errors.InvalidArgument(f"invalid containerPort: {digits}")
    return int(digits), protocol


def parse_range(text: str) -> tuple[int, int]:
    """`8080`, `8000-8010`, "" (0, 0)."""
    first, _, last = text.partition("-")
    if not text or text == "0":
        return 0, 0
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise errors.InvalidArgument(f"invalid hostPort: {text}")
    numbers = int(first), int(last or first)
    if not 0 < numbers[0] <= numbers[1] <= 65535:
        raise errors.InvalidArgument(f"invalid hostPort: {text}")
    return numbers


def check(bindings: Mapping[str, Any]) -> None:
    """At create: whatever makes no sense is refused then."""
    for text, wanted in bindings.items():
        parse_port(text)
        for binding in wanted or ():
            parse_range(str(binding.get("HostPort") or ""))
            _listening(str(binding.get("HostIp") or ""))


def _listening(text: str) -> str:
    if not text:
        return ""
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise errors.InvalidArgument(f"invalid IP address: {text}") from None


class HostPorts:
    """Who has which port of this machine."""

    def __init__(self, ephemeral: tuple[int, int] = EPHEMERAL) -> None:
        # (protocol, port) → address → who, and what holds it
        self._held: dict[tuple[str, int], dict[str, tuple[str, socket.socket | None]]] = {}
        self._first, self._last = ephemeral
        self._next = self._first

    def publish(
        self, endpoint: str, name: str, bindings: Mapping[str, Any], exposed: Iterable[str], *, everything: bool, default: str,
        versions: Sequence[int],
    ) -> tuple[Port, ...]:
        """All or none. `versions` are the container's (4, 6): an unspecified address means every address of each.

        Unavailable, in Docker's words, when a port is taken.
        """
        wanted = {text: list(each or [{}]) for text, each in bindings.items()}
        if everything:
            for text in exposed:
                wanted.setdefault(text, [{}])
        found: list[Port] = []
        try:
            for text, each in sorted(wanted.items()):
                for binding in each:
                    found += self._bind(endpoint, text, binding, default, versions)
        except OSError as error:
            self.free(endpoint, found)
            raise errors.Unavailable(
                f"failed to set up container networking: driver failed programming external connectivity on endpoint {name}"
                f" ({endpoint}): {error.strerror}"
            ) from error
        except BaseException:
            self.free(endpoint, found)
            raise
        return tuple(found)

    def _bind(
        self, endpoint: str, text: str, binding: Mapping[str, Any], default: str, versions: Sequence[int]
    ) -> list[Port]:
        number, protocol = parse_port(text)
        listening = _listening(str(binding.get("HostIp") or "")) or default
        hosts = [listening] if listening else [{4: "0.0.0.0", 6: "::"}[version] for version in versions]
        if listening in ("0.0.0.0", "::"):
            hosts = [listening]
        hosts = [host for host in hosts if ip_address(host).version in versions]
        first, last = parse_range(str(binding.get("HostPort") or ""))
        candidates: Iterable[int] = range(first, last + 1) if first else self._ephemeral()
        failure: OSError | None = None
        for candidate in candidates:
            ports: list[Port] = []
            try:
                for host in hosts:
                    port = Port(protocol=protocol, container_port=number, host=host, host_port=candidate)
                    self.hold(endpoint, port)
                    ports.append(port)
                return ports
            except OSError as error:
                self.free(endpoint, ports)
                failure = error
        raise failure or OSError(errno.EADDRINUSE, f"all ports of {binding.get('HostPort')} are taken")

    def _ephemeral(self) -> Iterable[int]:
        for _ in range(self._last - self._first + 1):
            number = self._next
            self._next = number + 1 if number < self._last else self._first
            yield number

    def hold(self, endpoint: str, port: Port, *, known: bool = False) -> None:
        """OSError, in Docker's words, when somebody else has it; with `known` (it is published already) never."""
        holders = self._held.setdefault((port.protocol, port.host_port), {})
        if not known and any(_overlap(port.host, host) for host in holders):
            raise OSError(errno.EADDRINUSE, f"Bind for {_shown(port)} failed: port is already allocated")
        if port.host in holders:
            return
        try:
            holding = _bound(port)
        except OSError as error:
            if not known:
                words = (error.strerror or "").lower()
                raise OSError(error.errno, f"failed to bind host port {_shown(port)}/{port.protocol}: {words}") from error
            holding = None
        holders[port.host] = (endpoint, holding)

    def free(self, endpoint: str, ports: Iterable[Port]) -> None:
        for port in ports:
            holders = self._held.get((port.protocol, port.host_port), {})
            holder, holding = holders.get(port.host, ("", None))
            if holder == endpoint:
                del holders[port.host]
                if holding is not None:
                    holding.close()
            if not holders:
                self._held.pop((port.protocol, port.host_port), None)

    def close(self) -> None:
        for holders in self._held.values():
            for _, holding in holders.values():
                if holding is not None:
                    holding.close()
        self._held.clear()


def _overlap(one: str, other: str) -> bool:
    first, second = ip_address(one), ip_address(other)
    return first.version == second.version and (first == second or first.is_unspecified or second.is_unspecified)


def _shown(port: Port) -> str:
    return f"{f'[{port.host}]' if ':' in port.host else port.host}:{port.host_port}"


def _bound(port: Port) -> socket.socket | None:
    """None for SCTP, which many kernels do not speak themselves."""
    if port.protocol not in KINDS:
        return None
    six = ":" in port.host
    holding = socket.socket(socket.AF_INET6 if six else socket.AF_INET, KINDS[port.protocol] | socket.SOCK_CLOEXEC)
    try:
        if six:
            holding.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            # Past connections that linger in TIME_WAIT are no holders; a listener is one, with or without this.
            holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind((port.host, port.host_port))
        if port.protocol == "tcp":
            holding.listen(1)
    except BaseException:
        holding.close()
        raise
    return holding
