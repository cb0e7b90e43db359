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

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence

from gorae.errors import GoraeError, InvalidArgument, Unavailable
from gorae.linux import fd
from gorae.supervisor import protocol
from gorae.supervisor.protocol import (
    MAX_DESCRIPTORS,
    VERSION,
    Decoder,
    Event,
    ExecRequest,
    Hello,
    Json,
    Living,
    LogPosition,
    Started,
    StartedExec,
    StartRequest,
    Streams,
    decode,
    plain,
)

Descriptors = list[int]  # in the class the name `list` is its method
Answer = tuple[Json, Descriptors]


class SupervisorClient:
    """A connection to a supervisor; make it with `connect`, end it with `aclose`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._outgoing: deque[tuple[bytes, Descriptors]] = deque()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._number = 0
        self._lost: Unavailable | None = None
        self._hello: Hello | None = None
        self._loop.add_reader(sock, self._readable)

    @classmethod
    async def connect(cls, path: str, *, timeout: float = 10.0) -> SupervisorClient:
        """Connects and says hello; `Unavailable` when nobody answers or the version does not fit."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(sock, path)
        except (OSError, TimeoutError) as error:
            sock.close()
            raise Unavailable(f"no supervisor answers at {path}: {error or 'timeout'}") from error
        except BaseException:
            sock.close()
            raise
        client = cls(sock)
        try:
            async with asyncio.timeout(timeout):
                client._hello = decode(Hello, await client._call("hello", {"version": VERSION}), "hello")
        except TimeoutError as error:
            await client.aclose()
            raise Unavailable(f"the supervisor at {path} does not answer") from error
        except BaseException:
            await client.aclose()
            raise
        return client

    @property
    def hello(self) -> Hello:
        """What the supervisor said of itself."""
        assert self._hello is not None
        return self._hello

    @property
    def connected(self) -> bool:
        return self._lost is None

    async def aclose(self) -> None:
        self._drop(Unavailable("the connection to the supervisor was closed"))

    async def subscribe(self) -> tuple[Living, ...]:
        """The table at this instant; every later change arrives as an event, none is missed between."""
        return _table(await self._call("subscribe", {}))

    async def events(self) -> AsyncIterator[Event]:
        """Events since `subscribe`, in order. One consumer. Raises `Unavailable` when the connection is gone."""
        while True:
            if self._lost is not None and self._events.empty():
                raise Unavailable(str(self._lost))
            event = await self._events.get()
            if event is not None:
                yield event

    async def list(self) -> tuple[Living, ...]:
        return _table(await self._call("list", {}))

    async def start(self, request: StartRequest, sockets: Sequence[int] = ()) -> Started:
        """Returns when the program runs. `sockets`: one a `request.attach`, in order.

        `InvalidArgument` (spec), `Conflict` (container is already there), `StorageFull` (log), `BirthError` and its kinds.
        """
        result, descriptors = await self._ask("start", _start_arguments(request), sockets)
        return _started(request.container, result, descriptors)

    async def exec(self, request: ExecRequest, sockets: Sequence[int] = ()) -> StartedExec:
        """`NotFound` without a live container, `Conflict` when it is paused or the exec's name is taken."""
        arguments = {**plain(_without_process(request)), "process": request.process}
        result = await self._call("exec", arguments, sockets)
        return decode(StartedExec, {**result, "container": request.container, "exec": request.exec}, "answer to exec")

    async def attach(self, container: str, socket: int, streams: Streams, exec: str | None = None) -> LogPosition | None:
        """Output flows to the socket from the answered position in the log on: read the log up to there and none is lost."""
        result = await self._call("attach", {**_whom(container, exec), "streams": plain(streams)}, [socket])
        position = result.get("log_position")
        return None if position is None else decode(LogPosition, position, "log position")

    async def resize(self, container: str, height: int, width: int, exec: str | None = None) -> None:
        await self._call("resize", {**_whom(container, exec), "height": height, "width": width})

    async def signal(self, container: str, signal: int, exec: str | None = None, *, all: bool = False) -> None:
        """`all`: every process of the container's cgroup. `NotFound` when it is dead."""
        await self._call("signal", {**_whom(container, exec), "signal": signal, "all": all})

    async def forget(self, container: str, exec: str | None = None) -> None:
        """Drops a dead container and its record, or a dead exec. `Conflict` while it lives, `NotFound` when it is not there."""
        await self._call("forget", _whom(container, exec))

    async def adopt(self, started: Started, request: StartRequest) -> Living:
        """Gives a *new* supervisor a container of one that died: the handle and the duplicates that `start` answered.

        Stdio descriptors may be None when they were lost; then the container runs on without log.
        """
        kept = {name: number for name in _NAMES if (number := getattr(started, name)) is not None and number >= 0}
        arguments = {
            **_start_arguments(request),
            "handle": started.handle,
            "started_at": started.started_at,
            "pid": started.pid,
            "names": [*kept],
        }
        return decode(Living, await self._call("adopt", arguments, [*kept.values()]), "answer to adopt")

    async def duplicates(self, container: str) -> Started:
        """The duplicates of a live container's descriptors anew, for an engine that was restarted. `NotFound` when it is dead."""
        result, descriptors = await self._ask("duplicates", {"container": container})
        return _started(container, result, descriptors)

    async def keep(self, container: str, descriptors: Sequence[int]) -> None:
        """Duplicates that the supervisor holds as long as the container lives: for an engine that is restarted."""
        await self._call("keep", {"container": container}, descriptors)

    async def kept(self, container: str) -> Descriptors:
        """What was given to `keep`, in that order; the caller owns them. `NotFound` when it is dead."""
        return (await self._ask("kept", {"container": container}))[1]

    async def upgrade(self, argv: Sequence[str] | None = None) -> Hello:
        """The supervisor executes itself anew; the answer comes from the new image over this same connection.

        `argv`: the command line of the new program, to which `--resume FD` is appended; None: the files it was started from.
        """
        self._hello = decode(Hello, await self._call("upgrade", {} if argv is None else {"argv": [*argv]}), "hello")
        return self._hello

    async def shutdown(self) -> None:
        """`Conflict` while containers live."""
        await self._call("shutdown", {})

    # ── the connection ──

    async def _call(self, call: str, arguments: Json, descriptors: Sequence[int] = ()) -> Json:
        result, received = await self._ask(call, arguments, descriptors)
        for descriptor in received:
            os.close(descriptor)
        return result

    async def _ask(self, call: str, arguments: Json, descriptors: Sequence[int] = ()) -> Answer:
        if self._lost is not None:
            raise Unavailable(str(self._lost))
        if len(descriptors) > MAX_DESCRIPTORS:
            raise InvalidArgument(f"{len(descriptors)} descriptors in one call, {MAX_DESCRIPTORS} are allowed")
        self._number += 1
        number = self._number
        data = protocol.request(number, call, arguments, len(descriptors))
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._pending[number] = future
        try:
            self._send(data, descriptors)
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                for descriptor in future.result()[1]:  # answered and cancelled in the same turn of the loop
                    os.close(descriptor)
            raise
        finally:
            self._pending.pop(number, None)

    def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        if not self._outgoing:
            try:
                sent = fd.send_message(self._sock, data, descriptors)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                if error.errno == errno.EBADF and not self._sock.fileno() < 0:
                    raise InvalidArgument("one of the descriptors given is not open") from error
                self._drop(Unavailable(f"the supervisor is gone: {error.strerror}"))
                return
            if sent == len(data):
                return
            data, descriptors = data[sent:], [] if sent else descriptors
            self._loop.add_writer(self._sock, self._writable)
        self._outgoing.append((data, [fd.duplicate(descriptor) for descriptor in descriptors]))

    def _writable(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                sent = fd.send_message(self._sock, data, descriptors)
            except BlockingIOError:
                return
            except OSError as error:
                self._drop(Unavailable(f"the supervisor is gone: {error.strerror}"))
                return
            for descriptor in descriptors:
                os.close(descriptor)
            if sent < len(data):
                self._outgoing[0] = (data[sent:], [])
                continue
            self._outgoing.popleft()
        self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        try:
            data, descriptors = fd.receive_message(self._sock, 262144, MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(Unavailable(f"the supervisor is gone: {error.strerror}"))
            return
        if not data:
            self._drop(Unavailable("the supervisor closed the connection"))
            return
        self._decoder.feed(data, descriptors)
        try:
            for message, claimed in self._decoder.messages():
                self._deliver(message, claimed)
        except GoraeError as error:
            self._drop(Unavailable(f"the supervisor cannot be understood: {error}"))

    def _deliver(self, message: Json, descriptors: Descriptors) -> None:
        if "event" in message:
            event = protocol.event_of(message)
            if event is not None:
                self._events.put_nowait(event)
            return
        number = message.get("id")
        future = self._pending.get(number) if isinstance(number, int) else None
        if future is None or future.done():
            for descriptor in descriptors:  # whoever asked does not wait any more
                os.close(descriptor)
        elif "error" in message:
            future.set_exception(protocol.error_of(message["error"]))
        else:
            result = message.get("ok")
            future.set_result((result if isinstance(result, dict) else {}, descriptors))

    def _drop(self, reason: Unavailable) -> None:
        if self._lost is not None:
            return
        self._lost = reason
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._decoder.close()
        for _, descriptors in self._outgoing:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outgoing.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Unavailable(str(reason)))
        self._events.put_nowait(None)


_NAMES = ("pidfd", "stdin", "stdout", "stderr", "pty")


def _start_arguments(request: StartRequest) -> Json:
    # The specification is big and plain already: it is not copied.
    return {
        "container": request.container,
        "directory": request.directory,
        "spec": request.spec,
        "context": plain(request.context),
        "stdio": plain(request.stdio),
        "log": plain(request.log),
        "attach": [plain(streams) for streams in request.attach],
        "explain": request.explain,
    }


def _without_process(request: ExecRequest) -> ExecRequest:
    return ExecRequest(request.container, request.exec, {}, request.user, request.stdio, request.attach, request.explain)


def _started(container: str, result: Json, descriptors: list[int]) -> Started:
    names = result.pop("names", [])
    try:
        if len(names) != len(descriptors) or not set(names) <= set(_NAMES):
            raise Unavailable("the supervisor's answer to start does not name its descriptors")
        return decode(Started, {**result, "container": container, **dict(zip(names, descriptors, strict=True))}, "answer to start")
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _whom(container: str, exec: str | None) -> Json:
    return {"container": container} if exec is None else {"container": container, "exec": exec}


def _table(result: Json) -> tuple[Living, ...]:
    rows = result.get("containers")
    if not isinstance(rows, list):
        raise Unavailable("the supervisor's answer has no table")
    return tuple(decode(Living, row, "table") for row in rows)
