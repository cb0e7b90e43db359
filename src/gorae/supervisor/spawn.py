"""Births in flight: each one driven by the loop, none waits for another.

    start, exec ──► pipes, log ──► executor.bear ──► report socket readable: advance ──► runs ──► pumps, reaper, answer
                        │                │                     │                │
                        └────────────────┴─────────────────────┴── failure ─────┴── 30 s ──► everything undone, error

The pipes are ours: the program's ends are closed here as soon as it has them, so that the end of the stream is its death.
"""

from __future__ import annotations

import _socket
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gorae import crashpoints
from gorae.errors import BirthError, Conflict, GoraeError, InvalidArgument, StorageFull
from gorae.logs.writer import Writer
from gorae.runtime import null
from gorae.supervisor.attach import Attachment, checked_socket
from gorae.supervisor.children import RUNNING, Child, Container, Table
from gorae.supervisor.executor import Birthing, Executor, Housing
from gorae.supervisor.loop import IN, Loop, Timer
from gorae.supervisor.protocol import ExecRequest, Log, StartRequest, Stdio, Streams
from gorae.supervisor.stdio import Session

DEADLINE = 30.0

Done = Callable[["Child | BaseException", "Birthing | None"], None]
"""Called once: with the running child and its birth (for warnings, timings), or with the error."""


@dataclass(frozen=True, slots=True)
class Pipes:
    """Our ends, and the program's. None: a terminal, or nothing to write to."""

    stdin: int | None
    stdout: int | None
    stderr: int | None
    theirs: tuple[int, ...]

    def close_theirs(self) -> None:
        for descriptor in self.theirs:
            os.close(descriptor)

    def close_ours(self) -> None:
        for descriptor in (self.stdin, self.stdout, self.stderr):
            if descriptor is not None:
                os.close(descriptor)


class Births:
    def __init__(
        self, loop: Loop, table: Table, executor: Executor, running: Callable[[Child], None], over: Callable[[], None]
    ) -> None:
        """`running` takes a child whose program runs; `over` is called after each birth, however it ended."""
        self.loop = loop
        self.table = table
        self.executor = executor
        self._running = running
        self._over = over
        self._flying: set[_Flight] = set()
        self._null = null.open_device()

    def __len__(self) -> int:
        return len(self._flying)

    def may_own(self, pid: int, seen: float) -> bool:
        """Whether a zombie, first seen at that time, may be one that a birth reaps itself. Its report may explain it: all are read.

        A birth's process can have a sibling that we hear of only later (one that enters a pid namespace is born a second time), so
        while a birth is in flight that began before the zombie was seen, it is left alone.
        """
        for flight in tuple(self._flying):
            flight.advance(0)
        return any(flight.birth.pid == pid or flight.began <= seen for flight in self._flying)

    def start(self, request: StartRequest, sockets: Sequence[int], done: Done) -> None:
        """The sockets are taken over. Errors before the birth are raised; after it `done` has them."""
        joining = _attach_sockets(sockets, request.attach)
        try:
            if request.container in self.table.containers:
                raise Conflict(f"container {request.container} is already here: forget it first")
            crashpoints.hit("supervisor.start.before-log")
            log = open_log(request.log)
            child = Container(
                request.container, None, directory=request.directory, cgroup=request.context.cgroup
            )
            child.keep_spec(request.spec)
            self.table.containers[request.container] = child
            try:
                self._bear(child, request.stdio, log, joining, lambda stdio: self.executor.bear(request, stdio), done)
            except BaseException:
                del self.table.containers[request.container]
                if log is not None:
                    log.close()
                raise
        except BaseException:
            _close_all(joining)
            raise

    def exec(self, request: ExecRequest, sockets: Sequence[int], done: Done) -> None:
        """As `start`."""
        joining = _attach_sockets(sockets, request.attach)
        try:
            container = self.table.alive(request.container)
            assert isinstance(container, Container)
            if request.exec in container.execs:
                raise Conflict(f"exec {request.exec} is already here")
            if self.executor.frozen(container.cgroup):
                raise Conflict(f"container {request.container} is paused: unpause it first")
            housing = Housing(container.pid, container.pidfd, container.cgroup, container.spec)
            child = Child(request.container, request.exec)
            container.execs[request.exec] = child
            try:
                self._bear(
                    child, request.stdio, None, joining, lambda stdio: self.executor.bear_exec(request, housing, stdio), done
                )
            except BaseException:
                del container.execs[request.exec]
                raise
        except BaseException:
            _close_all(joining)
            raise

    def _bear(
        self,
        child: Child,
        stdio: Stdio,
        log: Writer | None,
        joining: list[tuple[_socket.socket, Streams]],
        bear: Callable[[tuple[int, int, int]], Birthing],
        done: Done,
    ) -> None:
        pipes, ends = self._pipes(stdio)
        try:
            crashpoints.hit("supervisor.birth.before-clone")
            birth = bear(ends)
            crashpoints.hit("supervisor.birth.after-clone")
        except BaseException:
            pipes.close_ours()
            raise
        finally:
            pipes.close_theirs()
        self._flying.add(_Flight(self, child, stdio, log, joining, pipes, birth, done))

    def _pipes(self, stdio: Stdio) -> tuple[Pipes, tuple[int, int, int]]:
        if stdio.tty:
            return Pipes(None, None, None, ()), (self._null, self._null, self._null)
        made: list[int] = []
        try:
            for _ in range(3 if stdio.stdin else 2):
                made += os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            for descriptor in made:
                os.close(descriptor)
            raise GoraeError(f"cannot make pipes for the container: {error.strerror}") from error
        out, their_out, err, their_err = made[:4]
        if not stdio.stdin:
            return Pipes(None, out, err, (their_out, their_err)), (self._null, their_out, their_err)
        their_in, ours = made[4:]
        return Pipes(ours, out, err, (their_out, their_err, their_in)), (their_in, their_out, their_err)

    def landed(self, flight: _Flight, failure: BaseException | None) -> None:
        self._flying.discard(flight)
        if failure is None:
            self._running(flight.child)
            crashpoints.hit("supervisor.birth.before-answer")
            flight.done(flight.child, flight.birth)
            crashpoints.hit("supervisor.birth.after-answer")
            if isinstance(flight.child, Container):
                self.loop.after(0, flight.child.pack_spec)  # when the answer is out
        else:
            if isinstance(flight.child, Container):
                self.table.containers.pop(flight.child.container, None)
            else:
                container = self.table.containers.get(flight.child.container)
                if container is not None and flight.child.exec is not None:
                    container.execs.pop(flight.child.exec, None)
            flight.done(failure, flight.birth)
        self._over()


