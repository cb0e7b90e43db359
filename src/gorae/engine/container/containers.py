"""`Containers`: what the API and the library call.

A `reference` is a full id, an unambiguous prefix of one, or a name (with or without a leading "/"). Not found: NotFound in
Docker's words (`No such container: x`); several: InvalidArgument.

What changes a container runs in a task of its own, so that a client that hangs up in the middle leaves nothing half-done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from gorae import crashpoints, errors
from gorae.engine.container import attach, filter, logs, options
from gorae.engine.container.archives import Archives
from gorae.engine.container.commit import Commits
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.execs import Execs
from gorae.engine.container.life import KILL_DEADLINE, Life
from gorae.engine.container.model import (
    Attachment,
    AttachRequest,
    Container,
    ContainerConfig,
    Created,
    Exec,
    ExecConfig,
    LogRequest,
    Resources,
    RestartPolicy,
    WaitCondition,
    WaitResult,
)
from gorae.engine.container.premises import Premises
from gorae.engine.container.record import Records
from gorae.engine.container.stats import Statistics
from gorae.engine.container.supervision import Supervision
from gorae.engine.container.update import Updates
from gorae.engine.filters import Filters, check_keys, matches_labels
from gorae.linux.process import signal_name
from gorae.logs.lines import Block
from gorae.oci import platform as platforms

STOP_TIMEOUT = 10
SIGKILL = 9

T = TypeVar("T")


class Waiting:
    """A registered wait: `await waiting.result()`; `close()` when no longer wanted."""

    def __init__(self, future: asyncio.Future[WaitResult]) -> None:
        self._future = future

    async def result(self) -> WaitResult:
        """The exit code, once the condition holds; a container that is removed meets every condition."""
        return await asyncio.shield(self._future)

    def close(self) -> None:
        self._future.cancel()


class Containers:
    def __init__(
        self, premises: Premises, entries: Entries, records: Records, life: Life, execs: Execs, supervision: Supervision
    ) -> None:
        self._premises = premises
        self._entries = entries
        self._records = records
        self._life = life
        self._execs = execs
        self._supervision = supervision
        self.archives = Archives(premises, entries)
        self.commits = Commits(premises, entries, life, self.archives)
        self.statistics = Statistics(premises, entries)
        self._updates = Updates(premises, entries, life, records)

    # ── life ──

    async def create(self, config: ContainerConfig, *, name: str = "", platform: str = "") -> Created:
        """A row, a directory, a layer, and nothing running. NotFound: `No such image: x`. Conflict: the name is taken."""
        if platform:
            self._check_platform(config.image, platform)
        return await self._wholly(self._life.create(config, name))

    async def start(self, reference: str, *, explain: bool = False) -> None:
        """Returns when the program runs. NotModified when it already does; BirthError (CommandNotFound 127,
        CommandNotExecutable 126) when it cannot: the container then stays what it was, with exit code and error in its
        state.
        """
        await self._wholly(self._life.start(self._entries.find(reference), explain=explain))

    async def stop(self, reference: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Stop signal, then SIGKILL after `timeout` seconds (-1: never; None: the container's, or 10).

        NotModified when it does not run.
        """
        entry = self._entries.find(reference)
        number = options.parse_signal(signal) if signal else self._stop_signal(entry)
        if not entry.container.state.running and entry.status != "restarting":
            raise errors.NotModified(f"container {entry.id} is already stopped")
        await self._wholly(self._stop(entry, number, self._stop_timeout(entry) if timeout is None else timeout))
        self._life.tell(entry.container, "stop")

    async def restart(self, reference: str, *, timeout: int | None = None, signal: str = "") -> None:
        """`stop`, if it runs, and `start`."""
        entry = self._entries.find(reference)
        number = options.parse_signal(signal) if signal else self._stop_signal(entry)
        await self._wholly(self._restart(entry, number, self._stop_timeout(entry) if timeout is None else timeout))
        self._life.tell(entry.container, "restart")

    async def kill(self, reference: str, *, signal: str = "") -> None:
        """Conflict (`cannot kill container: x: container … is not running`) when it does not run."""
        entry = self._entries.find(reference)
        number = options.parse_signal(signal) if signal else SIGKILL
        if not entry.container.state.running:
            raise errors.Conflict(f"cannot kill container: {reference}: container {entry.id} is not running")
        if number in (SIGKILL, self._stop_signal(entry)):
            await self._wholly(self._life.stopping(entry))
        try:
            await self._life.signal(entry, number)
        except errors.NotFound:
            raise errors.Conflict(f"cannot kill container: {reference}: container {entry.id} is not running") from None
        self._life.tell(entry.container, "kill", signal=str(number))
        if number == SIGKILL:
            await self._ended(entry, KILL_DEADLINE)

    async def pause(self, reference: str) -> None:
        await self._wholly(self._life.pause(self._entries.find(reference)))

    async def unpause(self, reference: str) -> None:
        await self._wholly(self._life.unpause(self._entries.find(reference)))

    async def rename(self, reference: str, name: str) -> None:
        entry = self._entries.find(reference)
        old = await self._wholly(self._entries.rename(entry, name, self._records))
        self._premises.networking.rename(entry.container, old)
        self._life.tell(entry.container, "rename", oldName=f"/{old}")

    async def update(self, reference: str, resources: Resources, policy: RestartPolicy | None = None) -> Sequence[str]:
        """Other limits, at once if it runs, and another restart policy; what is at its default stays. Answers warnings."""
        return await self._wholly(self._updates.run(reference, resources, policy))

    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Conflict when it runs and `force` is not given."""
        entry = self._entries.find(reference)
        await self._wholly(self._life.remove(entry, force=force))
        self._execs.drop(entry)

    async def prune(self, filters: Filters | None = None) -> tuple[Sequence[str], int]:
        """Ids removed and bytes freed:

        every container that does not run. Filters: label, label!, until (seconds since the epoch).
        """
        filters = filters or {}
        check_keys(filters, ("label", "label!", "until"))
        removed, freed = [], 0
        for entry in self._entries:
            container = entry.container
            if container.state.status not in ("created", "exited", "dead") or entry.starting or not _prunable(container, filters):
                continue
            size = await self._premises.size(container)
            try:
                await self.remove(entry.id)
            except (errors.Conflict, errors.NotFound):
                continue  # somebody else was quicker
            removed.append(entry.id)
            freed += size
        return removed, freed

    # ── looking ──

    def inspect(self, reference: str) -> Container:
        """Never waits: not for a start, not for the disk."""
        entry = self._entries.find(reference)
        running = tuple(identity for identity, wish in entry.execs.items() if wish.running)
        return msgspec.structs.replace(entry.container, exec_ids=running)

    async def sizes(self, container: Container) -> Container:
        """The same with `size_rw` and `size_root` filled in."""
        own = await self._premises.size(container)
        try:
            below = self._premises.images.get(container.image_id).size
        except errors.NotFound:
            below = 0
        return msgspec.structs.replace(container, size_rw=own, size_root=own + below)

    async def list(
        self, *, all: bool = False, limit: int = 0, size: bool = False, filters: Filters | None = None
    ) -> Sequence[Container]:
        """Newest first. InvalidArgument for an unknown filter."""
        chosen = filter.select(
            [entry.container for entry in self._entries],
            filters or {},
            all=all or limit > 0,
            find=lambda reference: self._entries.find(reference).container,
            image_id=self._image_id,
        )
        if limit > 0:
            chosen = chosen[:limit]
        return [await self.sizes(container) for container in chosen] if size else chosen

    def using(self, image: str) -> Sequence[tuple[str, bool]]:
        """Which containers were made from this image id, and whether they run."""
        return [(entry.id, entry.container.state.running) for entry in self._entries if entry.container.image_id == image]

    async def top(self, reference: str) -> Sequence[int]:
        """The pids (in the host's namespace) of everything that runs in it."""
        entry = self._entries.find(reference)
        if not entry.container.state.running:
            raise errors.Conflict(f"container {entry.id} is not running")
        found = await asyncio.to_thread(self._premises.cgroup(entry.container).procs)
        return found or (entry.container.state.pid,)

    def birth(self, reference: str) -> Sequence[Mapping[str, Any]]:
        """The steps of the last birth, when it was started with `explain`; NotFound otherwise."""
        entry = self._entries.find(reference)
        if entry.birth is None:
            raise errors.NotFound(f"the birth of container {entry.id} was not recorded; start it with --explain")
        return entry.birth

    def wait(self, reference: str, condition: WaitCondition = "not-running") -> Waiting:
        """Registered when this returns, so that an exit between the answer's headers and its body is not missed."""
        return Waiting(self._entries.find(reference).wait(condition))

    def logs(self, reference: str, request: LogRequest) -> AsyncIterator[Sequence[Block]]:
        """Batches of `Block(stream, time, data, partial)`, oldest first: `data` is one or more whole lines of one time and stream
        (1: stdout and a TTY, 2: stderr), or, when `partial`, a piece of a line that goes on in the stream's next block. With
        `follow` until the container has ended. Errors (NotFound, Unsupported for driver `none`) come from this call itself.
        `aclose()` it.
        """
        return logs.read(self._entries.find(reference), request)

    # ── streams ──

    async def attach(self, reference: str, request: AttachRequest) -> Attachment:
        """Before the start as well: the socket then waits for it."""
        entry = self._entries.find(reference)
        attachment = await attach.attach(entry, request, self._supervision)
        self._life.tell(entry.container, "attach")
        return attachment

    async def resize(self, reference: str, height: int, width: int) -> None:
        """Conflict when it does not run."""
        await attach.resize(self._entries.find(reference), self._supervision, height, width)

    # ── exec ──

    async def exec_create(self, reference: str, config: ExecConfig) -> str:
        """The id of an exec. Conflict: `container x is not running` or `is paused`."""
        return self._execs.create(self._entries.find(reference), config)

    async def exec_start(
        self, exec_id: str, *, detach: bool = False, tty: bool | None = None, console_size: tuple[int, int] = (0, 0)
    ) -> Attachment | None:
        """Runs it; an Attachment unless detached.

        NotFound: `No such exec instance: x`. BirthError as in `start`, exit code kept.
        """
        return await self._wholly(self._execs.start(exec_id, detach=detach, tty=tty, console_size=console_size))

    def exec_inspect(self, exec_id: str) -> Exec:
        return self._execs.find(exec_id)[1]

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        await self._execs.resize(exec_id, height, width)

    # ── the way there ──

    async def _wholly(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._life.spawn(work))

    async def _stop(self, entry: Entry, signal: int, timeout: int) -> None:
        """Until it is down: one that crashes in a loop may live, wait, or be on its way between the two at each look."""
        while True:
            if entry.status == "restarting":
                await self._life.settle(entry)
            if entry.container.state.running:
                await self._end(entry, signal, timeout)
            if entry.status != "restarting":
                return

    async def _end(self, entry: Entry, signal: int, timeout: int) -> None:
        """Without the lock: whoever looks meanwhile is answered, and the end can be recorded."""
        crashpoints.hit("container.stop.before-mark")
        await self._life.stopping(entry)
        try:
            crashpoints.hit("container.stop.after-mark")
            await self._life.signal(entry, signal)
            crashpoints.hit("container.stop.after-signal")
            self._life.tell(entry.container, "kill", signal=str(signal))
            if await self._ended(entry, None if timeout < 0 else timeout, quiet=True):
                return
            await self._life.signal(entry, SIGKILL)
            self._life.tell(entry.container, "kill", signal=str(SIGKILL))
        except errors.NotFound:
            pass  # it has just died by itself; the record is on its way
        await self._ended(entry, KILL_DEADLINE)

    async def _restart(self, entry: Entry, signal: int, timeout: int) -> None:
        if entry.container.state.running and entry.container.config.auto_remove:
            raise errors.Conflict(f"container {entry.id} is removed when it stops (--rm): it cannot be restarted")
        await self._stop(entry, signal, timeout)
        crashpoints.hit("container.restart.after-stop")
        await self._life.start(entry)

    async def _ended(self, entry: Entry, timeout: float | None, *, quiet: bool = False) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await entry.ended.wait()
        except TimeoutError:
            if quiet:
                return False
            raise errors.Unavailable(f"container {entry.id} did not end within {timeout:.0f} s of {signal_name(SIGKILL)}") from None
        return True

    def _stop_signal(self, entry: Entry) -> int:
        word = entry.container.stop_signal
        try:
            return options.parse_signal(word) if word else 15
        except errors.InvalidArgument:
            return 15  # an image's own nonsense

    def _stop_timeout(self, entry: Entry) -> int:
        timeout = entry.container.stop_timeout
        return STOP_TIMEOUT if timeout is None else timeout

    def _check_platform(self, reference: str, platform: str) -> None:
        """NotFound in Docker's words when the image that is here is for another machine."""
        image = self._premises.images.get(reference)
        here = platforms.normalise(platforms.Platform(image.architecture, image.os, variant=image.variant or None))
        wanted = platforms.parse(platform, here)
        if (wanted.os, wanted.architecture) != (here.os, here.architecture) or (wanted.variant or here.variant) != here.variant:
            raise errors.NotFound(
                f"image with reference {reference} was found but does not provide the specified platform ({platform}): it is for "
                f"{here.os}/{here.architecture}"
            )

    def _image_id(self, reference: str) -> str | None:
        try:
            return self._premises.images.get(reference).id
        except (errors.NotFound, errors.InvalidArgument):
            return None


def _prunable(container: Container, filters: Filters) -> bool:
    until = filters.get("until", ())
    try:
        moments = [float(value) for value in until]
    except ValueError:
        raise errors.InvalidArgument(f"invalid filter 'until={until}'") from None
    return (
        matches_labels(container.labels, filters.get("label", ()))
        and not any(matches_labels(container.labels, (condition,)) for condition in filters.get("label!", ()))
        and all(container.created_at < moment * 1e9 for moment in moments)
    )
