"""Execve of itself: a new program in the same process, so that the children stay children.

    upgrade ─► no more requests are read ─► births in flight end ─► the new program is tried: `… --check --state VERSION`
            ─► state to a sealed memfd, descriptors inheritable ─► execve … --resume FD ─► state read ─► answer, requests again

    memfd   ┌────────────┬───────────┬────────┬────────┬ …
            │ length u64 │ JSON      │ blob   │ blob   │        a blob is told in the JSON as [offset, length]
            └────────────┴───────────┴────────┴────────┴ …

What a child writes meanwhile waits in its pipe; one that dies is a zombie until the new program looks. When the execve, or the
trial, fails, everything goes on as before and the asker gets the error.
"""

from __future__ import annotations

import _socket
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gorae import crashpoints
from gorae.errors import Conflict, CorruptData, GoraeError, Unavailable
from gorae.linux import fd
from gorae.runtime import reexec
from gorae.supervisor.attach import Attachment
from gorae.supervisor.children import DYING, EXITED, RUNNING, Child, Container
from gorae.supervisor.protocol import Exit, Log, Streams, decode, plain
from gorae.supervisor.stdio import Input, Output, Session

if TYPE_CHECKING:
    from gorae.supervisor.main import Supervisor
    from gorae.supervisor.server import Connection

VERSION = 1
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
TRIAL = 20.0  # seconds that the new program has to import everything

State = dict[str, Any]


class Upgrade:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._asker: tuple[Connection, int] | None = None
        self._argv: list[str] | None = None
        self._trial = 0

    @property
    def wanted(self) -> bool:
        return self._asker is not None

    def ask(self, connection: Connection, number: int, argv: list[str] | None) -> None:
        if self._asker is not None:
            raise Conflict("an upgrade is under way already")
        self._asker, self._argv = (connection, number), argv
        self.supervisor.server.pause(True)
        self.proceed()

    def proceed(self) -> None:
        """Goes on when nothing is in flight any more; called after each birth."""
        if self._asker is None or self._trial or len(self.supervisor.births):
            return
        try:
            # A program that cannot even start would leave the containers without a parent.
            words = self._argv if self._argv is not None else [sys.executable, "-I", "-S", PROGRAM]
            trial = [*words, "--check", "--state", str(VERSION)]
            self._trial = os.posix_spawn(words[0], trial, os.environ, setsigdef=(signal.SIGHUP, signal.SIGINT))
        except OSError as error:
            self._fail(Unavailable(f"cannot start {words[0]}: {error.strerror}"))
            return
        pid = self._trial
        timer = self.supervisor.loop.after(TRIAL, lambda: os.kill(pid, signal.SIGKILL))

        def tried(status: int) -> None:
            timer.cancel()
            self._trial = 0
            if status:
                self._fail(Unavailable(f"the new program does not start: {' '.join(words)} --check ended with {status:#x}"))
            else:
                self._execute()

        self.supervisor.reaper.awaited[pid] = tried

    def _fail(self, error: GoraeError) -> None:
        assert self._asker is not None
        (connection, number), self._asker = self._asker, None
        connection.fail(number, error)
        self.supervisor.server.pause(False)

    def _execute(self) -> None:
        assert self._asker is not None
        saved = Saved()
        state = save(self.supervisor, saved, self._asker)
        memory = fd.sealed_memfd("gorae-supervisor", saved.pack(state))
        descriptors = [*saved.descriptors, memory]
        try:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            crashpoints.hit("supervisor.upgrade.before-execve")
            if self._argv is None:
                reexec.execute((*self.supervisor.command, "--resume", str(memory)), os.environ)
            else:
                os.execve(self._argv[0], [*self._argv, "--resume", str(memory)], os.environ)
        except OSError as error:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            os.close(memory)
            self._fail(Unavailable(f"cannot execute the new program: {error.strerror}"))