class _Flight:
    """One birth, from the go byte to the report."""

    def __init__(
        self,
        births: Births,
        child: Child,
        stdio: Stdio,
        log: Writer | None,
        joining: list[tuple[_socket.socket, Streams]],
        pipes: Pipes,
        birth: Birthing,
        done: Done,
    ) -> None:
        self.births = births
        self.child = child
        self.stdio = stdio
        self.log = log
        self.joining = joining
        self.pipes = pipes
        self.birth = birth
        self.done = done
        self.began = time.monotonic()
        self._descriptor = birth.fileno()
        self._deadline: Timer = births.loop.after(DEADLINE, self._too_late)
        births.loop.watch(self._descriptor, IN, self.advance)

    def advance(self, _: int) -> None:
        if self._descriptor < 0:
            return
        # Whatever happens in there may close the report socket: epoll must have let go of it before.
        self.births.loop.forget(self._descriptor)
        try:
            over = self.birth.advance()
        except Exception as error:
            self._abort()
            self._fail(error)
            return
        if not over:
            self._descriptor = self.birth.fileno()
            self.births.loop.watch(self._descriptor, IN, self.advance)
        elif self.birth.failure is not None:
            self._fail(self.birth.failure)
        else:
            self._succeed()

    def _too_late(self) -> None:
        self.births.loop.forget(self._descriptor)
        self._abort()
        self._fail(BirthError(f"container {self.child.container} was not born within {DEADLINE:.0f} s: it was killed"))

    def _abort(self) -> None:
        try:
            self.birth.abort()
        except (OSError, GoraeError):
            pass  # its process is gone already

    def _fail(self, error: BaseException) -> None:
        self._descriptor = -1
        self._deadline.cancel()
        self.pipes.close_ours()
        if self.log is not None:
            self.log.close()
        _close_all(self.joining)
        self.births.landed(self, error)

    def _succeed(self) -> None:
        self._descriptor = -1
        self._deadline.cancel()
        child = self.child
        child.pid = self.birth.pid
        child.pidfd = self.birth.pidfd
        child.started_at = time.time_ns()
        child.state = RUNNING
        child.session = Session(self.births.loop, tty=self.stdio.tty, stdin_once=self.stdio.stdin_once, log=self.log)
        for sock, streams in self.joining:
            Attachment(child.session, sock, streams).begin()
        child.session.open(self.pipes.stdin, self.pipes.stdout, self.pipes.stderr, self.birth.console)
        self.births.landed(self, None)


def open_log(log: Log) -> Writer | None:
    """`StorageFull` when it cannot be opened for writing, `InvalidArgument` for a path that is not absolute."""
    if log.driver == "none":
        return None
    if not log.path.startswith("/"):
        raise InvalidArgument(f"log path {log.path!a} is not absolute")
    try:
        if log.copy is None:
            return Writer(log.path, log.max_size, log.max_file)
        from gorae.logs.copies import CopyingWriter  # few need it

        return CopyingWriter(log.path, log.max_size, log.max_file, log.copy)
    except OSError as error:
        raise StorageFull(f"cannot open the log {log.path}: {error.strerror}") from error


def _attach_sockets(descriptors: Sequence[int], streams: tuple[Streams, ...]) -> list[tuple[_socket.socket, Streams]]:
    if len(descriptors) != len(streams):
        for descriptor in descriptors:
            os.close(descriptor)
        raise InvalidArgument(f"{len(streams)} attach entries, {len(descriptors)} sockets")
    joining: list[tuple[_socket.socket, Streams]] = []
    left = list(descriptors)
    try:
        while left:
            joining.append((checked_socket(left.pop(0)), streams[len(joining)]))
    except BaseException:
        _close_all(joining)
        for descriptor in left:
            os.close(descriptor)
        raise
    return joining


def _close_all(joining: list[tuple[_socket.socket, Streams]]) -> None:
    for sock, _ in joining:
        sock.close()
