"""All parts of this room, put together; opened by the engine and closed in the opposite order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gorae.engine.config import Config
from gorae.engine.network.catalogue import Catalogue
from gorae.engine.network.endpoints import Endpoints
from gorae.engine.network.firewall import Firewall
from gorae.engine.network.model import Endpoint, Network
from gorae.engine.network.plumbing import Plumbing, read_sysctl
from gorae.engine.network.ports import EPHEMERAL, HostPorts
from gorae.engine.network.record import Records
from gorae.engine.network.resolvers import Resolvers
from gorae.engine.network.rules import Situation
from gorae.storage.db.database import Database

TABLE = "gorae"
LINK = "gorae0"

Told = Callable[[str, Network, Endpoint | None], None]
"""Publishes an event: create, destroy, connect or disconnect."""


class Parts:
    """`networks` and `endpoints` are what others call."""

    def __init__(self, config: Config, database: Database, identity: str, told: Told) -> None:
        link = config.bridge or LINK
        name = TABLE if link == LINK else f"{TABLE}-{link}"
        records = Records(database)
        self.plumbing = Plumbing(_group(name))
        self.ports = HostPorts(_ephemeral())
        self.networks = Catalogue(config, records, self.plumbing, identity)
        self.firewall = Firewall(
            name,
            self.plumbing,
            self._situation,
            config.exec_root / "network.json",
            enabled=config.iptables,
            forward=config.ip_forward,
        )
        self.resolvers = Resolvers()
        self.endpoints = Endpoints(self.networks, self.plumbing, self.firewall, records, self.ports, told, self.resolvers)
        self.told = told

    @classmethod
    async def open(cls, config: Config, database: Database, identity: str, told: Told) -> Parts:
        """Rows are in memory when this returns; nothing was done to the machine."""
        parts = cls(config, database, identity, told)
        try:
            await parts.networks.load()
            await parts.endpoints.load()
        except BaseException:
            parts.plumbing.close()
            raise
        return parts

    def _situation(self, guard_forwarding: bool) -> Situation:
        return Situation(self.networks.all(), self.endpoints.all(), guard_forwarding)

    async def aclose(self, *, leave: bool) -> None:
        """`leave`: nothing of ours runs, so links, rules and sysctls go as well. All come back when they are needed."""
        self.resolvers.close_all()
        used = self.firewall.noted
        await self.firewall.aclose(leave=leave)
        if leave and used:
            self.plumbing.submit(self.plumbing.remove_ours)
        self.plumbing.close()
        self.ports.close()


def _group(name: str) -> int:
    """A number for our links, unlike other engines' on this machine."""
    return 0x67000000 | int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big")


def _ephemeral() -> tuple[int, int]:
    words = read_sysctl("net/ipv4/ip_local_port_range").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else EPHEMERAL