class Saved:
    """What goes over: blobs, and the descriptors that must stay open."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self._blobs: list[bytes] = []
        self._size = 0

    def blob(self, data: bytes) -> list[int]:
        self._blobs.append(data)
        self._size += len(data)
        return [self._size - len(data), len(data)]

    def keep(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return descriptor

    def pack(self, state: State) -> bytes:
        text = json.dumps(state, separators=(",", ":")).encode()
        return b"".join((len(text).to_bytes(8, "little"), text, *self._blobs))


class Loaded:
    """The same, on the other side."""

    def __init__(self, memory: int) -> None:
        with open(memory, "rb") as file:
            data = file.read()
        length = int.from_bytes(data[:8], "little")
        self.state: State = json.loads(data[8 : 8 + length])
        self._blobs = memoryview(data)[8 + length :]
        if self.state.get("version") != VERSION:
            raise CorruptData(f"state of version {self.state.get('version')!a}: this program reads {VERSION}")

    def blob(self, place: Sequence[int]) -> bytes:
        offset, length = place
        return bytes(self._blobs[offset : offset + length])

    def take(self, descriptor: int) -> int:
        os.set_inheritable(descriptor, False)
        return descriptor


# ── one side ──


def save(supervisor: Supervisor, saved: Saved, asker: tuple[Connection, int]) -> State:
    connections = [connection for connection in supervisor.server.connections if connection.open]
    for container in supervisor.table.containers.values():
        container.pack_spec()
    return {
        "version": VERSION,
        "lock": saved.keep(supervisor.lock),
        "open_files": list(supervisor.open_files),
        "listener": saved.keep(supervisor.server.listener.fileno()),
        "connections": [_save_connection(connection, saved) for connection in connections],
        "asker": [connections.index(asker[0]) if asker[0] in connections else -1, asker[1]],
        "containers": [
            {
                **_save_child(container, saved),
                "directory": container.directory,
                "cgroup": container.cgroup,
                "spec": saved.blob(container.packed_spec),
                "kept": [saved.keep(descriptor) for descriptor in container.kept],
                "execs": [_save_child(child, saved) for child in container.execs.values()],
            }
            for container in supervisor.table.containers.values()
        ],
        "lingering": [_save_session(session, saved) for session in supervisor.reaper.lingering],
    }


def _save_connection(connection: Connection, saved: Saved) -> State:
    incoming, descriptors = connection.decoder.leftover()
    return {
        "socket": saved.keep(connection.sock.fileno()),
        "subscribed": connection.subscribed,
        "incoming": saved.blob(incoming),
        "descriptors": [saved.keep(descriptor) for descriptor in descriptors],
        "outgoing": [
            [saved.blob(data), [saved.keep(descriptor) for descriptor in attached]] for data, attached in connection.outgoing
        ],
    }


def _save_child(child: Child, saved: Saved) -> State:
    return {
        "container": child.container,
        "exec": child.exec,
        "state": child.state,
        "pid": child.pid,
        "pidfd": saved.keep(child.pidfd) if child.pidfd >= 0 else -1,
        "started_at": child.started_at,
        "ours": child.ours,
        "status": child.status,
        "oom_killed": child.oom_killed,
        "exit": None if child.exit is None else plain(child.exit),
        "session": None if child.session is None else _save_session(child.session, saved),
    }


def _save_session(session: Session, saved: Saved) -> State:
    log, entry = session.log, session.input
    return {
        "tty": session.tty,
        "stdin_once": session.stdin_once,
        "log": None if log is None else plain(Log("local", log.path, log.max_size, log.max_file, log.copy)),
        "lost": 0 if log is None else log.lost,
        "outputs": [[saved.keep(each.descriptor), each.stream] for each in session.outputs if each.descriptor >= 0],
        "input": None
        if entry is None or entry.descriptor < 0
        else [saved.keep(entry.descriptor), saved.blob(entry.pending), entry.closing],
        "attachments": [
            {
                "socket": saved.keep(attachment.sock.fileno()),
                "streams": plain(attachment.streams),
                "reading": attachment.reading,
                "finishing": attachment.finishing,
                "queued": saved.blob(attachment.queued()),
            }
            for attachment in session.attachments
        ],
    }


# ── the other side ──


def restore(supervisor: Supervisor, loaded: Loaded) -> tuple[Connection, int] | None:
    """Fills the table and the server; answers who asked for the upgrade. The log files are found again by their paths."""
    state = loaded.state
    for row in state["containers"]:
        container = Container("", None)
        _fill(supervisor, container, row, loaded)
        container.directory, container.cgroup = row["directory"], row["cgroup"]
        container.packed_spec = loaded.blob(row["spec"])
        container.kept = [loaded.take(number) for number in row.get("kept", ())]
        supervisor.table.containers[container.container] = container
        for exec_row in row["execs"]:
            child = Child("", None)
            _fill(supervisor, child, exec_row, loaded)
            container.execs[child.exec or ""] = child
    for row in state["lingering"]:
        supervisor.reaper.linger(_restore_session(supervisor, row, loaded, None))
    connections = [_restore_connection(supervisor, row, loaded) for row in state["connections"]]
    for child in supervisor.table:
        if child.state == RUNNING:
            supervisor.reaper.watch(child)
        elif child.state == DYING:
            supervisor.reaper.resume_death(child)
    index, number = state["asker"]
    return (connections[index], number) if index >= 0 else None


def _fill(supervisor: Supervisor, child: Child, row: State, loaded: Loaded) -> None:
    child.container, child.exec, child.state = row["container"], row["exec"], row["state"]
    child.pid, child.started_at, child.ours = row["pid"], row["started_at"], row["ours"]
    child.status, child.oom_killed = row["status"], row["oom_killed"]
    child.pidfd = loaded.take(row["pidfd"]) if row["pidfd"] >= 0 else -1
    child.exit = None if row["exit"] is None else decode(Exit, row["exit"], "exit")
    if row["session"] is not None and child.state != EXITED:
        child.session = _restore_session(supervisor, row["session"], loaded, child)


def _restore_session(supervisor: Supervisor, row: State, loaded: Loaded, child: Child | None) -> Session:
    from gorae.supervisor.adopt import reopened

    log = None
    if child is not None and row["log"] is not None:
        log = reopened(decode(Log, row["log"], "log"), child.container)
        if log is not None:
            log.lost += row["lost"]
    session = Session(supervisor.loop, tty=row["tty"], stdin_once=row["stdin_once"], log=log)
    for number, stream in row["outputs"]:
        session.outputs.append(Output(session, loaded.take(number), stream))
    if row["input"] is not None:
        number, pending, closing = row["input"]
        session.input = Input(session, loaded.take(number))
        session.input.restore(loaded.blob(pending), closing)
    for each in row["attachments"]:
        sock = _socket.socket(fileno=loaded.take(each["socket"]))
        sock.setblocking(False)
        attachment = Attachment(session, sock, decode(Streams, each["streams"], "streams"))
        session.attachments.append(attachment)
        attachment.restore(loaded.blob(each["queued"]), each["reading"], each["finishing"])
    session.restored()
    return session


def _restore_connection(supervisor: Supervisor, row: State, loaded: Loaded) -> Connection:
    connection = supervisor.server.add(_socket.socket(fileno=loaded.take(row["socket"])))
    connection.restore(
        loaded.blob(row["incoming"]),
        [loaded.take(number) for number in row["descriptors"]],
        [(loaded.blob(place), [loaded.take(number) for number in numbers]) for place, numbers in row["outgoing"]],
        row["subscribed"],
    )
    return connection
