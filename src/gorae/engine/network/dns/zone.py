"""Which names there are: network → name → ends. Changed with every start and end, asked by every question.

`version` grows with each change, so that answers can be kept as long as nothing has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gorae.engine.network.model import Endpoint


@dataclass(frozen=True)
class View:
    """What one container sees. `networks`: id → name, those with names only; `links`: alias → name, for it alone."""

    networks: dict[str, str]
    machine: tuple[str, ...] = ()  # the machine's addresses, IPv4 and IPv6
    links: dict[str, str] = field(default_factory=dict)
    servers: tuple[str, ...] = ()  # whom to ask outside
    outside: bool = True  # False: all of its networks are internal


class Zone:
    def __init__(self) -> None:
        self.version = 0
        self._names: dict[tuple[str, str], dict[str, Endpoint]] = {}
        self._addresses: dict[tuple[str, str], Endpoint] = {}

    def add(self, endpoint: Endpoint) -> None:
        self.version += 1
        for name in endpoint.names:
            self._names.setdefault((endpoint.network, name.lower()), {})[endpoint.id] = endpoint
        for address in filter(None, (endpoint.address4, endpoint.address6)):
            self._addresses[endpoint.network, address] = endpoint

    def remove(self, endpoint: Endpoint) -> None:
        self.version += 1
        for name in endpoint.names:
            key = (endpoint.network, name.lower())
            holders = self._names.get(key, {})
            holders.pop(endpoint.id, None)
            if not holders:
                self._names.pop(key, None)
        for address in filter(None, (endpoint.address4, endpoint.address6)):
            if (held := self._addresses.get((endpoint.network, address))) is not None and held.id == endpoint.id:
                del self._addresses[endpoint.network, address]

    def named(self, network: str, name: str) -> Sequence[Endpoint]:
        """All that have the name, in lower case."""
        return tuple(self._names.get((network, name), {}).values())

    def at(self, network: str, address: str) -> Endpoint | None:
        return self._addresses.get((network, address))
