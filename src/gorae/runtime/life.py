"""The parent's side of a birth: bear a child, follow it without blocking, bury what is left.

bear ──▶ Nascent ── fileno() readable ─▶ advance() ──▶ False … True
                                                        ├─ failure is None   the program runs (or waits at its barrier)
                                                        └─ failure           nothing is left: the child is reaped, its cgroups are
                                                                             removed, all descriptors closed
"""

from __future__ import annotations

import _socket
import array
import errno
import gc
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gorae.errors import BirthError, CommandNotExecutable, CommandNotFound, Conflict, GoraeError
from gorae.linux import capability, fd, libc, process
from gorae.runtime import mounts, outside, plain, rootfs
from gorae.runtime.scene import Scene
from gorae.runtime.terms import Birth, Step

if TYPE_CHECKING:
    from gorae.cgroup.layout import Layout

KINDS = {each.__name__: each for each in (BirthError, CommandNotFound, CommandNotExecutable)}
MOST = 1 << 16

DEEDS: dict[str, Callable[..., object]] = {
    **outside.DEEDS,
    "open_tree": mounts.DEEDS["open_tree"],
    "make_file_system": rootfs.DEEDS["make_file_system"],
}
"""The parent's table."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors that become 0, 1, 2 (and 3 …) of the program; borrowed. With process.terminal the three are not looked at."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    more: tuple[int, ...] = ()  # become 3, 4, … (runc's --preserve-fds)


@dataclass(frozen=True, slots=True)
class Timing:
    """One step as it really happened."""

    side: str  # "parent" or "child"
    step: Step
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Remains:
    oom_kills: int
    warnings: tuple[str, ...] = ()


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


def preload() -> None:
    """Freeze the heap once everything is imported (this module imports it all): a collection in a child would copy every page
    of it.
    """
    gc.collect()
    gc.freeze()


def bear(birth: Birth, stdio: Stdio, explain: bool = False) -> Nascent:
    """Do the parent's part up to the go byte.

    Raises BirthError when that fails already, and what `cgroup` raises for a limit that the kernel refuses (InvalidArgument,
    Conflict); then nothing is left behind. The calling process must be single-threaded.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    streams = (stdio.stdin, stdio.stdout, stdio.stderr, *stdio.more)
    scene = Scene(streams, report=_above(theirs, len(streams)), layout=birth.cgroup_layout, bounding=_bounding())
    nascent = Nascent(birth, scene, ours, explain)
    try:
        nascent.do(birth.before)
        began = time.monotonic_ns()
        nascent.pid, nascent.pidfd = _spawn(birth, scene, explain)
        scene.pid = nascent.pid
        if explain:
            nascent.timings.append(
                Timing("parent", Step("clone3", (birth.flags,), "the child, in its new namespaces"), time.monotonic_ns() - began)
            )
        assert scene.report is not None
        scene.report.close()
        scene.close()
        if birth.beside:
            nascent.do(birth.beside)
            _let_go(ours)
    except BaseException as error:
        if nascent.pid and (told := nascent.last_words()) is not None:
            raise told from error  # what the parent tripped over is a child that had failed already
        nascent.undo()
        if isinstance(error, OSError):
            raise BirthError(f"{error.strerror}", step="bear", errno=error.errno or 0) from error
        raise
    return nascent


def _let_go(report: _socket.socket) -> None:
    try:
        report.send(plain.GO)
    except OSError as error:
        # The child is dead or has failed already: its own words are on the socket, or the end of file is.
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise


def _spawn(birth: Birth, scene: Scene, explain: bool) -> tuple[int, int]:
    try:
        return plain.spawn(birth, scene, explain)
    except OSError as error:
        raise plain.describe(Step("clone3", (birth.flags,), ""), error) from error


@lru_cache(maxsize=1)
def _bounding() -> int:
    """This process's bounding set; it never changes it."""
    return capability.bounding()


def _above(sock: _socket.socket, least: int) -> _socket.socket:
    """The same socket with a descriptor that none of the program's will take."""
    if sock.fileno() >= least:
        return sock
    moved = _socket.socket(fileno=fd.duplicate(sock.fileno(), least))
    sock.close()
    return moved


def release(barrier: str) -> None:
    """Let the child at this FIFO go on to execve. Raises Conflict when nobody waits there (any more)."""
    try:
        descriptor = os.open(barrier, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise Conflict("the container's process has ended before it was started") from None
        raise libc.named(error, "open", barrier) from None
    try:
        os.write(descriptor, b"\0")
    except BrokenPipeError:
        raise Conflict("the container's process has ended before it was started") from None
    finally:
        os.close(descriptor)


def bury(cgroup: str | None, layout: Layout | None) -> Remains:
    """Kill what is left in the container's cgroup, read how often it ran out of memory, remove it. Idempotent."""
    if cgroup is None or layout is None:
        return Remains(0)
    group = layout.place(cgroup)
    kills = group.oom_kills()
    try:
        try:
            group.remove(0)
        except Conflict:
            group.kill()
            group.remove()
    except (GoraeError, OSError) as error:
        return Remains(kills, (f"cgroup {cgroup} is left behind: {error}",))
    return Remains(kills)
