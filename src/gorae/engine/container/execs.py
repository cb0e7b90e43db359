"""`exec`: one more process in a running container.

exec_create ──▶ known (not persisted: an exec does not outlive its container, and its client not the engine)
exec_start  ──▶ running ──▶ ended, with its exit code kept for `inspect` until the container is gone or KEPT newer ones have ended
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import msgspec

from gorae import crashpoints, errors
from gorae.engine.container import attach, options, spec, start
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.life import Life
from gorae.engine.container.model import Attachment, Exec, ExecConfig
from gorae.engine.container.names import new_id
from gorae.engine.container.premises import Premises
from gorae.engine.container.supervision import Supervision
from gorae.oci import runtimespec
from gorae.supervisor.protocol import ExecExited, ExecRequest, Living, Stdio, Streams

KEPT = 256
UNKNOWN = 255  # the exit code of an exec whose end nobody saw


class Execs:
    def __init__(self, premises: Premises, entries: Entries, life: Life, supervision: Supervision) -> None:
        self._premises = premises
        self._entries = entries
        self._life = life
        self._supervision = supervision
        self._container_of: dict[str, str] = {}

    def find(self, identity: str) -> tuple[Entry, Exec]:
        """NotFound in Docker's words; an unambiguous prefix will do."""
        container = self._container_of.get(identity)
        if container is None and len(identity) >= 12:
            matching = [known for known in self._container_of if known.startswith(identity)]
            if len(matching) == 1:
                identity, container = matching[0], self._container_of[matching[0]]
        entry = self._entries.get(container) if container is not None else None
        if entry is None or identity not in entry.execs:
            raise errors.NotFound(f"No such exec instance: {identity}")
        return entry, entry.execs[identity]

    def create(self, entry: Entry, config: ExecConfig) -> str:
        _check_running(entry)
        if not config.command:
            raise errors.InvalidArgument("No exec command specified")
        options.check_texts(config)
        options.check_environment(config.environment)
        options.check_user(config.user)
        spec.exec_process(entry.container, config, self._premises.config, self._premises.facts)  # refuses what cannot be
        identity = new_id()
        self._forget_oldest(entry)
        entry.execs[identity] = Exec(id=identity, container=entry.id, config=config)
        self._container_of[identity] = entry.id
        self._tell(entry, f"exec_create: {' '.join(config.command)}", identity)
        return identity

    async def start(self, identity: str, *, detach: bool, tty: bool | None, console_size: tuple[int, int]) -> Attachment | None:
        entry, wish = self.find(identity)
        if wish.exit_code is not None:
            raise errors.Conflict(f"exec {wish.id} has already run")
        if wish.running:
            raise errors.Conflict(f"exec {wish.id} is already running")
        _check_running(entry)
        config = msgspec.structs.replace(
            wish.config,
            tty=wish.config.tty if tty is None else tty,
            console_size=console_size if any(console_size) else wish.config.console_size,
        )
        wish = msgspec.structs.replace(wish, config=config, running=True)
        ours, theirs = attach.pair()
        entry.execs[wish.id] = wish
        attached = not detach and (config.attach_stdin or config.attach_stdout or config.attach_stderr)
        try:
            client = await self._supervision.client()
            request = self._request(entry, wish, attached)
            self._tell(entry, f"exec_start: {' '.join(config.command)}", wish.id)
            crashpoints.hit("exec.start.before-birth")
            started = await client.exec(request, [theirs.fileno()] if attached else [])
            crashpoints.hit("exec.start.after-birth")
        except BaseException as failure:
            ours.close()
            code = start.explain_failure(failure).exit_code
            entry.execs[wish.id] = msgspec.structs.replace(wish, running=False, exit_code=126 if code == 128 else code)
            raise
        finally:
            theirs.close()
        now = entry.execs.get(wish.id)
        if now is not None and now.exit_code is None:
            entry.execs[wish.id] = msgspec.structs.replace(now, pid=started.pid)
        if detach:
            ours.close()
            return None
        return Attachment(tty=config.tty, socket=ours)

    def _request(self, entry: Entry, wish: Exec, attached: bool) -> ExecRequest:
        config = wish.config
        height, width = config.console_size
        streams = Streams(stdin=config.attach_stdin, stdout=config.attach_stdout, stderr=config.attach_stderr)
        process = spec.exec_process(entry.container, config, self._premises.config, self._premises.facts)
        return ExecRequest(
            container=entry.id,
            exec=wish.id,
            process=runtimespec.encode(process),
            user=config.user or entry.container.user or "0",
            stdio=Stdio(tty=config.tty, stdin=config.attach_stdin and attached, stdin_once=True, height=height, width=width),
            attach=(streams,) if attached else (),
        )

    async def resize(self, identity: str, height: int, width: int) -> None:
        entry, wish = self.find(identity)
        if not wish.running:
            raise errors.Conflict(f"exec {wish.id} is not running")
        await attach.resize(entry, self._supervision, height, width, wish.id)

    async def ended(self, event: ExecExited) -> None:
        """Idempotent: the supervisor tells again what was not forgotten."""
        entry = self._entries.get(event.container)
        if entry is not None and (wish := entry.execs.get(event.exec)) is not None and wish.exit_code is None:
            entry.execs[event.exec] = msgspec.structs.replace(wish, running=False, pid=0, exit_code=event.exit.code)
            self._tell(entry, "exec_die", event.exec, exitCode=str(event.exit.code))
        try:
            client = await self._supervision.client()
            crashpoints.hit("exec.end.before-forget")
            await client.forget(event.container, event.exec)
            crashpoints.hit("exec.end.after-forget")
        except (errors.NotFound, errors.Conflict, errors.Unavailable):
            pass  # the container and its execs were forgotten together, or will be

    async def adopt(self, entry: Entry, living: Living) -> None:
        """Execs that ran through a restart of the engine: their words are lost, their end is not. Those of a supervisor that died
        have no streams any more, and nobody waits for them: they are ended.
        """
        known = {each.exec for each in living.execs}
        lost = [wish for wish in entry.execs.values() if wish.running and wish.pid and wish.id not in known]
        if lost:
            inside = await asyncio.to_thread(self._premises.cgroup(entry.container).procs)
            for wish in lost:
                if wish.pid in inside:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(wish.pid, signal.SIGKILL)
                entry.execs[wish.id] = msgspec.structs.replace(wish, running=False, pid=0, exit_code=UNKNOWN)
                self._tell(entry, "exec_die", wish.id, exitCode=str(UNKNOWN))
        for each in living.execs:
            if each.exec not in entry.execs and each.state != "exited":
                entry.execs[each.exec] = Exec(
                    id=each.exec, container=entry.id, config=ExecConfig(command=("(unknown)",)), running=True, pid=each.pid
                )
                self._container_of[each.exec] = entry.id

    def discard(self, entry: Entry, identity: str) -> None:
        """Forget one, unless it still runs."""
        if (wish := entry.execs.get(identity)) is not None and not wish.running:
            del entry.execs[identity]
            self._container_of.pop(identity, None)

    def drop(self, entry: Entry) -> None:
        for identity in entry.execs:
            self._container_of.pop(identity, None)
        entry.execs.clear()

    def _forget_oldest(self, entry: Entry) -> None:
        ended = [identity for identity, wish in entry.execs.items() if wish.exit_code is not None]
        for identity in ended[: max(0, len(ended) - KEPT)]:
            del entry.execs[identity]
            self._container_of.pop(identity, None)

    def _tell(self, entry: Entry, action: str, identity: str, **attributes: str) -> None:
        self._life.tell(entry.container, action, execID=identity, **attributes)


def _check_running(entry: Entry) -> None:
    if entry.status == "paused":
        raise errors.Conflict(f"container {entry.id} is paused, unpause the container before exec")
    if entry.status == "restarting":
        raise errors.Conflict(f"container {entry.id} is restarting, wait until the container is running")
    if entry.status != "running":
        raise errors.Conflict(f"container {entry.id} is not running")
