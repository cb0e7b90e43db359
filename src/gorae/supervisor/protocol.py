"""The messages between engine and supervisor.

    ┌──────────────┬──────────────────────────────┐
    │ length, u32  │ JSON, UTF-8, length bytes    │   descriptors by SCM_RIGHTS with the first byte of their message
    │ big-endian   │                              │
    └──────────────┴──────────────────────────────┘

    request   {"id": n, "call": name, "descriptors": k, …}
    answer    {"id": n, "ok": {…}, "descriptors": k}  or  {"id": n, "error": {"kind": …, "message": …}}
    event     {"event": name, …}

A message says how many descriptors it brings; a stream socket never delivers them later than the message's last byte. Whoever sends
descriptors that no message claims, a longer message than the limit, or anything that is not such an object is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

VERSION = 1

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Stdio:
    """`stdin` keeps the program's standard input open; `stdin_once` closes it when the first attached writer leaves."""

    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    height: int = 0  # of the terminal, 0: the kernel's default
    width: int = 0


@dataclass(frozen=True)
class Log:
    """Where the output is kept. `max_size` in bytes; at most `max_file` files of that size."""

    driver: Literal["local", "none"] = "local"
    path: str = ""
    max_size: int = 10_000_000
    max_file: int = 5


@dataclass(frozen=True)
class Streams:
    """What an attach socket carries."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


@dataclass(frozen=True)
class LogPosition:
    """A point in a log: `generation` counts its files since the container was made, `offset` is in bytes. See `logs.reader`."""

    generation: int
    offset: int


@dataclass(frozen=True)
class StartRequest:
    """`spec` is the OCI runtime spec (config.json as an object), `context` the runtime's Context as an object (docs/seams.md)."""

    container: str
    directory: str  # /run/gorae/containers/<id>: exit.json is written here
    spec: Json
    context: Json
    stdio: Stdio = field(default_factory=Stdio)
    log: Log = field(default_factory=Log)
    attach: tuple[Streams, ...] = ()
    explain: bool = False


@dataclass(frozen=True)
class ExecRequest:
    """`process` is an OCI process object; `user` Docker's user string, resolved inside the container ("" keeps process.user)."""

    container: str
    exec: str
    process: Json
    user: str = ""
    stdio: Stdio = field(default_factory=Stdio)
    attach: tuple[Streams, ...] = ()
    explain: bool = False


@dataclass(frozen=True)
class Started:
    """A running container. The descriptors are the engine's duplicates; keep them so that `adopt` can replace a dead supervisor."""

    container: str
    pid: int
    started_at: int  # ns since the epoch
    warnings: tuple[str, ...] = ()
    steps: tuple[Json, ...] | None = None  # only with explain: {call, arguments, reason, nanoseconds, …}
    handle: Json = field(default_factory=dict)  # opaque, plain JSON: what `adopt` needs beside the descriptors; store it
    pidfd: int = -1
    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    pty: int | None = None

    def close(self) -> None:
        for descriptor in (self.pidfd, self.stdin, self.stdout, self.stderr, self.pty):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)


@dataclass(frozen=True)
class StartedExec:
    container: str
    exec: str
    pid: int
    started_at: int
    warnings: tuple[str, ...] = ()
    steps: tuple[Json, ...] | None = None


@dataclass(frozen=True)
class Exit:
    """How PID 1 of a container (or an exec) ended; also what `<directory>/exit.json` holds."""

    code: int  # Docker's: 0…255, 128 + signal
    finished_at: int
    started_at: int
    pid: int
    oom_killed: bool = False
    error: str = ""  # e.g. "exit status unknown: …"


@dataclass(frozen=True)
class LivingExec:
    exec: str
    pid: int
    started_at: int
    state: Literal["starting", "running", "exited"]
    exit: Exit | None = None


@dataclass(frozen=True)
class Living:
    """A row of the table: also dead containers that were not yet forgotten."""

    container: str
    pid: int
    started_at: int
    state: Literal["starting", "running", "exited"]
    execs: tuple[LivingExec, ...] = ()
    exit: Exit | None = None
    directory: str = ""


@dataclass(frozen=True)
class Hello:
    version: int
    pid: int
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exited:
    container: str
    exit: Exit


@dataclass(frozen=True)
class ExecExited:
    container: str
    exec: str
    exit: Exit


@dataclass(frozen=True)
class OutOfMemory:
    container: str


Event = Exited | ExecExited | OutOfMemory
