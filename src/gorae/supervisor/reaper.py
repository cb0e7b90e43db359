"""Deaths: who died, with which status, and what is done about it.

    SIGCHLD ─┐
             ├─► waitid(WNOWAIT): whose zombie is it?  ── a child's ──► died      ── a birth's ──► it looks itself
    pidfd  ──┘                                         ── nobody's ───► reaped (we are the subreaper of all orphans)

    died: drain the pipes ─► bury (kills what is left in the cgroup) ─► wait for the end of the streams, ≤ 2 s ─► over
    over: close the log ─► <directory>/exit.json ─► event

An adopted child is not ours to wait for: as long as it is a zombie /proc tells its status, and once its real parent has reaped it
its pidfd does (Linux 6.15). On older kernels, with a parent that is quicker than we are, it stays unknown.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae import crashpoints
from gorae.errors import GoraeError
from gorae.linux.process import exit_code, pidfd_exit_status, pidfd_send_signal
from gorae.supervisor.children import DYING, EXITED, Child, Container, Table
from gorae.supervisor.executor import Executor
from gorae.supervisor.loop import IN, Loop
from gorae.supervisor.protocol import Event, ExecExited, Exit, Exited, OutOfMemory, plain

if TYPE_CHECKING:
    from gorae.supervisor.spawn import Births
    from gorae.supervisor.stdio import Session

LEFTOVERS = 2.0  # seconds that descendants may keep a dead program's pipes open
PARENT = 5.0  # seconds that an adopted child's status may take to show
UNKNOWN = 255


class Reaper:
    def __init__(self, loop: Loop, table: Table, executor: Executor, publish: Callable[[Event], None]) -> None:
        self.loop = loop
        self.table = table
        self.executor = executor
        self.publish = publish
        self.births: Births | None = None
        self.lingering: set[Session] = set()  # of the dead, while an attach socket has not taken everything
        self._unknown: dict[int, float] = {}  # zombies that may belong to a birth, and when they were first seen
        self.awaited: dict[int, Callable[[int], None]] = {}  # processes of our own, by pid: what to do with their status

    def watch(self, child: Child) -> None:
        """From now on the child's death is ours; its session must be open."""
        assert child.session is not None
        self.table.by_pid[child.pid] = child
        child.session.on_end = lambda: self._streams_ended(child)
        self.loop.watch(child.pidfd, IN, lambda _: self._pidfd_ready(child))
        if isinstance(child, Container):
            child.oom_watch = self.executor.watch_oom(child.cgroup)
            if child.oom_watch is not None:
                self.loop.watch(child.oom_watch.fileno(), IN, lambda _: self._out_of_memory(child))

    def sweep(self) -> None:
        """Looks after every zombie there is."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            child = self.table.by_pid.get(pid)
            if child is not None and child.ours:
                self._reap(child)
                continue
            if pid not in self.awaited and self.births is not None and len(self.births):
                seen = self._unknown.setdefault(pid, time.monotonic())
                if self.births.may_own(pid, seen):
                    return  # `sweep` is called again after each birth
                if not _is_zombie(pid):
                    continue
            self._unknown.pop(pid, None)
            _, status = os.waitpid(pid, 0)
            action = self.awaited.pop(pid, None)
            if action is not None:
                action(status)

    def abandon(self, container: Container) -> None:
        """The container is forgotten: nothing of its execs is waited for any longer."""
        for child in container.execs.values():
            self._let_go(child)
            self._finish(child)

    # ── one child ──

    def _pidfd_ready(self, child: Child) -> None:
        if child.ours:
            self._reap(child)
        else:
            self.loop.forget(child.pidfd)
            self._ask(child, time.monotonic() + PARENT, 0.001)

    def _reap(self, child: Child) -> None:
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:
            self._died(child, None)
            return
        if pid:
            self._died(child, status)

    def _ask(self, child: Child, deadline: float, pause: float) -> None:
        """Asks for an adopted child's status, which is there in one of two places except for an instant between them."""
        if child.pidfd < 0:
            return
        try:
            status = zombie_status(child.pid, child.pidfd)
            if status is None:
                status = pidfd_exit_status(child.pidfd)
        except OSError:
            deadline, status = 0.0, None
        if status is not None:
            self._died(child, status)
        elif time.monotonic() >= deadline:
            self._died(child, None)
        else:
            self.loop.after(pause, lambda: self._ask(child, deadline, min(pause * 2, 0.1)))

    def _died(self, child: Child, status: int | None) -> None:
        self._let_go(child)
        child.status = status
        assert child.session is not None
        child.session.process_died()
        if isinstance(child, Container):
            child.keep([])
            self._bury(child)
        child.state = DYING  # only now: the end of the streams, which the draining may have found, must not overtake the burial
        if not child.session.ended:
            self.loop.after(LEFTOVERS, lambda: self._over(child))
            return
        self._over(child)

    def resume_death(self, child: Child) -> None:
        """After an upgrade: waits for the end of the streams anew."""
        assert child.session is not None
        child.session.process_died()
        child.session.on_end = lambda: self._streams_ended(child)
        if child.session.ended:
            self._over(child)
        else:
            self.loop.after(LEFTOVERS, lambda: self._over(child))

    def _let_go(self, child: Child) -> None:
        if self.table.by_pid.get(child.pid) is child:
            del self.table.by_pid[child.pid]
        if child.pidfd >= 0:
            self.loop.forget(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1
        if isinstance(child, Container) and child.oom_watch is not None:
            self.loop.forget(child.oom_watch.fileno())
            child.oom_watch.close()
            child.oom_watch = None

    def _bury(self, child: Container) -> None:
        if not child.cgroup:
            return
        try:
            crashpoints.hit("supervisor.exit.before-burial")
            child.oom_killed = self.executor.bury(child.cgroup) > 0
            crashpoints.hit("supervisor.exit.after-burial")
        except (OSError, GoraeError) as error:
            print(f"container {child.container}: its cgroup {child.cgroup} stays: {error}", file=sys.stderr, flush=True)

    def _streams_ended(self, child: Child) -> None:
        if child.state == DYING:
            self._over(child)

    def _over(self, child: Child) -> None:
        if child.state != DYING:
            return
        child.state = EXITED
        self._finish(child)
        known = child.status is not None
        child.exit = Exit(
            code=exit_code(child.status) if child.status is not None else UNKNOWN,
            finished_at=time.time_ns(),
            started_at=child.started_at,
            pid=child.pid,
            oom_killed=child.oom_killed,
            error="" if known else "the exit status is unknown: another process had taken it",
        )
        if isinstance(child, Container):
            write_record(child)
            crashpoints.hit("supervisor.exit.before-event")
            self.publish(Exited(child.container, child.exit))
            crashpoints.hit("supervisor.exit.after-event")
        else:
            self.publish(ExecExited(child.container, child.exec or "", child.exit))

    def _finish(self, child: Child) -> None:
        session, child.session = child.session, None
        if session is not None:
            session.on_end = None
            session.finish()
            self.linger(session)

    def linger(self, session: Session) -> None:
        if session.attachments:
            self.lingering.add(session)
            session.on_empty = lambda: self.lingering.discard(session)

    def _out_of_memory(self, child: Container) -> None:
        if child.oom_watch is not None and child.oom_watch.drain():
            self.publish(OutOfMemory(child.container))


def write_record(container: Container) -> None:
    """`<directory>/exit.json`, whole or not at all. A failure is told on stderr: the table still has the exit."""
    assert container.exit is not None
    path = f"{container.directory}/exit.json"
    data = json.dumps({"container": container.container, **plain(container.exit)}).encode()
    try:
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        crashpoints.hit("supervisor.exit.before-record")
        os.rename(f"{path}.new", path)
        crashpoints.hit("supervisor.exit.after-record")
    except OSError as error:
        print(f"container {container.container}: cannot write {path}: {error.strerror}", file=sys.stderr, flush=True)


def zombie_status(pid: int, pidfd: int) -> int | None:
    """The wait status of a process that waits to be reaped by another: the last field of its stat (man 5 proc, exit_code)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        pidfd_send_signal(pidfd, 0)  # still that process: the number was not given away before we read
    except OSError:
        return None
    return int(fields[49]) if fields[0] == b"Z" and len(fields) > 49 else None


def _is_zombie(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
