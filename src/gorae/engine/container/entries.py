"""The containers in memory, and how one is found.

An `Entry` is the one mutable thing: the present `Container` value, the lock that `life` holds while it changes it, who waits
for its end, attach sockets that wait for its start, and the descriptors that a new supervisor would need.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gorae import errors
from gorae.engine.container.model import Container, Exec, State, Status, WaitCondition, WaitResult
from gorae.engine.container.names import check_name
from gorae.engine.container.record import Records, name_clash
from gorae.supervisor.protocol import Started, Streams

BUSY: tuple[Status, ...] = ("running", "paused", "restarting")


class Entry:
    def __init__(self, container: Container, handle: Mapping[str, Any] | None = None) -> None:
        self.container = container
        self.lock = asyncio.Lock()
        self.handle: dict[str, Any] = dict(handle or {})
        self.started: Started | None = None  # our duplicates of its stdio, and its pidfd
        self.starting = False
        self.unrecorded = False  # its end could not be written: the disk is full
        self.doomed = False  # it is being removed by force
        self.pending: list[tuple[Streams, socket.socket]] = []
        self.execs: dict[str, Exec] = {}
        self.birth: Sequence[Mapping[str, Any]] | None = None
        self.restarts_in_a_row = 0
        self.backoff: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()  # set while it does not run
        self.gone = asyncio.Event()
        self.observer: Callable[[Entry], None] = lambda entry: None  # is told of each new state
        self._waiting: dict[asyncio.Future[WaitResult], WaitCondition] = {}
        if not container.state.running:
            self.ended.set()

    @property
    def id(self) -> str:
        return self.container.id

    @property
    def status(self) -> Status:
        return self.container.state.status

    def set_state(self, state: State, **changes: Any) -> None:
        """For `life` alone."""
        self.container = msgspec.structs.replace(self.container, state=state, **changes)
        if state.running:
            self.ended.clear()
        else:
            self.ended.set()
        self.observer(self)

    def begin_anew(self) -> None:
        """A start by hand: restarts are counted from here."""
        self.restarts_in_a_row = 0
        self.container = msgspec.structs.replace(self.container, restart_count=0)

    # ── those who wait ──

    def wait(self, condition: WaitCondition) -> asyncio.Future[WaitResult]:
        future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        if self.gone.is_set() or (condition == "not-running" and self.status not in BUSY):
            future.set_result(self.result())
            return future
        self._waiting[future] = condition
        future.add_done_callback(lambda done: self._waiting.pop(done, None))
        return future

    def result(self) -> WaitResult:
        return WaitResult(exit_code=self.container.state.exit_code, error=self.container.state.error)

    def tell(self, *conditions: WaitCondition) -> None:
        """These conditions hold now."""
        for future, condition in tuple(self._waiting.items()):
            if condition in conditions and not future.done():
                future.set_result(self.result())

    def end_execs(self) -> None:
        """They die with PID 1."""
        for identity, wish in self.execs.items():
            if wish.running:
                self.execs[identity] = msgspec.structs.replace(wish, running=False, pid=0, exit_code=137)

    # ── sockets that wait for the start ──

    def take_pending(self) -> list[tuple[Streams, socket.socket]]:
        pending, self.pending = self.pending, []
        return pending

    def close_descriptors(self) -> None:
        if self.started is not None:
            self.started.close()
            self.started = None

    def close_pending(self) -> None:
        for _, end in self.take_pending():
            end.close()


class Entries:
    """By id, by name, and by prefix of an id."""

    def __init__(self) -> None:
        self.observer: Callable[[Entry], None] = lambda entry: None
        self._by_id: dict[str, Entry] = {}
        self._by_name: dict[str, str] = {}  # also names claimed by a create under way

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, entry: Entry) -> None:
        entry.observer = lambda changed: self.observer(changed)
        self._by_id[entry.id] = entry
        self._by_name[entry.container.name] = entry.id

    def drop(self, entry: Entry) -> None:
        self._by_id.pop(entry.id, None)
        if self._by_name.get(entry.container.name) == entry.id:
            del self._by_name[entry.container.name]

    def claim(self, name: str, identity: str) -> None:
        """Conflict in Docker's words when another has it."""
        holder = self._by_name.setdefault(name, identity)
        if holder != identity:
            raise name_clash(name, holder)

    def release(self, name: str, identity: str) -> None:
        """Give a claimed name back, unless a container with it was added."""
        entry = self._by_id.get(identity)
        if self._by_name.get(name) == identity and (entry is None or entry.container.name != name):
            del self._by_name[name]

    def taken(self, name: str) -> bool:
        return name in self._by_name

    def get(self, identity: str) -> Entry | None:
        return self._by_id.get(identity)

    def find(self, reference: str) -> Entry:
        """NotFound, or InvalidArgument when a prefix fits several."""
        if entry := self._by_id.get(reference):
            return entry
        if (identity := self._by_name.get(reference.removeprefix("/"))) and (entry := self._by_id.get(identity)):
            return entry
        found = [entry for identity, entry in self._by_id.items() if reference and identity.startswith(reference)]
        if len(found) > 1:
            raise errors.InvalidArgument(f"Multiple IDs found with provided prefix: {reference}")
        if not found:
            raise errors.NotFound(f"No such container: {reference}")
        return found[0]

    async def rename(self, entry: Entry, name: str, records: Records) -> str:
        """Answers the old name. Conflict when the new one is taken."""
        name = check_name(name)
        async with entry.lock:
            old = entry.container.name
            if name == old:
                raise errors.InvalidArgument("Renaming a container with the same name as its current name")
            self.claim(name, entry.id)
            try:
                renamed = msgspec.structs.replace(entry.container, name=name)
                await records.rename(renamed)
                entry.container = renamed
            finally:
                self.release(name, entry.id)
                self.release(old, entry.id)
        return old
