"""The engine: opens everything in order and closes it in the opposite one.

lock of the data root → database → content, snapshots, images → supervisor → restore → ready
"""

from __future__ import annotations

import sqlite3
import subprocess
import uuid
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import msgspec

from gorae import errors
from gorae.engine.config import Config, seccomp_profile
from gorae.engine.container.containers import Containers
from gorae.engine.container.entries import Entries
from gorae.engine.container.execs import Execs
from gorae.engine.container.facts import gather
from gorae.engine.container.health import Healths
from gorae.engine.container.life import Life
from gorae.engine.container.networking import Networking
from gorae.engine.container.premises import Premises
from gorae.engine.container.record import Records
from gorae.engine.container.start import look_around, request
from gorae.engine.container.supervision import Supervision
from gorae.engine.events import Events
from gorae.engine.image.images import Images
from gorae.engine.image.model import ImageEvent
from gorae.engine.network.model import Endpoint, Network
from gorae.engine.network.parts import Parts
from gorae.engine.networks import Networks
from gorae.engine.remote.registries import Registries
from gorae.engine.remote.rules import Rules
from gorae.engine.restore import Restorer
from gorae.engine.system import System
from gorae.storage.db.database import Database
from gorae.storage.root import DataRoot
from gorae.supervisor.protocol import Event, ExecExited, Exited, Living, OutOfMemory, Started, StartRequest


class Engine:
    """Open one with `await Engine.open(config)`, or `async with await Engine.open(config) as engine`.

    `containers`, `images`, `events` and `system` are the library. `aclose()` leaves containers running; when none is, the
    supervisor is asked to leave as well.
    """

    containers: Containers
    images: Images
    events: Events
    networks: Networks
    system: System

    def __init__(self, config: Config, *, supervisor: subprocess.Popen[bytes] | None = None) -> None:
        self.config = config
        self._launched = supervisor
        self.events = Events()
        self._entries = Entries()
        self._stack = AsyncExitStack()
        self._opened = False
        self._life: Life
        self._execs: Execs
        self._premises: Premises
        self._restorer: Restorer

    @classmethod
    async def open(cls, config: Config, *, supervisor: subprocess.Popen[bytes] | None = None) -> Self:
        """Raises Conflict when another daemon holds the data root, StorageFull when it cannot be written.

        `supervisor` is one that was launched ahead in `exec_root`/supervisor, to save the time of its start.
        """
        return await cls(config, supervisor=supervisor).__aenter__()

    async def aclose(self) -> None:
        """Idempotent."""
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        if not self._opened:
            self._opened = True
            try:
                await self._open()
            except BaseException:
                await self._stack.aclose()
                raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def _open(self) -> None:
        config, stack = self.config, self._stack
        self._make_runtime_directory()
        root = await DataRoot.open(config.data_root)
        stack.push_async_callback(root.aclose)
        self.images = await Images.open(
            root,
            in_use=lambda image: self.containers.using(image),
            publish=self._tell_image,
            hidden=(str(config.data_root), str(config.exec_root)),
            registries=Registries(Rules.of(config)),
        )
        stack.push_async_callback(self.images.aclose)
        stack.callback(self.events.close)

        facts = gather()
        records = Records(root.database)
        identity = await _identity(root.database)
        self._network_parts = await Parts.open(config, root.database, identity, self._tell_network)
        stack.push_async_callback(self._leave_networks)
        networking = Networking(config, self._network_parts.networks, self._network_parts.endpoints, self._entries)
        chosen = msgspec.structs.replace(config, seccomp_profile=seccomp_profile(config))
        self._premises = Premises(chosen, facts, self.images, root.snapshots, networking)
        supervision = Supervision(
            config.exec_root / "supervisor",
            on_event=self._on_event,
            on_return=self._on_return,
            alive=self._alive,
            launched=self._launched,
        )
        networking.supervision = supervision
        stack.push_async_callback(networking.aclose)
        self._life = Life(self._premises, self._entries, records, supervision, self.events)
        self.networks = Networks(self._network_parts, networking, self._entries, records, self._life.spawn)
        self._execs = Execs(self._premises, self._entries, self._life, supervision)
        self.containers = Containers(self._premises, self._entries, records, self._life, self._execs, supervision)
        self._healths = Healths(self._entries, self._life, self._execs, supervision)
        self.system = System(config, facts, self._entries, self.images, self.events, identity)
        self._restorer = Restorer(
            config, facts, self._entries, records, self._life, self._execs, self._premises, supervision, root.snapshots
        )

        self._restorer.load()
        living = await supervision.open()
        stack.push_async_callback(self._leave, supervision)
        await self._restorer.restore(living, networking.restore)
        supervision.listen()
        self._healths.begin()
        self._life.spawn(root.collect_garbage())  # what a killed predecessor was bringing in, or had not yet swept out

    def _make_runtime_directory(self) -> None:
        try:
            for name in ("containers", "supervisor"):
                (self.config.exec_root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        except PermissionError as error:
            raise errors.Forbidden(f"{error.filename}: {error.strerror}: the engine needs root rights") from error
        except OSError as error:
            raise errors.Unavailable(f"{error.filename}: {error.strerror}: the runtime directory cannot be made") from error

    async def _leave(self, supervision: Supervision) -> None:
        """Containers run on; their descriptors here are only duplicates."""
        self._life.closing = True
        self._healths.close()
        await self._life.aclose()
        idle = not any(entry.container.state.running for entry in self._entries)
        await supervision.aclose(leave=idle)
        if idle:
            self._premises.leave_cgroup_parent()
        for entry in self._entries:
            entry.close_descriptors()
            entry.close_pending()

    async def _leave_networks(self) -> None:
        await self._network_parts.aclose(leave=not any(entry.container.state.running for entry in self._entries))

    # ── what the supervisor tells ──

    def _on_event(self, event: Event) -> None:
        entry = self._entries.get(event.container)
        match event:
            case Exited():
                if entry is None:
                    self._life.spawn(self._restorer.forget_stranger(event.container))
                else:
                    self._life.spawn(self._life.ended(entry, event.exit))
            case ExecExited():
                self._life.spawn(self._execs.ended(event))
            case OutOfMemory():
                if entry is not None:
                    self._life.tell(entry.container, "oom")

    async def _on_return(self, living: tuple[Living, ...]) -> None:
        await self._restorer.compare(living)

    def _alive(self) -> list[tuple[Started, StartRequest]]:
        """What a new supervisor takes over, with the request that bore it put together again."""
        found = []
        for entry in self._entries:
            if entry.container.state.running and entry.started is not None:
                try:
                    around = look_around(entry.container, self._premises, self._entries)
                    found.append((entry.started, request(entry.container, self._premises, around)))
                except errors.GoraeError:
                    continue  # e.g. the container whose namespace it shares is gone
        return found

    def _tell_network(self, action: str, network: Network, endpoint: Endpoint | None) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self.events.publish("network", action, network.id, attributes | ({"container": endpoint.container} if endpoint else {}))

    def _tell_image(self, event: ImageEvent) -> None:
        attributes = dict(event.attributes) | ({"name": event.name} if event.name else {})
        self.events.publish("image", event.action, event.id, attributes)


async def _identity(database: Database) -> str:
    """The data root's own, made once."""

    def write(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('identity', ?)", (str(uuid.uuid4()),))
        return str(connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()[0])

    return await database.write(write)
