"""Running health checks: a task a container, while it runs and is not paused.

    start ─▶ starting ─▶ wait ─▶ exec ─▶ output and exit code ─▶ `health_check.after` ─▶ event when the status changes
                          ▲                                            │
                          └────────────────────────────────────────────┘
    unhealthy, policy on-unhealthy   ─▶ it is ended; the restart policy brings it back

The health is kept in memory, beside the state: after a restart of the engine a container is "starting" again, as with Docker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from gorae import errors
from gorae.engine.container import health_check, options
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.execs import Execs
from gorae.engine.container.health_check import Check
from gorae.engine.container.life import Life
from gorae.engine.container.model import Attachment, ExecConfig, Health, Probe
from gorae.engine.container.supervision import Supervision
from gorae.wire.stdcopy import Decoder

SECOND = 1_000_000_000
SIGKILL = 9
SETTLING = 2.0  # from the end of a probe's output to its exit code
STOP_TIMEOUT = 10


class Healths:
    def __init__(self, entries: Entries, life: Life, execs: Execs, supervision: Supervision) -> None:
        self._entries = entries
        self._life = life
        self._execs = execs
        self._supervision = supervision
        self._tasks: dict[str, asyncio.Task[None]] = {}
        entries.observer = self.observe

    def begin(self) -> None:
        """For those that run already when the engine opens."""
        for entry in self._entries:
            self.observe(entry)

    def observe(self, entry: Entry) -> None:
        """Called after each change of a state."""
        task = self._tasks.get(entry.id)
        if entry.status != "running" or self._life.closing:
            if task is not None:
                task.cancel()
            return
        check = health_check.check_of(entry.container.healthcheck, entry.container.config.shell)
        if check is None or (task is not None and not task.cancelling()):
            return
        self._tasks[entry.id] = fresh = self._life.spawn(self._watch(entry, check))
        fresh.add_done_callback(lambda done: self._forget(entry.id, done))

    def close(self) -> None:
        for task in tuple(self._tasks.values()):
            task.cancel()

    def _forget(self, identity: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(identity) is task:
            del self._tasks[identity]

    async def _watch(self, entry: Entry, check: Check) -> None:
        state = entry.container.state
        if state.health is None:
            self._keep(entry, Health())
        born = time.monotonic() - max(0, time.time_ns() - state.started_at) / SECOND
        while entry.status == "running":
            health = entry.container.state.health or Health()
            await asyncio.sleep(health_check.wait_before(health, check, _age(born)) / SECOND)
            age = _age(born)
            probe = await self._probe(entry, check)
            if probe is None or entry.status != "running":
                return
            now = health_check.after(entry.container.state.health or Health(), probe, check, age)
            self._keep(entry, now)
            if now.status != health.status:
                self._life.tell(entry.container, f"health_status: {now.status}")
            if now.status == "unhealthy" and entry.container.config.restart_policy.name == "on-unhealthy":
                self._life.spawn(self._end(entry))
                return

    def _keep(self, entry: Entry, health: Health) -> None:
        state = msgspec.structs.replace(entry.container.state, health=health)
        entry.container = msgspec.structs.replace(entry.container, state=state)

    async def _probe(self, entry: Entry, check: Check) -> Probe | None:
        """None when the container is on its way out."""
        began = time.time_ns()
        wish = ExecConfig(command=check.command, attach_stdout=True, attach_stderr=True)
        identity = ""
        output = bytearray()
        try:
            async with asyncio.timeout(check.timeout / SECOND):
                identity = self._execs.create(entry, wish)
                attachment = await self._execs.start(identity, detach=False, tty=None, console_size=(0, 0))
                assert attachment is not None
                await _drain(attachment, output)
            code = await self._exit_code(entry, identity)
        except TimeoutError:
            await self._kill(entry, identity)
            words = f"Health check exceeded timeout ({check.timeout / SECOND:g}s)" + (f": {_text(output)}" if output else "")
            return Probe(start=began, end=time.time_ns(), exit_code=health_check.TIMED_OUT, output=words)
        except errors.BirthError as error:
            return Probe(start=began, end=time.time_ns(), exit_code=health_check.TIMED_OUT, output=str(error))
        except (errors.Conflict, errors.NotFound, errors.Unavailable):
            return None
        finally:
            self._execs.discard(entry, identity)
        return None if code is None else Probe(start=began, end=time.time_ns(), exit_code=code, output=_text(output))

    async def _exit_code(self, entry: Entry, identity: str) -> int | None:
        deadline = time.monotonic() + SETTLING
        pause = 0.0
        while (wish := entry.execs.get(identity)) is not None and wish.running and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 2 or 0.001, 0.1)
        return None if wish is None else wish.exit_code

    async def _kill(self, entry: Entry, identity: str) -> None:
        with contextlib.suppress(errors.GoraeError):
            await (await self._supervision.client()).signal(entry.id, SIGKILL, exec=identity)

    async def _end(self, entry: Entry) -> None:
        """Its stop signal, and after its patience SIGKILL; not marked as the user's doing, so that the policy brings it back."""
        container = entry.container
        with contextlib.suppress(errors.GoraeError):
            await self._life.signal(entry, options.parse_signal(container.stop_signal) if container.stop_signal else 15)
            try:
                async with asyncio.timeout(STOP_TIMEOUT if container.stop_timeout is None else container.stop_timeout):
                    await entry.ended.wait()
            except TimeoutError:
                await self._life.signal(entry, SIGKILL)


def _age(born: float) -> int:
    return int((time.monotonic() - born) * SECOND)


def _text(output: bytearray) -> str:
    return bytes(output[: health_check.LONGEST_OUTPUT]).decode("utf-8", "replace")


async def _drain(attachment: Attachment, output: bytearray) -> None:
    """All that it says is read, the beginning is kept."""
    assert attachment.socket is not None
    loop = asyncio.get_running_loop()
    decoder = Decoder()
    try:
        while data := await loop.sock_recv(attachment.socket, 65536):
            for _, payload in decoder.feed(data):
                output += payload[: max(0, health_check.LONGEST_OUTPUT - len(output))]
    finally:
        attachment.close()
