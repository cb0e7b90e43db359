"""A birth under way: the child entered by an executor, its report followed without blocking, its failure undone.

bear ──▶ Nascent ── fileno() readable ─▶ advance() ──▶ False … True
                                                        ├─ failure is None   the program runs (or waits at its barrier)
                                                        └─ failure           nothing is left: the child is reaped, its cgroups are
                                                                             removed, all descriptors closed
"""

from __future__ import annotations

import _socket
import array
import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from gorae.errors import BirthError, CommandNotExecutable, CommandNotFound
from gorae.linux import fd, process
from gorae.runtime import mounts, outside, plain, rootfs
from gorae.runtime.burial import bury
from gorae.runtime.fast import flight
from gorae.runtime.scene import Scene
from gorae.runtime.terms import Birth, Step

KINDS = {each.__name__: each for each in (BirthError, CommandNotFound, CommandNotExecutable)}
MOST = 1 << 16

DEEDS: dict[str, Callable[..., object]] = {
    **outside.DEEDS,
    "open_tree": mounts.DEEDS["open_tree"],
    "make_file_system": rootfs.DEEDS["make_file_system"],
}
"""The parent's table."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One step as it really happened."""

    side: str  # "parent" or "child"
    step: Step
    nanoseconds: int


class Nascent:
    """A birth under way, driven by the owner of the event loop; see `bear`.

    After success the caller owns `pidfd` and `console` and reaps `pid`. After a failure nothing is left: the child is dead and
    reaped, its cgroups are removed, every descriptor is closed.
    """

    def __init__(self, birth: Birth, scene: Scene, report: _socket.socket, explain: bool) -> None:
        self.birth = birth
        self.pid = 0
        self.pidfd = -1
        self.console: int | None = None
        self.failure: BirthError | None = None
        self.warnings: list[str] = list(birth.warnings)
        self.timings: list[Timing] = []
        self._scene = scene
        self._report = report
        self._explain = explain
        self._promised = False
        self._done = False
        self._flight: flight.Flight | None = None
        self._held: list[int] = []

    def fileno(self) -> int:
        """The report socket: wait until it is readable, then call advance. -1 once advance has answered True."""
        return self._report.fileno()

    def advance(self) -> bool:
        """True when the program runs, the barrier is reached or the birth has failed. Never blocks, except for hooks."""
        while not self._done:
            try:
                message, descriptors = fd.receive_message(self._report, MOST, 1, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                # The child ended without having read "go"; what it said comes next (net/unix/af_unix.c, unix_release_sock).
                continue
            except OSError as error:
                self._fail(
                    BirthError(f"the child's report cannot be read: {error.strerror}", step="report", errno=error.errno or 0)
                )
                break
            if not message:
                self._end()
            else:
                self._hear(message[:1], message[1:], descriptors)
        return True

    def abort(self) -> None:
        """Kill the child and undo everything; for an owner that gives up before advance has answered True."""
        if not self._done:
            self._fail(BirthError("the birth was given up", step="abort"))

    def last_words(self) -> BirthError | None:
        """The failure that the child has told by now; everything is then undone."""
        while not self._done:
            try:
                message, descriptors = fd.receive_message(self._report, MOST, 1, _socket.MSG_DONTWAIT)
            except ConnectionResetError:
                continue
            except OSError:
                return None
            if not message:
                return None
            if message[:1] in (plain.CONSOLE, plain.WARNING, plain.TIMINGS, plain.FAILED):
                self._hear(message[:1], message[1:], descriptors)
            elif message[:1] == flight.FAILED and self._flight is not None:
                try:
                    self._fail(self._flight.failure())
                except flight.GiveUp:
                    return None
        return self.failure

    def _hear(self, kind: bytes, rest: bytes, descriptors: list[int]) -> None:
        if kind == plain.EXEC:
            self._promised = True
        elif kind == plain.BARRIER:
            self._succeed()
        elif kind == plain.CONSOLE and descriptors:
            self.console = descriptors[0]
        elif kind == plain.WARNING:
            self.warnings.append(rest.decode("utf-8", "replace"))
        elif kind == plain.TIMINGS:
            first, *spent = array.array("Q", rest)
            self.timings += [Timing("child", step, each) for step, each in zip(self.birth.child[first:], spent, strict=False)]
        elif kind == plain.HOOKS:
            self._run_hooks()
        elif kind == plain.PID:
            self._follow(int(rest))
        elif kind == plain.FAILED:
            told = json.loads(rest)
            self._fail(KINDS[told["kind"]](told["message"], step=told["step"], errno=told["errno"], path=told["path"]))
        elif kind == flight.IDENTIFY:
            self._identify()
        elif kind == flight.FAILED:
            self._fast_failed()

    def _identify(self) -> None:
        assert self._flight is not None
        try:
            self._flight.identify()
            let_go(self._report)
        except BirthError as error:
            ended = error.step == "check_cgroup" and self._is_ending()
            if self.last_words() is None:
                self._end() if ended else self._fail(error)

    def _is_ending(self) -> bool:
        """A process is in no cgroup any more from a moment before it is dead."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(20))

    def _fast_failed(self) -> None:
        assert self._flight is not None
        try:
            self._fail(self._flight.failure())
        except flight.GiveUp:
            try:
                self._start_again()
            except (BirthError, OSError) as error:
                self._fail(error if isinstance(error, BirthError) else plain.describe(Step("bear", (), ""), error))

    def _start_again(self) -> None:
        """By the plain executor, which can do more. The report socket keeps its number."""
        self._end_child(self.pid, self.pidfd)
        self.pid, self.pidfd, self._promised = 0, -1, False
        self._leave_flight(landed=False)
        if self.console is not None:
            os.close(self.console)
            self.console = None
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        os.dup2(ours.fileno(), self._report.fileno(), inheritable=False)
        ours.close()
        self._scene.report = above(theirs, len(self._scene.stdio))
        self.enter(fast=False)
        self._let_streams_go()
        if self.birth.beside:
            self.do(self.birth.beside)
            let_go(self._report)

    def enter(self, fast: bool) -> None:
        """Bear the child, by the fast executor if that can."""
        scene = self._scene
        began = time.monotonic_ns()
        self._flight = flight.board(self.birth, scene, self._explain) if fast else None
        try:
            if self._flight is not None:
                self.pid, self.pidfd = self._flight.spawn()
            else:
                self.pid, self.pidfd = plain.spawn(self.birth, scene, self._explain)
        except OSError as error:
            raise plain.describe(Step("clone3", (self.birth.flags,), ""), error) from error
        scene.pid = self.pid
        if self._explain:
            step = Step("clone3", (self.birth.flags,), "the child, in its new namespaces")
            self.timings.append(Timing("parent", step, time.monotonic_ns() - began))
        assert scene.report is not None
        scene.report.close()
        if self._flight is None:
            scene.close()
        else:
            # Whoever called may close theirs now; it may turn out that a plain child needs them.
            for each in scene.stdio:
                self._held.append(fd.duplicate(each, len(scene.stdio)) if each >= 0 else each)
            scene.stdio = tuple(self._held)

    def _leave_flight(self, landed: bool) -> None:
        if self._flight is None:
            return
        self.timings += [
            Timing("child", step, each) for step, each in zip(self.birth.child, self._flight.spent(), strict=False)
        ]
        if landed:
            self.warnings += self._flight.warnings
            self._scene.close()
            self._let_streams_go()
        self._flight.close()
        self._flight = None

    def _let_streams_go(self) -> None:
        while self._held:
            descriptor = self._held.pop()
            if descriptor >= 0:
                os.close(descriptor)
    def _run_hooks(self) -> None:
        try:
            self.do(self.birth.midway)
            self._report.send(plain.GO)
        except BirthError as error:
            self._fail(error)
        except OSError:
            pass  # the child has died meanwhile; the end of file says so

    def _follow(self, pid: int) -> None:
        """be_born_again: the first child has ended, its sibling goes on. It is not reaped by anybody else, so the number is
        still its own.
        """
        former, self.pid = self.pid, pid
        self._scene.pid = pid
        os.close(self.pidfd)
        self.pidfd = process.pidfd_open(pid)
        os.waitpid(former, 0)

    def _end(self) -> None:
        """End of file: execve has closed the socket, or the child died without a word."""
        if self._promised:
            self._succeed()
            return
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        how = f"by signal {status.si_status}" if status and status.si_code != os.CLD_EXITED else "without a word"
        self._fail(BirthError(f"the container's first process ended {how} before its program ran", step="execve"))

    def _succeed(self) -> None:
        self._done = True
        self._report.close()
        self._leave_flight(landed=True)
        for step in self.birth.after:
            try:
                self.do((step,))
            except BirthError as error:
                self.warnings.append(str(error))
        self.warnings += self._scene.warnings

    def _fail(self, failure: BirthError) -> None:
        self.failure = failure
        self.undo()

    def undo(self) -> None:
        self._done = True
        if self.pid:
            self._end_child(self.pid, self.pidfd)
            self.pidfd = -1
            self._end_sibling()
        self._report.close()
        if self._scene.report is not None:
            self._scene.report.close()
        self._scene.close()
        self._leave_flight(landed=False)
        self._let_streams_go()
        if self.console is not None:
            os.close(self.console)
            self.console = None
        if self._scene.made_cgroup is not None:
            bury(self._scene.made_cgroup, self._scene.layout)

    def _end_child(self, pid: int, pidfd: int) -> None:
        try:
            process.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.close(pidfd)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass

    def _end_sibling(self) -> None:
        """be_born_again may have been the last thing that the child told; nothing else is waiting on the socket of a dead one."""
        while True:
            try:
                message, descriptors = fd.receive_message(self._report, MOST, 1, _socket.MSG_DONTWAIT)
            except ConnectionResetError:
                continue
            except OSError:
                return
            for descriptor in descriptors:
                os.close(descriptor)
            if not message:
                return
            if message[:1] == plain.PID:
                self._end_child(int(message[1:]), process.pidfd_open(int(message[1:])))

    def do(self, steps: tuple[Step, ...]) -> None:
        """The parent's own steps. A system call's failure becomes a BirthError; what an argument is refused for keeps its own
        error.
        """
        for step in steps:
            began = time.monotonic_ns()
            try:
                DEEDS[step.call](self._scene, *step.arguments)
            except OSError as error:
                raise plain.describe(step, error) from error
            if self._explain:
                self.timings.append(Timing("parent", step, time.monotonic_ns() - began))


def let_go(report: _socket.socket) -> None:
    try:
        report.send(plain.GO)
    except OSError as error:
        # The child is dead or has failed already: its own words are on the socket, or the end of file is.
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise


def above(sock: _socket.socket, least: int) -> _socket.socket:
    """The same socket with a descriptor that none of the program's will take."""
    if sock.fileno() >= least:
        return sock
    moved = _socket.socket(fileno=fd.duplicate(sock.fileno(), least))
    sock.close()
    return moved
