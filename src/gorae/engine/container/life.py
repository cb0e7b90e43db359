"""A container's life as Docker sees it. Only this file changes a state.

    from         created    running    paused     restarting   removing   exited     dead
    ─────────    ────────   ────────   ────────   ──────────   ────────   ────────   ────────
    start        running    =          refused    running      refused    running    refused
    exit         ·          exited     exited     =            =          =          =
    backoff      ·          ·          ·          ·            ·          restarting ·
    settle       ·          ·          ·          exited       ·          =          ·
    pause        refused    paused     =          refused      refused    refused    refused
    unpause      refused    refused    running    refused      refused    refused    refused
    remove       removing   refused    refused    removing     refused    removing   removing
    fail         ·          ·          ·          ·            dead       ·          ·

    =  already so (NotModified)   ·  does not happen

The order within each step makes it safe to die at any instant:

    create   snapshot → directory and files → row            what has no row is swept at the next start
    start    program runs → row → answer                     a program without a record is found in the supervisor's table
    exit     exit.json → row → event → undo → forget         until `forget` the record can be read again
    remove   row → directories, snapshot                     what has no row is swept
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import msgspec

from gorae import crashpoints, errors
from gorae.engine.container import names, options, restart_policy, start
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.model import Container, ContainerConfig, Created, State, Status
from gorae.engine.container.premises import Premises
from gorae.engine.container.record import Records
from gorae.engine.container.supervision import Supervision
from gorae.engine.container.tasks import Tasks
from gorae.engine.container.words import Deed, cannot_remove, event_attributes, refusal
from gorae.engine.events import Events
from gorae.supervisor.protocol import Exit, Started

TRANSITIONS: dict[Deed, dict[Status, Status]] = {
    "start": {"created": "running", "exited": "running", "restarting": "running"},
    "exit": {"running": "exited", "paused": "exited"},
    "backoff": {"exited": "restarting"},
    "settle": {"restarting": "exited"},
    "pause": {"running": "paused"},
    "unpause": {"paused": "running"},
    "remove": {"created": "removing", "exited": "removing", "restarting": "removing", "dead": "removing"},
    "fail": {"removing": "dead"},
}
ALREADY: dict[Deed, tuple[Status, ...]] = {
    "start": ("running",),
    "exit": ("restarting", "removing", "exited", "dead"),
    "settle": ("exited",),
}

KILL_DEADLINE = 10.0  # from SIGKILL to the record of the end
REMOVE_DEADLINE = 10.0
CLOSE_DEADLINE = 5.0

log = logging.getLogger(__name__)
T = TypeVar("T")


class Life:
    """create, start, end, remove; and what lies between."""

    def __init__(self, premises: Premises, entries: Entries, records: Records, supervision: Supervision, events: Events) -> None:
        self._premises = premises
        self._entries = entries
        self._records = records
        self._supervision = supervision
        self._events = events
        self._tasks = Tasks()
        self.closing = False

    # ── create ──

    async def create(self, config: ContainerConfig, name: str) -> Created:
        warnings = options.check(config, self._premises.config, self._premises.facts)
        identity = names.new_id()
        name = names.check_name(name) if name else names.new_name(self._entries.taken)
        self._entries.claim(name, identity)
        try:
            drafted = self._premises.draft(identity, name, config, lambda reference: self._entries.find(reference).container)
            async with AsyncExitStack() as undo:
                await self._premises.prepare(drafted, undo)
                await self._records.insert(drafted.container)
                undo.pop_all()
            self._entries.add(Entry(drafted.container))
        finally:
            self._entries.release(name, identity)
        self.tell(drafted.container, "create")
        return Created(id=identity, warnings=(*warnings, *drafted.warnings))

    # ── start ──

    async def start(self, entry: Entry, *, explain: bool = False) -> None:
        async with entry.lock:
            self._stop_backoff(entry)
            entry.begin_anew()
            await self._start(entry, explain)

    async def _start(self, entry: Entry, explain: bool) -> None:
        self._next(entry, "start")
        if entry.unrecorded:
            await self._keep_state(entry, entry.container.state)
            await self._clear_away(entry)
        entry.starting = True
        pending = entry.take_pending()
        try:
            streams = tuple(streams for streams, _ in pending)
            request = await start.prepare(entry.container, self._premises, self._entries, streams, explain)
            client = await self._supervision.client()
            crashpoints.hit("container.start.before-birth")
            started = await client.start(request, [end.fileno() for _, end in pending])
            crashpoints.hit("container.start.after-birth")
        except Exception as failure:
            await self._stillborn(entry, failure)
            raise
        finally:
            entry.starting = False
            for _, end in pending:
                end.close()
            self._premises.networking.moved_in(entry.container)
        entry.started, entry.handle, entry.birth = started, dict(started.handle), started.steps
        state = State(status="running", pid=started.pid, started_at=started.started_at)
        try:
            await self._change(entry, "start", state)
        except errors.GoraeError:
            # The end comes as an event and is recorded, or found at the next start.
            await self.signal(entry, 9)
            raise
        self.tell(entry.container, "start")

    async def _stillborn(self, entry: Entry, failure: Exception) -> None:
        """Not born: the state stays what it was (a restart is given up), with exit code and reason; `--rm` removes it."""
        code, message = start.explain_failure(failure)
        entry.birth = None
        if isinstance(failure, errors.Unavailable):
            await self._premises.evict(entry.container)  # the supervisor died at it: what it bore is nobody's
        await self._premises.clear_runtime(entry.container)
        status = self._next(entry, "settle") if entry.status == "restarting" else entry.status
        with contextlib.suppress(errors.GoraeError):
            await self._keep_state(
                entry, msgspec.structs.replace(entry.container.state, status=status, exit_code=code, error=message)
            )
        if entry.status == "exited":
            entry.tell("not-running", "next-exit")
        if entry.container.config.auto_remove:
            await self._remove(entry)

    # ── the end ──

    async def ended(self, entry: Entry, end: Exit) -> None:
        """PID 1 has died. Idempotent: an end that was recorded already is only undone again."""
        async with entry.lock:
            if entry.gone.is_set():
                return
            if self._is_news(entry, end):
                await self._record_end(entry, end)
            elif entry.container.state.running:
                return  # of a run before this one
            await self._clear_away(entry)
            if entry.container.config.auto_remove:
                await self._remove(entry)

    def _is_news(self, entry: Entry, end: Exit) -> bool:
        state = entry.container.state
        if state.running:
            return not end.started_at or end.started_at == state.started_at
        if end.finished_at <= max(state.finished_at, state.started_at):
            return False
        # Born, but we died before the record of it.
        entry.set_state(State(status=self._next(entry, "start"), pid=end.pid, started_at=end.started_at))
        return True

    async def _record_end(self, entry: Entry, end: Exit) -> None:
        before = entry.container.state
        state = State(
            status=self._next(entry, "exit"),
            exit_code=end.code,
            error=end.error,
            oom_killed=end.oom_killed,
            started_at=end.started_at or before.started_at,
            finished_at=end.finished_at,
            stopped_by_user=before.stopped_by_user,
            health=before.health,
        )
        duration = max(0, end.finished_at - state.started_at) / 1e9
        entry.restarts_in_a_row = restart_policy.in_a_row(entry.restarts_in_a_row, duration)
        wanted = restart_policy.wanted_after(msgspec.structs.replace(entry.container, state=state))
        if again := wanted and not (self.closing or entry.doomed):
            # At once: whoever says stop must not find it exited in between.
            state = msgspec.structs.replace(state, status=TRANSITIONS["backoff"][state.status])
        if entry.container.config.auto_remove:
            entry.set_state(state)  # its row is deleted in a moment; until then the supervisor's record holds the end
        else:
            await self._note(entry, state)
        self.tell(entry.container, "die", exitCode=str(end.code), execDuration=str(int(duration)))
        if again:
            self._begin_backoff(entry)
        else:
            entry.tell("not-running")
        entry.tell("next-exit")

    async def _clear_away(self, entry: Entry) -> None:
        """The undo of start; the supervisor's record goes last: until then it can be read again."""
        entry.close_descriptors()
        entry.end_execs()
        if entry.unrecorded:
            return
        await self._premises.clear_runtime(entry.container)
        with contextlib.suppress(errors.NotFound, errors.Conflict, errors.Unavailable):
            client = await self._supervision.client()
            crashpoints.hit("container.exit.before-forget")
            await client.forget(entry.id)
            crashpoints.hit("container.exit.after-forget")

    # ── restart policy ──

    def _begin_backoff(self, entry: Entry) -> None:
        entry.backoff = self.spawn(self._restart_later(entry, restart_policy.wait_before(entry.restarts_in_a_row)))

    async def _restart_later(self, entry: Entry, wait: float) -> None:
        await asyncio.sleep(wait)
        async with entry.lock:
            if entry.status != "restarting":
                return
            entry.backoff = None
            entry.restarts_in_a_row += 1
            entry.container = msgspec.structs.replace(entry.container, restart_count=entry.container.restart_count + 1)
            with contextlib.suppress(errors.GoraeError):  # kept in the state
                await self._start(entry, False)

    def _stop_backoff(self, entry: Entry) -> None:
        if entry.backoff is not None:
            entry.backoff.cancel()
            entry.backoff = None

    async def settle(self, entry: Entry) -> None:
        """`stop` while it waits for a restart: it stays down."""
        async with entry.lock:
            if entry.status != "restarting":
                return
            self._stop_backoff(entry)
            await self._change(entry, "settle", msgspec.structs.replace(entry.container.state, stopped_by_user=True))
            entry.tell("not-running", "next-exit")

    # ── while it runs ──

    async def stopping(self, entry: Entry) -> None:
        """Remember that it was the user who ended it, before the signal: the restart policy asks."""
        async with entry.lock:
            if entry.container.state.running and not entry.container.state.stopped_by_user:
                await self._note(entry, msgspec.structs.replace(entry.container.state, stopped_by_user=True))

    async def signal(self, entry: Entry, number: int) -> None:
        client = await self._supervision.client()
        await client.signal(entry.id, number)
        if number == 9 and entry.status == "paused":
            await asyncio.to_thread(self._premises.cgroup(entry.container).thaw)  # a frozen process on v1 dies only then

    async def pause(self, entry: Entry) -> None:
        async with entry.lock:
            self._next(entry, "pause")
            await asyncio.to_thread(self._premises.cgroup(entry.container).freeze)
            await self._change(entry, "pause", entry.container.state)
        self.tell(entry.container, "pause")

    async def unpause(self, entry: Entry) -> None:
        async with entry.lock:
            self._next(entry, "unpause")
            await asyncio.to_thread(self._premises.cgroup(entry.container).thaw)
            await self._change(entry, "unpause", entry.container.state)
        self.tell(entry.container, "unpause")

    # ── remove ──

    async def remove(self, entry: Entry, *, force: bool = False) -> None:
        if entry.status == "removing":
            raise errors.Conflict(f"removal of container {entry.id} is already in progress")
        if entry.container.state.running or entry.starting:
            if not force:
                raise errors.Conflict(cannot_remove(entry.container))
            await self._kill_before_removal(entry)
        try:
            async with asyncio.timeout(REMOVE_DEADLINE):
                await entry.lock.acquire()
        except TimeoutError:
            raise errors.Conflict(f"container {entry.id} is busy; try again") from None
        try:
            if not entry.gone.is_set():
                self._stop_backoff(entry)
                await self._remove(entry)
        finally:
            entry.lock.release()

    async def _kill_before_removal(self, entry: Entry) -> None:
        """A start that is under way comes to its end first: it takes milliseconds, and cannot be killed."""
        entry.doomed = True  # no restart policy brings it back meanwhile
        try:
            async with asyncio.timeout(KILL_DEADLINE):
                if entry.starting:
                    async with entry.lock:
                        pass
                if entry.container.state.running:
                    with contextlib.suppress(errors.NotFound):
                        await self.signal(entry, 9)
                await entry.ended.wait()
        except TimeoutError:
            entry.doomed = False
            raise errors.Conflict(f"could not kill container {entry.id}: it has not ended after {KILL_DEADLINE:.0f} s") from None

    async def _remove(self, entry: Entry) -> None:
        """With the lock held. The row goes first: from then on it is gone, whatever happens to us."""
        self._next(entry, "remove")
        entry.set_state(msgspec.structs.replace(entry.container.state, status="removing"))
        try:
            await self._records.delete(entry.id)
        except errors.GoraeError as error:
            entry.set_state(
                msgspec.structs.replace(entry.container.state, status=TRANSITIONS["fail"]["removing"], error=str(error))
            )
            raise
        self._entries.drop(entry)
        entry.close_pending()
        entry.close_descriptors()
        await self._premises.dismantle(entry.container)
        entry.gone.set()
        entry.tell("not-running", "next-exit", "removed")
        self.tell(entry.container, "destroy")

    # ── found by `restore` ──

    async def found_running(self, entry: Entry, started: Started) -> None:
        """It runs, and the supervisor has it: take note, whatever the row says."""
        async with entry.lock:
            if entry.started is not None and entry.started.started_at == started.started_at:
                started.close()
                return
            entry.close_descriptors()
            entry.started = started
            state = State(status="running", pid=started.pid, started_at=started.started_at)
            if not entry.container.state.running:
                await self._change(entry, "start", state)
                self.tell(entry.container, "start")
            elif entry.container.state.started_at != started.started_at:
                await self._keep_state(entry, state)

    async def resume_policy(self, entry: Entry) -> None:
        """When the engine opens: a container that waited for a restart, or is to run always."""
        if entry.status == "restarting":
            self._begin_backoff(entry)
        elif entry.status == "exited" and restart_policy.wanted_at_engine_start(entry.container):
            async with entry.lock:
                await self._change(entry, "backoff", entry.container.state)
                self._begin_backoff(entry)

    # ── states ──

    def _next(self, entry: Entry, deed: Deed) -> Status:
        """The state after `deed`; NotModified or Conflict in Docker's words when the table has none."""
        status = entry.status
        if status in ALREADY.get(deed, ()):
            raise errors.NotModified(f"container {entry.id} is already {status}")
        following = TRANSITIONS[deed].get(status)
        if following is None:
            raise errors.Conflict(refusal(entry.container, deed))
        return following

    async def _change(self, entry: Entry, deed: Deed, state: State) -> None:
        await self._keep_state(entry, msgspec.structs.replace(state, status=self._next(entry, deed)))

    async def _keep_state(self, entry: Entry, state: State) -> None:
        """Durable first, then visible."""
        changed = msgspec.structs.replace(entry.container, state=state)
        await self._records.update(changed, entry.handle if state.running else {})
        entry.unrecorded = False
        entry.set_state(state)

    async def _note(self, entry: Entry, state: State) -> None:
        """What has happened is true even when the disk refuses it; the supervisor's record then stays for the next engine."""
        try:
            await self._keep_state(entry, state)
        except errors.StorageFull as error:
            log.error("container %s: its state is not recorded: %s", entry.id, error)
            entry.unrecorded = not state.running
            entry.set_state(state)

    # ── events and tasks ──

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        self._events.publish("container", action, container.id, event_attributes(container) | attributes)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of our own: it outlives the request that began it, and `aclose` waits for it."""
        return self._tasks.spawn(work)

    async def aclose(self) -> None:
        """Let what is under way come to its end, but nobody waits for a container that takes its time."""
        self.closing = True
        for entry in self._entries:
            self._stop_backoff(entry)
        await self._tasks.aclose(CLOSE_DEADLINE)
