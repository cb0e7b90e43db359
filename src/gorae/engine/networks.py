"""`Networks`: what the API and the library call. Networks by name, id or the beginning of an id; containers likewise.

    create list inspect remove prune      rows and, when first used, bridges
    connect disconnect                    the container's wish is changed, and, if it runs, its interfaces
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gorae import errors
from gorae.engine.container import modes
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.model import Container
from gorae.engine.container.networking import Networking, is_plugged, joining, joins, with_network
from gorae.engine.container.record import Records
from gorae.engine.filters import Filters
from gorae.engine.network.model import DEFAULT, Endpoint, Joining, Network, Wish
from gorae.engine.network.parts import Parts

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class Joined(NamedTuple):
    """`endpoint` is None unless the container runs."""

    network: Network
    joining: Joining
    endpoint: Endpoint | None


class Networks:
    def __init__(self, parts: Parts, networking: Networking, entries: Entries, records: Records, spawn: Spawn) -> None:
        self._parts = parts
        self._catalogue = parts.networks
        self._endpoints = parts.endpoints
        self._networking = networking
        self._entries = entries
        self._records = records
        self._spawn = spawn

    def list(self, filters: Filters | None = None) -> Sequence[Network]:
        """Filters: dangling, driver, id, label, name, scope, type."""
        return self._catalogue.list(filters)

    def inspect(self, reference: str) -> tuple[Network, Mapping[str, tuple[str, Endpoint]]]:
        """The network, and by container id the name and the end of each that runs in it."""
        network = self._catalogue.find(reference)
        found = dict(self._endpoints.within(network.id))
        if network.driver in ("host", "null"):
            for entry in self._entries:
                if entry.container.state.running and entry.container.config.network_mode == network.name:
                    found[entry.id] = Endpoint(id="", network=network.id, container=entry.id)
        names = {entry.id: entry.container.name for entry in self._entries}
        return network, {container: (names.get(container, ""), endpoint) for container, endpoint in found.items()}

    def of(self, container: Container) -> Sequence[Joined]:
        """What a container is joined to, and how. `container:…` shares another's network and has none of its own."""
        config = container.config
        if config.network_mode in ("none", "host"):
            return (Joined(self._catalogue.find(config.network_mode), Joining(), None),)
        if not is_plugged(config):
            return ()
        ends = {endpoint.network: endpoint for endpoint in self._endpoints.of(container.id)}
        found = []
        for name, how in joins(config).items():
            try:
                network = self._catalogue.find(name)
            except errors.GoraeError:
                continue  # removed meanwhile: its start will say so
            found.append(Joined(network, how, ends.get(network.id)))
        return found

    async def create(self, wish: Wish) -> tuple[Network, tuple[str, ...]]:
        """InvalidArgument, Conflict, Forbidden, NotFound (driver) in Docker's words; and warnings."""
        network, warnings = await self._spawn(self._catalogue.create(wish))
        self._parts.told("create", network, None)
        return network, warnings

    async def remove(self, reference: str) -> None:
        """Forbidden while a container that runs is joined to it, and for those that are always there."""
        await self._spawn(self._remove(self._catalogue.find(reference)))

    async def _remove(self, network: Network) -> None:
        await self._catalogue.remove(network)
        self._endpoints.removed(network)
        self._parts.told("destroy", network, None)

    async def prune(self, filters: Filters | None = None) -> Sequence[str]:
        """The names of those that were removed: no container, running or not, is joined to them."""
        wished = {name for entry in self._entries for name in joins(entry.container.config)}
        removed = []
        for network in self._catalogue.prunable(filters or {}):
            if network.name in wished or network.id in wished:
                continue
            try:
                await self.remove(network.id)
            except (errors.Forbidden, errors.NotFound):
                continue  # used, or gone, meanwhile
            removed.append(network.name)
        return removed

    async def connect(self, reference: str, container: str, settings: Mapping[str, Any] | None = None) -> None:
        """`settings` are Docker's EndpointSettings. Conflict, Forbidden, … in Docker's words."""
        network = self._catalogue.find(reference)
        await self._spawn(self._connect(network, self._entries.find(container), dict(settings or {})))

    async def _connect(self, network: Network, entry: Entry, settings: dict[str, Any]) -> None:
        async with entry.lock:
            config = entry.container.config
            if network.driver in ("host", "null") or not is_plugged(config):
                if config.network_mode == "host" or network.driver == "host":
                    raise errors.Forbidden("container cannot be connected to host network or disconnected from it while in use")
                raise errors.Forbidden(
                    "container sharing network namespace with another container or host cannot be connected to any other network"
                    if config.network_mode != "none"
                    else "container cannot be connected to multiple networks with one of the networks in private (none) mode"
                )
            if self._key(network, config.networks) is not None or network.name in joins(config):
                raise errors.Forbidden(f"endpoint with name {entry.container.name} already exists in network {network.name}")
            changed = with_network(config, network.name, settings)
            self._networking.check(changed)
            if entry.container.state.running:
                await self._networking.connect(entry, network, joining(settings))
            await self._keep(entry, changed)
        if not entry.container.state.running:
            self._parts.told("connect", network, Endpoint(id="", network=network.id, container=entry.id))

    async def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """`force` for a container that is not there any more."""
        network = self._catalogue.find(reference)
        try:
            entry = self._entries.find(container)
        except errors.NotFound:
            if not force:
                raise
            return
        await self._spawn(self._disconnect(network, entry))

    async def _disconnect(self, network: Network, entry: Entry) -> None:
        async with entry.lock:
            config = entry.container.config
            if network.driver in ("host", "null"):
                raise errors.Forbidden(f"container cannot be disconnected from {network.name} network")
            if network.name not in joins(config) and self._key(network, config.networks) is None:
                raise errors.Forbidden(f"container {entry.id} is not connected to the network {network.name}")
            changed = without(config, network, self._key(network, config.networks))
            if entry.container.state.running:
                await self._networking.disconnect(entry, network)
            await self._keep(entry, changed)

    def _key(self, network: Network, given: Mapping[str, Any]) -> str | None:
        """Under which name a container's wish has this network: its name, its id, or the beginning of that."""
        for key in given:
            if key in (network.name, network.id) or (len(key) >= 12 and network.id.startswith(key)):
                return key
            if network.is_default and key in modes.BRIDGES:
                return key
        return None

    async def _keep(self, entry: Entry, config: Any) -> None:
        changed = msgspec.structs.replace(entry.container, config=config)
        await self._records.rename(changed)  # writes the whole wish
        entry.container = changed


def without(config: Any, network: Network, key: str | None) -> Any:
    """The wish without that network; if it was the one of the mode, another takes that place, or none at all."""
    changed = with_network(config, key, None) if key is not None else config
    mode = DEFAULT if config.network_mode in modes.BRIDGES else config.network_mode
    if mode in (network.name, network.id):
        following = next(iter(changed.networks), "none")
        changed = msgspec.structs.replace(changed, network_mode=following)
    return changed
