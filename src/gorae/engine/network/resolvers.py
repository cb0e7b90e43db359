"""The resolvers of containers: one each for those that need it. The name server's code is loaded with the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae.engine.network.dns.zone import View, Zone
from gorae.engine.network.plumbing import Ears

if TYPE_CHECKING:
    from gorae.engine.network.dns.server import Resolver
    from gorae.engine.network.dns.upstream import Upstream


class Resolvers:
    def __init__(self) -> None:
        self.zone = Zone()
        self._upstream: Upstream | None = None
        self._open: dict[str, Resolver] = {}

    def open(self, container: str, ears: Ears, look: Callable[[], View]) -> None:
        """The ears are owned from here on."""
        from gorae.engine.network.dns.server import Resolver
        from gorae.engine.network.dns.upstream import Upstream

        if self._upstream is None:
            self._upstream = Upstream()
        self.close(container)
        self._open[container] = Resolver(ears, self.zone, self._upstream, look)

    def ears(self, container: str) -> Ears | None:
        """Those of its resolver, which owns them."""
        resolver = self._open.get(container)
        return resolver.ears if resolver is not None else None

    def serves(self, container: str) -> bool:
        return container in self._open

    def close(self, container: str) -> None:
        if (resolver := self._open.pop(container, None)) is not None:
            resolver.close()

    def close_all(self) -> None:
        for container in tuple(self._open):
            self.close(container)
