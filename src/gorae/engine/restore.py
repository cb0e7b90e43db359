"""What a fresh engine does with what it finds: rows, the supervisor's table, records of ends, and half-made things.

    row \\ supervisor   runs                 has ended              does not know it
    ────────────────   ──────────────────   ────────────────────   ─────────────────────────────────────────────
    running, paused    adopt                record the end         exit.json, or "lost" (255) after killing its cgroup
    created, exited    adopt: it was born   record birth and end   nothing
    no row             kill, forget         forget                 sweep: directories, snapshot, cgroup

The same comparison is made when a supervisor was replaced under a running engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gorae import errors
from gorae.engine.config import Config
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.execs import Execs
from gorae.engine.container.facts import Facts
from gorae.engine.container.life import Life
from gorae.engine.container.names import ID
from gorae.engine.container.premises import Premises
from gorae.engine.container.record import Records
from gorae.engine.container.supervision import Supervision
from gorae.linux.process import exit_code, pidfd_exit_status, pidfd_open
from gorae.oci.json import read_json
from gorae.storage.snapshot.snapshotter import Snapshotter
from gorae.supervisor import protocol
from gorae.supervisor.protocol import Exit, Living, Started

LOST = 255  # Docker's exit code for a container whose end nobody saw
BIRTH_DEADLINE = 10.0

log = logging.getLogger(__name__)


class Restorer:
    def __init__(
        self,
        config: Config,
        facts: Facts,
        entries: Entries,
        records: Records,
        life: Life,
        execs: Execs,
        premises: Premises,
        supervision: Supervision,
        snapshots: Snapshotter,
    ) -> None:
        self._config = config
        self._facts = facts
        self._entries = entries
        self._records = records
        self._life = life
        self._execs = execs
        self._premises = premises
        self._supervision = supervision
        self._snapshots = snapshots

    def load(self) -> None:
        """The rows into memory; nothing is decided yet."""
        for row in self._records.all():
            self._entries.add(Entry(row.container, row.handle))

    async def restore(self, living: tuple[Living, ...], networks: Callable[[], Awaitable[None]]) -> None:
        """Compare, sweep, give the living their `networks` back, and go on with the restart policies."""
        living = await self._all_born(living)
        await self.compare(living)
        await self._end_strangers(living)
        await self._sweep({each.container for each in living})
        await networks()
        for entry in self._entries:
            await self._life.resume_policy(entry)

    async def compare(self, living: tuple[Living, ...]) -> None:
        table = {each.container: each for each in living}
        for entry in self._entries:
            if not entry.starting:
                try:
                    await self._compare(entry, table.get(entry.id))
                except errors.GoraeError as error:
                    log.error("container %s cannot be restored: %s", entry.id, error)

    async def _compare(self, entry: Entry, living: Living | None) -> None:
        if living is not None and living.exit is not None:
            await self._life.ended(entry, living.exit)
        elif living is not None:
            if entry.started is None or entry.started.started_at != living.started_at:
                await self._life.found_running(entry, await self._started(entry, living))
            await self._execs.adopt(entry, living)
        elif (record := self._exit_record(entry)) is not None:
            await self._life.ended(entry, record)
        elif entry.container.state.running:
            await self._premises.evict(entry.container)
            await self._life.ended(entry, _lost(entry))

    async def _started(self, entry: Entry, living: Living) -> Started:
        """Our own duplicates of its stdio and pidfd again: with them it outlives the supervisor, too."""
        try:
            found = await (await self._supervision.client()).duplicates(entry.id)
            return dataclasses.replace(found, handle=found.handle or entry.handle)
        except errors.GoraeError:
            pass  # it has just died, or an older supervisor: its end can still be known by a pidfd
        try:
            pidfd = pidfd_open(living.pid)
        except OSError:
            pidfd = -1
        return Started(container=entry.id, pid=living.pid, started_at=living.started_at, handle=entry.handle, pidfd=pidfd)

    def _exit_record(self, entry: Entry) -> Exit | None:
        path = self._premises.runtime_directory(entry.id) / "exit.json"
        try:
            return protocol.decode(Exit, read_json(path.read_bytes(), str(path), 1 << 16), str(path))
        except FileNotFoundError:
            return None
        except (OSError, errors.InvalidArgument) as error:
            log.error("the record of an end cannot be read: %s", error)
            return None

    async def _all_born(self, living: tuple[Living, ...]) -> tuple[Living, ...]:
        """Births that our predecessor ordered end soon, this way or that."""
        deadline = time.monotonic() + BIRTH_DEADLINE
        while any(each.state == "starting" for each in living) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            living = await (await self._supervision.client()).list()
        return living

    async def _end_strangers(self, living: tuple[Living, ...]) -> None:
        client = await self._supervision.client()
        for each in living:
            if self._entries.get(each.container) is None:
                with contextlib.suppress(errors.NotFound, errors.Conflict):
                    if each.exit is None:
                        await client.signal(each.container, 9)  # its Exited event leads to `forget_stranger`
                    else:
                        await client.forget(each.container)

    async def forget_stranger(self, container: str) -> None:
        """The end of a container without row."""
        with contextlib.suppress(errors.NotFound, errors.Conflict, errors.Unavailable):
            await (await self._supervision.client()).forget(container)
        if self._is_stray(container):
            for directory in self._container_directories():
                shutil.rmtree(directory / container, ignore_errors=True)

    def _container_directories(self) -> tuple[Path, Path]:
        return self._config.data_root / "containers", self._config.exec_root / "containers"

    # ── what has no row ──

    async def _sweep(self, living: set[str]) -> None:
        for directory in self._container_directories():
            for path in _children(directory):
                if self._is_stray(path.name) and path.name not in living:
                    shutil.rmtree(path, ignore_errors=True)
        for info in self._snapshots.walk():
            if info.kind == "active" and self._is_stray(info.key):
                with contextlib.suppress(errors.NotFound, errors.Conflict):
                    await self._snapshots.remove(info.key)
        await asyncio.to_thread(self._sweep_cgroups, living)

    def _sweep_cgroups(self, living: set[str]) -> None:
        names: set[str] = set()
        for directory in self._facts.layout.place(self._config.cgroup_parent).paths().values():
            names |= {path.name for path in _children(Path(directory))}
        for name in names:
            if ID.fullmatch(name) and name not in living and not self._runs(name):
                cgroup = self._facts.layout.place(f"{self._config.cgroup_parent}/{name}")
                try:
                    cgroup.kill()
                    cgroup.remove()
                except (OSError, errors.GoraeError) as error:
                    log.error("a cgroup was left behind: %s", error)

    def _runs(self, identity: str) -> bool:
        entry = self._entries.get(identity)
        return entry is not None and entry.container.state.running

    def _is_stray(self, name: str) -> bool:
        return bool(ID.fullmatch(name)) and self._entries.get(name) is None


def _lost(entry: Entry) -> Exit:
    status = None
    if entry.started is not None and entry.started.pidfd >= 0:
        with contextlib.suppress(OSError):
            status = pidfd_exit_status(entry.started.pidfd)
    state = entry.container.state
    return Exit(
        code=LOST if status is None else exit_code(status),
        finished_at=time.time_ns(),
        started_at=state.started_at,
        pid=state.pid,
        error="" if status is not None else "its end was not seen: the machine restarted, or the supervisor was lost",
    )


def _children(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
