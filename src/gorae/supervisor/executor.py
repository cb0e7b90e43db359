"""How the supervisor asks for births and burials: a seam, and the runtime behind it.

`Executor` is what the loop needs; the real one is `RuntimeExecutor`. The tests have another one, which only starts programs.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from gorae.errors import GoraeError

if TYPE_CHECKING:
    from gorae.cgroup.layout import Layout
    from gorae.errors import BirthError
    from gorae.oci.runtimespec import Process
    from gorae.supervisor.protocol import ExecRequest, StartRequest

    class Watch(Protocol):
        def fileno(self) -> int: ...
        def drain(self) -> bool: ...
        def close(self) -> None: ...


class Birthing(Protocol):
    """A birth under way: what `runtime.life.Nascent` promises."""

    pid: int
    pidfd: int
    console: int | None
    failure: BirthError | None
    warnings: list[str]

    @property
    def timings(self) -> Sequence[Any]: ...

    def fileno(self) -> int: ...
    def advance(self) -> bool: ...
    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Housing:
    """The running container that an exec enters."""

    pid: int
    pidfd: int
    cgroup: str
    spec: dict[str, object]


class Executor(Protocol):
    """Nothing here blocks longer than a birth's own system calls."""

    def preload(self) -> None:
        """Once, before the first birth."""

    def bear(self, request: StartRequest, stdio: tuple[int, int, int]) -> Birthing:
        """The descriptors are borrowed. `InvalidArgument`, `BirthError`: nothing is left behind."""

    def bear_exec(self, request: ExecRequest, housing: Housing, stdio: tuple[int, int, int]) -> Birthing:
        """As `bear`."""

    def bury(self, cgroup: str) -> int:
        """Kills what is left in the cgroup and removes it; answers how often it ran out of memory. Idempotent."""

    def signal_all(self, cgroup: str, signal: int) -> None: ...

    def frozen(self, cgroup: str) -> bool: ...

    def watch_oom(self, cgroup: str) -> Watch | None: ...


class RuntimeExecutor:
    """The runtime. Imported by the program only: preloading it is what makes forks warm."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        # The soft limit that programs inherit is the one that we were started with, though we raise ours.
        self.open_files = resource.getrlimit(resource.RLIMIT_NOFILE)

    def preload(self) -> None:
        from gorae.cgroup.layout import detect
        from gorae.runtime import birth, life

        self._layout = detect()
        self._birth = birth
        self._life = life
        life.preload()

    def bear(self, request: StartRequest, stdio: tuple[int, int, int]) -> Birthing:
        from gorae.oci import runtimespec

        spec = runtimespec.decode(request.spec)
        if spec.process is not None:
            spec = replace(spec, process=self._prepared(spec.process, request.stdio.tty, request.stdio.height, request.stdio.width))
        told = request.context
        context = self._birth.Context(
            id=request.container,
            bundle=told.bundle,
            rootfs=tuple(self._birth.RootMount(mount.type, mount.source, mount.options) for mount in told.rootfs),
            user=told.user or None,
            groups=told.groups,
            init=told.init,
            cgroup=told.cgroup or None,
            cgroup_layout=self._layout,
            annotations=told.annotations,
        )
        return self._life.bear(self._birth.plan(spec, context), self._life.Stdio(*stdio), request.explain)

    def bear_exec(self, request: ExecRequest, housing: Housing, stdio: tuple[int, int, int]) -> Birthing:
        from gorae.oci import runtimespec

        process = self._prepared(
            runtimespec.decode_process(request.process), request.stdio.tty, request.stdio.height, request.stdio.width
        )
        living = self._birth.Living(housing.pid, runtimespec.decode(housing.spec), housing.pidfd)
        context = self._birth.Context(
            id=request.container, user=request.user or None, cgroup=housing.cgroup or None, cgroup_layout=self._layout
        )
        return self._life.bear(self._birth.plan_exec(process, living, context), self._life.Stdio(*stdio), request.explain)

    def bury(self, cgroup: str) -> int:
        remains = self._life.bury(cgroup or None, self._layout)
        for warning in remains.warnings:
            print(warning, file=sys.stderr, flush=True)
        return remains.oom_kills

    def signal_all(self, cgroup: str, signal: int) -> None:
        if not cgroup or self._layout is None:
            return
        for pid in self._layout.place(cgroup).procs():
            try:
                os.kill(pid, signal)
            except ProcessLookupError:
                pass

    def frozen(self, cgroup: str) -> bool:
        return bool(cgroup) and self._layout is not None and self._layout.place(cgroup).frozen()

    def watch_oom(self, cgroup: str) -> Watch | None:
        if not cgroup or self._layout is None:
            return None
        try:
            return self._layout.place(cgroup).watch_oom()
        except (OSError, GoraeError):
            return None  # no memory controller: then no event either

    def _prepared(self, process: Process, tty: bool, height: int, width: int) -> Process:
        from gorae.oci.runtimespec import Box, Rlimit

        rlimits = process.rlimits
        soft, hard = self.open_files
        if not any(limit.type == "RLIMIT_NOFILE" for limit in rlimits) and soft != resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            rlimits = (*rlimits, Rlimit("RLIMIT_NOFILE", soft=soft, hard=hard))
        size = Box(height=height, width=width) if tty and height and width else process.consoleSize
        return replace(process, terminal=tty, consoleSize=size, rlimits=rlimits)


def steps_of(timings: Sequence[Any]) -> tuple[dict[str, object], ...]:
    """What really happened, as plain JSON: side, call, arguments, reason, nanoseconds."""
    return tuple(
        {
            "side": timing.side,
            "call": timing.step.call,
            "arguments": [plain_argument(argument) for argument in timing.step.arguments],
            "reason": timing.step.reason,
            "nanoseconds": timing.nanoseconds,
        }
        for timing in timings
    )


def plain_argument(value: object) -> object:
    """An argument of a step as JSON; what has no shape there is told by its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") if len(value) <= 256 else f"{len(value)} bytes"
    if isinstance(value, (tuple, list, frozenset, set)):
        return [plain_argument(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain_argument(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain_argument(getattr(value, name)) for name in value.__dataclass_fields__}
    return str(value)
