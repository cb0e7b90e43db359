"""Taking over containers of a supervisor that died.

Its pipes were held open by the engine's duplicates, so the program noticed nothing. It was given to another parent (init, or the
nearest subreaper), so its exit status comes through its pidfd. What was attached, and running execs, went with the old supervisor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae import crashpoints
from gorae.errors import Conflict, InvalidArgument, NotFound, StorageFull
from gorae.linux.process import pidfd_open
from gorae.supervisor.children import RUNNING, Child, Container, Table
from gorae.supervisor.protocol import Log
from gorae.supervisor.spawn import open_log
from gorae.supervisor.stdio import Session

if TYPE_CHECKING:
    from gorae.logs.writer import Writer
    from gorae.supervisor.loop import Loop
    from gorae.supervisor.protocol import StartRequest

NAMES = frozenset(("pidfd", "stdin", "stdout", "stderr", "pty"))


class Adoption:
    def __init__(self, loop: Loop, table: Table, running: Callable[[Child], None]) -> None:
        self.loop = loop
        self.table = table
        self._running = running

    def adopt(self, request: StartRequest, *, pid: int, started_at: int, given: dict[str, int]) -> Container:
        """Takes the descriptors over, also when it fails. A process that is dead already is adopted, too: its exit follows."""
        left = dict(given)
        try:
            if not set(given) <= NAMES:
                raise InvalidArgument("adopt: descriptors are named pidfd, stdin, stdout, stderr or pty")
            if request.container in self.table.containers:
                raise Conflict(f"container {request.container} is already here")
            if "pidfd" not in left:
                left["pidfd"] = _find(pid, request.context.cgroup)
            elif not _is_pidfd(left["pidfd"], pid):
                raise InvalidArgument(f"adopt: the descriptor is not the pidfd of process {pid}")
            container = Container(
                request.container,
                None,
                state=RUNNING,
                pid=pid,
                pidfd=left.pop("pidfd"),
                started_at=started_at,
                ours=False,
                directory=request.directory,
                cgroup=request.context.cgroup,
            )
            container.keep_spec(request.spec)
            container.pack_spec()
            container.session = Session(
                self.loop, tty=request.stdio.tty, stdin_once=request.stdio.stdin_once, log=reopened(request.log, request.container)
            )
            streams = (left.pop(name, None) for name in ("stdin", "stdout", "stderr", "pty"))
            container.session.open(*streams)
        finally:
            for descriptor in left.values():
                os.close(descriptor)
        crashpoints.hit("supervisor.adopt.before-table")
        self.table.containers[request.container] = container
        self._running(container)
        crashpoints.hit("supervisor.adopt.after-table")
        return container


def reopened(log: Log, container: str) -> Writer | None:
    """The log; a container that runs already runs on without, if it cannot be opened."""
    try:
        return open_log(log)
    except (StorageFull, InvalidArgument) as error:
        print(f"container {container}: its output is not kept: {error}", file=sys.stderr, flush=True)
        return None


def _is_pidfd(descriptor: int, pid: int) -> bool:
    """fdinfo says `Pid:` for a pidfd and for nothing else; -1 once the process was reaped."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
            told = [line.split()[1] for line in file.read().splitlines() if line.startswith(b"Pid:")]
    except OSError:
        return False
    return told in ([b"%d" % pid], [b"-1"])


def _find(pid: int, cgroup: str) -> int:
    """A pidfd for a number: only if the process is in the container's cgroup, for the number may have been given away."""
    try:
        pidfd = pidfd_open(pid)
    except OSError as error:
        raise NotFound(f"process {pid} is gone: {error.strerror}") from error
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            inside = bool(cgroup) and any(line.endswith(cgroup) for line in os.fsdecode(file.read()).splitlines())
    except OSError:
        inside = False
    if not inside:
        os.close(pidfd)
        raise NotFound(f"process {pid} is not in the cgroup {cgroup!a}: it is another one by now")
    return pidfd
