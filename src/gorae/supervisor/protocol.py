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

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from gorae import errors
from gorae.errors import BirthError, GoraeError, InvalidArgument, Unavailable
from gorae.logs.copy import Copy
from gorae.oci import codec
from gorae.oci.codec import Between, OneOf
from gorae.oci.json import read_json

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from gorae.oci.record import dataclass

VERSION = 1
MAX_MESSAGE = 8 << 20
MAX_DESCRIPTORS = 64

T = TypeVar("T")
Json = dict[str, Any]
State = Annotated[str, OneOf("starting", "running", "exited")]
Natural = Annotated[int, Between(0, 2**63 - 1)]
Size = Annotated[int, Between(0, 65535)]


@dataclass(frozen=True)
class Stdio:
    """`stdin` keeps the program's standard input open; `stdin_once` closes it when the first attached writer leaves."""

    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    height: Size = 0  # of the terminal, 0: the kernel's default
    width: Size = 0


@dataclass(frozen=True)
class Log:
    """Where the output is kept. `max_size` in bytes; at most `max_file` files of that size."""

    driver: Annotated[str, OneOf("local", "none")] = "local"
    path: str = ""
    max_size: Annotated[int, Between(1, 2**62)] = 10_000_000
    max_file: Annotated[int, Between(1, 100_000)] = 5
    copy: Copy | None = None  # where each line also goes


@dataclass(frozen=True)
class Streams:
    """What an attach socket carries."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


@dataclass(frozen=True)
class LogPosition:
    """A point in a log: `generation` counts its files since the container was made, `offset` is in bytes. See `logs.reader`."""

    generation: Natural
    offset: Natural


@dataclass(frozen=True)
class RootMount:
    """One of the mounts, stacked in order, that make root.path: it exists in the container's mount namespace only."""

    type: str  # "overlay", "bind", "tmpfs", …
    source: str = ""
    options: tuple[str, ...] = ()  # "lowerdir=/a:/b", "upperdir=…", "ro", …


@dataclass(frozen=True)
class Context:
    """What the specification cannot say; the runtime's `birth.Context`, for who does not load the runtime."""

    rootfs: tuple[RootMount, ...] = ()  # empty: root.path is the root file system as it stands
    user: str = ""  # Docker's user string, resolved in the container's own passwd and group; "": process.user counts
    groups: tuple[str, ...] = ()  # names or ids added to the supplementary groups, resolved likewise
    init: bool = False  # the child stays as PID 1, reaps and forwards signals
    cgroup: str = ""  # path in the hierarchy, "/gorae/<id>"; "": stay in the supervisor's
    bundle: str = "/"  # what a relative root.path is relative to; hooks are told
    annotations: dict[str, str] = field(default_factory=dict)  # told to hooks


@dataclass(frozen=True)
class StartRequest:
    """`spec` is the OCI runtime spec: config.json as an object."""

    container: str
    directory: str  # /run/gorae/containers/<id>: exit.json is written here
    spec: dict[str, object]
    context: Context
    stdio: Stdio = field(default_factory=Stdio)
    log: Log = field(default_factory=Log)
    attach: tuple[Streams, ...] = ()
    explain: bool = False


@dataclass(frozen=True)
class ExecRequest:
    """`process` is an OCI process object; `user` Docker's user string, resolved inside the container ("" keeps process.user)."""

    container: str
    exec: str
    process: dict[str, object]
    user: str = ""
    stdio: Stdio = field(default_factory=Stdio)
    attach: tuple[Streams, ...] = ()
    explain: bool = False


@dataclass(frozen=True)
class Started:
    """A running container. The descriptors are the engine's duplicates: with them `adopt` can replace a dead supervisor."""

    container: str
    pid: int
    started_at: int  # ns since the epoch
    warnings: tuple[str, ...] = ()
    steps: tuple[dict[str, object], ...] | None = None  # only with explain: {call, arguments, reason, nanoseconds, …}
    handle: dict[str, object] = field(default_factory=dict)  # opaque JSON: what `adopt` needs beside the descriptors
    pidfd: int = -1
    stdin: int | None = None  # None also with stdin_once: a duplicate would keep the program from seeing the end
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
    steps: tuple[dict[str, object], ...] | None = None


@dataclass(frozen=True)
class Exit:
    """How PID 1 of a container (or an exec) ended; also what `<directory>/exit.json` holds."""

    code: int  # Docker's: 0…255, 128 + signal
    finished_at: int  # ns since the epoch
    started_at: int
    pid: int
    oom_killed: bool = False
    error: str = ""  # e.g. "exit status unknown: …"


