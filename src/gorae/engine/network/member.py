"""A container as this room sees it, and the place that waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from gorae.engine.network.model import Endpoint, Joining, Network, Struct


class Member(Struct, frozen=True):
    """What a container wants of its networks. `joins`: network id → how, in the order of its interfaces."""

    id: str
    name: str
    hostname: str = ""
    joins: dict[str, Joining] = {}
    ports: dict[str, Any] = {}  # Docker's PortBindings
    exposed: tuple[str, ...] = ()
    publish_all: bool = False
    servers: tuple[str, ...] = ()  # whom its resolver asks outside
    lonely: bool = False  # it has a resolver even where there are no names: the machine's own is out of its reach


class Plugged:
    """A namespace that waits for its container: `path` is how the birth finds it. Close it when that has it, or never will."""

    def __init__(self, namespace: int, endpoints: tuple[Endpoint, ...]) -> None:
        self.namespace = namespace
        self.endpoints = endpoints
        self.path = f"/proc/{os.getpid()}/fd/{namespace}"

    def close(self) -> None:
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1


def leader(endpoints: Iterable[Endpoint], version: int, network: Callable[[Endpoint], Network]) -> Endpoint | None:
    """Whose gateway is the container's: the highest priority, then the first name."""
    able = [each for each in endpoints if (each.gateway4 if version == 4 else each.gateway6)]
    return min(able, key=lambda each: (-each.priority, network(each).name), default=None)

