"""The table of the living: each container and each exec, and its state.

    ┌──────────┐  the program runs   ┌─────────┐  PID 1 is dead    ┌─────────┐  drained, buried,   ┌────────┐  forget
    │ starting │ ──────────────────► │ running │ ────────────────► │ dying   │ ──────────────────► │ exited │ ───────► (gone)
    └──────────┘                     └─────────┘  (still "running" └─────────┘  exit.json written  └────────┘
      spawn │ failure: answered,       reaper       to everybody)     reaper       reaper            calls
            ▼ nothing is left
          (gone)

The table holds facts only; the rooms named under the arrows change them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gorae.errors import Conflict, NotFound
from gorae.supervisor.protocol import Exit, Living, LivingExec

if TYPE_CHECKING:
    from gorae.supervisor.stdio import Session

STARTING, RUNNING, DYING, EXITED = "starting", "running", "dying", "exited"


@dataclass(slots=True, eq=False)
class Child:
    """One process that we bore or adopted, with its streams. Owns `pidfd` (-1 once it is dead)."""

    container: str
    exec: str | None
    state: str = STARTING
    pid: int = 0
    pidfd: int = -1
    started_at: int = 0
    ours: bool = True  # False: adopted, its exit status is not ours to wait for
    status: int | None = None  # wait status, once dying
    oom_killed: bool = False
    session: Session | None = None
    exit: Exit | None = None

    @property
    def told_state(self) -> str:
        return RUNNING if self.state == DYING else self.state


@dataclass(slots=True, eq=False)
class Container(Child):
    directory: str = ""
    cgroup: str = ""
    packed_spec: bytes = b""
    execs: dict[str, Child] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)  # the engine's, of this container; closed when it dies
    oom_watch: Any = None  # cgroup.events.OOMWatch
    _spec: dict[str, object] | None = None

    def keep_spec(self, spec: dict[str, object]) -> None:
        self._spec = spec

    def keep(self, descriptors: list[int]) -> None:
        """These instead of those that were kept."""
        for descriptor in self.kept:
            os.close(descriptor)
        self.kept = descriptors

    def pack_spec(self) -> None:
        """Keeps the specification as compressed JSON, 3 KiB instead of 100: it is wanted again only for an exec. Idempotent."""
        if self._spec is not None:
            self.packed_spec = zlib.compress(json.dumps(self._spec, separators=(",", ":")).encode(), 1)
            self._spec = None

    @property
    def spec(self) -> dict[str, object]:
        if self._spec is not None:
            return self._spec
        unpacked: dict[str, object] = json.loads(zlib.decompress(self.packed_spec))
        return unpacked


class Table:
    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.by_pid: dict[int, Child] = {}

    def __iter__(self) -> Iterator[Child]:
        """Every child, containers first."""
        for container in tuple(self.containers.values()):
            yield container
            yield from tuple(container.execs.values())

    def container(self, name: str) -> Container:
        found = self.containers.get(name)
        if found is None:
            raise NotFound(f"no such container: {name}")
        return found

    def find(self, name: str, exec: str | None) -> Child:
        container = self.container(name)
        if exec is None:
            return container
        found = container.execs.get(exec)
        if found is None:
            raise NotFound(f"no such exec: {exec}")
        return found

    def alive(self, name: str, exec: str | None = None) -> Child:
        """A child whose program runs; `NotFound` when it is dead, `Conflict` while it starts."""
        child = self.find(name, exec)
        if child.state == STARTING:
            raise Conflict(f"container {name} is still starting")
        if child.state != RUNNING:
            raise NotFound(f"container {name} is not running" if exec is None else f"exec {exec} is not running")
        return child

    def living(self) -> int:
        return sum(container.state != EXITED for container in self.containers.values())

    def rows(self) -> list[Living]:
        return [row_of(container) for container in self.containers.values()]


def row_of(container: Container) -> Living:
    execs = tuple(
        LivingExec(child.exec or "", child.pid, child.started_at, child.told_state, child.exit)
        for child in container.execs.values()
    )
    return Living(
        container.container,
        container.pid,
        container.started_at,
        container.told_state,
        execs,
        container.exit,
        container.directory,
    )
