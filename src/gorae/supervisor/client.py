"""The engine's side of the supervisor's socket: one async method a call.

    client = await SupervisorClient.connect("/run/gorae/supervisor/supervisor.sock")
    living = await client.subscribe()              # the table, and from now on events
    async for event in client.events(): ...        # Exited · ExecExited · OutOfMemory; ends with Unavailable
    started = await client.start(StartRequest(...), sockets=[theirs])

Descriptors: those passed *to* a call stay the caller's (close your copy after the call); those *returned* belong to the caller
(`Started.close()`). When the connection drops, each pending call and the event iterator raise `Unavailable`.
Errors of the supervisor come back as the `gorae.errors` class they were, a `BirthError` with its step, errno and path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gorae.supervisor.protocol import Event, ExecRequest, Hello, Living, LogPosition, StartRequest, Started, StartedExec, Streams


class SupervisorClient:
    """A connection to a supervisor; make it with `connect`, end it with `aclose`."""

    @classmethod
    async def connect(cls, path: str, *, timeout: float = 10.0) -> SupervisorClient:
        """Connects and says hello; `Unavailable` when nobody answers or the version does not fit."""
        raise NotImplementedError

    @property
    def hello(self) -> Hello:
        """What the supervisor said of itself."""
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    async def subscribe(self) -> tuple[Living, ...]:
        """The table at this instant; every later change arrives as an event, none is missed between."""
        raise NotImplementedError

    def events(self) -> AsyncIterator[Event]:
        """Events since `subscribe`, in order. One consumer. Raises `Unavailable` when the connection is gone."""
        raise NotImplementedError

    async def list(self) -> tuple[Living, ...]:
        raise NotImplementedError

    async def start(self, request: StartRequest, sockets: Sequence[int] = ()) -> Started:
        """Returns when the program runs. `sockets`: one a `request.attach`, in order.

        `InvalidArgument` (spec), `Conflict` (container is already there), `BirthError` and its kinds.
        """
        raise NotImplementedError

    async def exec(self, request: ExecRequest, sockets: Sequence[int] = ()) -> StartedExec:
        """`NotFound` without a live container, `Conflict` when it is paused or the exec's name is taken."""
        raise NotImplementedError

    async def attach(self, container: str, socket: int, streams: Streams, exec: str | None = None) -> LogPosition | None:
        """From the answered position in the log on, output flows to the socket: read the log up to it and nothing is lost or doubled."""
        raise NotImplementedError

    async def resize(self, container: str, height: int, width: int, exec: str | None = None) -> None:
        raise NotImplementedError

    async def signal(self, container: str, signal: int, exec: str | None = None, *, all: bool = False) -> None:
        """`all`: every process of the container's cgroup. `NotFound` when it is dead."""
        raise NotImplementedError

    async def forget(self, container: str, exec: str | None = None) -> None:
        """Drops a dead container and its record, or a dead exec. `Conflict` while it lives."""
        raise NotImplementedError

    async def adopt(self, started: Started, request: StartRequest) -> Living:
        """Gives a *new* supervisor a container of one that died: the handle and the duplicates that `start` answered.

        Stdio descriptors may be -1 or None when they were lost; then the container runs on without log.
        """
        raise NotImplementedError

    async def upgrade(self, argv: Sequence[str] | None = None) -> Hello:
        """The supervisor executes itself anew; the answer comes from the new image over this same connection."""
        raise NotImplementedError

    async def shutdown(self) -> None:
        """`Conflict` while containers live."""
        raise NotImplementedError