@dataclass(frozen=True)
class LivingExec:
    exec: str
    pid: int
    started_at: int
    state: State
    exit: Exit | None = None


@dataclass(frozen=True)
class Living:
    """A row of the table: also dead containers that were not yet forgotten."""

    container: str
    pid: int
    started_at: int
    state: State
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


# ── the codec ──


def encode(message: Json) -> bytes:
    """The bytes of a message."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_MESSAGE:
        raise InvalidArgument(f"a message of {len(body)} bytes is longer than {MAX_MESSAGE}")
    return len(body).to_bytes(4, "big") + body


class Decoder:
    """Bytes and descriptors to messages. Owns the descriptors until their message is given out; `close` closes the rest."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._descriptors: list[int] = []

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        self._buffer += data
        self._descriptors += descriptors

    def messages(self) -> Iterator[tuple[Json, list[int]]]:
        """Each whole message with its descriptors, which are the caller's then. `InvalidArgument`: the peer is to be cut off."""
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > self._limit:
                raise InvalidArgument(f"message of {length} bytes, {self._limit} are allowed")
            if len(self._buffer) < 4 + length:
                break
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            message = read_json(body, "message", self._limit)
            if type(message) is not dict:
                raise InvalidArgument("message: expected an object")
            count = message.pop("descriptors", 0)
            if type(count) is not int or not 0 <= count <= min(MAX_DESCRIPTORS, len(self._descriptors)):
                raise InvalidArgument(f"message: it claims {count!a} descriptors, {len(self._descriptors)} came")
            claimed, self._descriptors = self._descriptors[:count], self._descriptors[count:]
            yield message, claimed
        if len(self._descriptors) > (MAX_DESCRIPTORS if self._buffer else 0):
            raise InvalidArgument(f"{len(self._descriptors)} descriptors belong to no message")

    def leftover(self) -> tuple[bytes, list[int]]:
        """What is not yet a whole message; the descriptors stay this decoder's."""
        return bytes(self._buffer), list(self._descriptors)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self._buffer.clear()


def request(number: int, call: str, arguments: Json, descriptors: int = 0) -> bytes:
    return encode({**arguments, "id": number, "call": call, "descriptors": descriptors})


def answer(number: int, result: Json, descriptors: int = 0) -> bytes:
    return encode({"id": number, "ok": result, "descriptors": descriptors})


def failure(number: int, error: BaseException) -> bytes:
    return encode({"id": number, "error": describe(error)})


def decode(kind: type[T], value: object, what: str) -> T:
    """An object of the wire as one of the dataclasses above; `InvalidArgument` names what is wrong."""
    return codec.decode(kind, value, what)


def plain(value: object) -> Json:
    """The object of the wire of one of the dataclasses above."""
    return codec.encode(value)


_KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GoraeError)
}


def describe(error: BaseException) -> Json:
    """An error as an object. What is no GoraeError is the supervisor's own fault and travels as Unavailable."""
    if isinstance(error, BirthError):
        return {
            "kind": type(error).__name__,
            "message": str(error),
            "step": error.step,
            "errno": error.errno,
            "path": error.path,
        }
    if isinstance(error, GoraeError):
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": "Unavailable", "message": f"the supervisor failed: {type(error).__name__}: {error}"}


def error_of(description: object) -> GoraeError:
    """The error that `describe` described."""
    if not isinstance(description, dict):
        return Unavailable("the supervisor sent an error that cannot be read")
    kind = _KINDS.get(str(description.get("kind")), Unavailable)
    message = str(description.get("message", ""))
    if issubclass(kind, BirthError):
        number = description.get("errno")
        return kind(
            message,
            step=str(description.get("step", "")),
            errno=number if isinstance(number, int) else 0,
            path=str(description.get("path", "")),
        )
    return kind(message)


_EVENTS: dict[str, type[Exited] | type[ExecExited] | type[OutOfMemory]] = {
    "exit": Exited,
    "exec_exit": ExecExited,
    "oom": OutOfMemory,
}
_EVENT_NAMES = {kind: name for name, kind in _EVENTS.items()}


def event(happened: Event) -> bytes:
    return encode({"event": _EVENT_NAMES[type(happened)], **plain(happened)})


def event_of(message: Json) -> Event | None:
    """None for an event that this version does not know."""
    kind = _EVENTS.get(str(message.get("event")))
    return None if kind is None else decode(kind, message, "event")
