"""The parent's side of a birth: bear a child, let it go on, bury what is left. How a birth is followed: `nascent`."""

from __future__ import annotations

import _socket
import errno
import gc
import os
from dataclasses import dataclass
from functools import lru_cache

from gorae.errors import BirthError, Conflict
from gorae.linux import capability, libc
from gorae.runtime.burial import Remains as Remains
from gorae.runtime.burial import bury as bury
from gorae.runtime.fast import arena
from gorae.runtime.nascent import DEEDS as DEEDS
from gorae.runtime.nascent import Nascent as Nascent
from gorae.runtime.nascent import Timing as Timing
from gorae.runtime.nascent import above, let_go
from gorae.runtime.scene import Scene
from gorae.runtime.terms import Birth

FAST = os.environ.get("GORAE_EXECUTOR") != "plain"
"""Whether births that the fast executor can bear are its own."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors that become 0, 1, 2 (and 3 …) of the program; borrowed. With process.terminal the three are not looked at."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    more: tuple[int, ...] = ()  # become 3, 4, … (runc's --preserve-fds)


def preload() -> None:
    """Freeze the heap once everything is imported (this module imports it all): a collection in a child would copy every page
    of it.
    """
    if FAST:
        arena.open_pool()
    gc.collect()
    gc.freeze()


def bear(birth: Birth, stdio: Stdio, explain: bool = False) -> Nascent:
    """Do the parent's part up to the go byte.

    Raises BirthError when that fails already, and what `cgroup` raises for a limit that the kernel refuses (InvalidArgument,
    Conflict); then nothing is left behind. The calling process must be single-threaded.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    streams = (stdio.stdin, stdio.stdout, stdio.stderr, *stdio.more)
    scene = Scene(streams, report=above(theirs, len(streams)), layout=birth.cgroup_layout, bounding=_bounding())
    nascent = Nascent(birth, scene, ours, explain)
    try:
        nascent.do(birth.before)
        nascent.enter(FAST)
        if birth.beside:
            nascent.do(birth.beside)
            let_go(ours)
    except BaseException as error:
        if nascent.pid and (told := nascent.last_words()) is not None:
            raise told from error  # what the parent tripped over is a child that had failed already
        nascent.undo()
        if isinstance(error, OSError):
            raise BirthError(f"{error.strerror}", step="bear", errno=error.errno or 0) from error
        raise
    return nascent


@lru_cache(maxsize=1)
def _bounding() -> int:
    """This process's bounding set; it never changes it."""
    return capability.bounding()


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
