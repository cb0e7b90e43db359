"""The parent's side of a birth: bear a child, follow it, bury what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gorae.errors import BirthError
from gorae.runtime.birth import Birth, Step

if TYPE_CHECKING:
    from gorae.cgroup.layout import Layout


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

    After success the caller owns `pidfd` and `console` and reaps `pid`. After a failure nothing is left: the child is dead and reaped, its cgroups are
    removed, every descriptor is closed.
    """

    pid: int
    pidfd: int
    console: int | None  # pty master, when process.terminal
    failure: BirthError | None
    warnings: list[str]
    timings: list[Timing]  # only with explain

    def fileno(self) -> int:
        """The report socket: wait until it is readable, then call advance. -1 once advance has answered True."""
        raise NotImplementedError

    def advance(self) -> bool:
        """True when the program runs, the barrier is reached or the birth has failed. Never blocks, except for hooks."""
        raise NotImplementedError

    def abort(self) -> None:
        """Kill the child and undo everything; for an owner that gives up before advance has answered True."""
        raise NotImplementedError


def preload() -> None:
    """Import and touch all that a child needs, then freeze the heap; once, before the first birth."""
    raise NotImplementedError


def bear(birth: Birth, stdio: Stdio, explain: bool = False) -> Nascent:
    """Do the parent's part up to the go byte. Raises BirthError (nothing left behind) when that fails already."""
    raise NotImplementedError


def release(barrier: str) -> None:
    """Let the child at this FIFO go on to execve. Raises Conflict when nobody waits there (any more)."""
    raise NotImplementedError


def bury(cgroup: str | None, layout: Layout | None) -> Remains:
    """Kill what is left in the container's cgroup, read how often it ran out of memory, remove it. Idempotent."""
    raise NotImplementedError
