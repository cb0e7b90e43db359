"""What each call does: the table of docs/seams.md, row by row.

A handler gets the request's arguments and its descriptors, which it owns. It answers at once, or later (start, exec, upgrade).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae import crashpoints
from gorae.errors import Conflict, GoraeError, InvalidArgument, Unsupported
from gorae.linux.process import pidfd_send_signal
from gorae.linux.tty import set_window_size
from gorae.logs.record import STDERR
from gorae.supervisor.attach import Attachment, checked_socket
from gorae.supervisor.children import EXITED, Child, Container, row_of
from gorae.supervisor.executor import Birthing, steps_of
from gorae.supervisor.loop import complain
from gorae.supervisor.protocol import (
    VERSION,
    ExecRequest,
    Hello,
    Json,
    LogPosition,
    StartRequest,
    Streams,
    decode,
    plain,
)
from gorae.supervisor.server import Connection

if TYPE_CHECKING:
    from gorae.supervisor.main import Supervisor

FEATURES = ("adopt", "upgrade", "explain", "oom", "keep")

Descriptors = list[int]  # in the class the name `list` is its method
Handler = Callable[["Calls", Connection, int, Json, Descriptors], None]


class Calls:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.table = supervisor.table

    def dispatch(self, connection: Connection, number: int, call: str, arguments: Json, descriptors: Descriptors) -> None:
        """Every error is an answer; descriptors that a handler has not taken are closed."""
        try:
            handler = HANDLERS.get(call)
            if handler is None:
                raise Unsupported(f"the supervisor knows no call {call!a}")
            if descriptors and call not in TAKE_DESCRIPTORS:
                raise InvalidArgument(f"{call} takes no descriptors")
            handler(self, connection, number, arguments, descriptors)
        except Exception as error:
            if not isinstance(error, (GoraeError, OSError)):
                complain()
            connection.fail(number, error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def hello(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        version = arguments.get("version")
        if version != VERSION:
            raise Unsupported(f"protocol version {version!a}: this supervisor speaks {VERSION}")
        connection.answer(number, plain(self.greeting()))

    def subscribe(self, connection: Connection, number: int, arguments: Json, descriptors: Descriptors) -> None:
        connection.subscribed = True
        self.list(connection, number, arguments, descriptors)

    def list(self, connection: Connection, number: int, _arguments: Json, _: Descriptors) -> None:
        connection.answer(number, {"containers": [plain(row) for row in self.table.rows()]})

    def start(self, connection: Connection, number: int, arguments: Json, descriptors: Descriptors) -> None:
        request = decode(StartRequest, arguments, "start")
        check_name(request.container)
        if not request.directory.startswith("/"):
            raise InvalidArgument(f"directory {request.directory!a} is not absolute")

        def done(outcome: Child | BaseException, birth: Birthing | None) -> None:
            if isinstance(outcome, BaseException):
                connection.fail(number, outcome)
                return
            assert isinstance(outcome, Container)
            names, duplicates = duplicates_of(outcome)
            result = {**born(outcome, birth, request.explain), "names": names, "handle": handle_of(outcome)}
            connection.answer(number, result, duplicates)

        self.supervisor.births.start(request, taken(descriptors), done)

    def exec(self, connection: Connection, number: int, arguments: Json, descriptors: Descriptors) -> None:
        request = decode(ExecRequest, arguments, "exec")
        check_name(request.exec)

        def done(outcome: Child | BaseException, birth: Birthing | None) -> None:
            if isinstance(outcome, BaseException):
                connection.fail(number, outcome)
            else:
                connection.answer(number, born(outcome, birth, request.explain))

        self.supervisor.births.exec(request, taken(descriptors), done)

    def attach(self, connection: Connection, number: int, arguments: Json, descriptors: Descriptors) -> None:
        child = self._child(arguments, alive=True)
        streams = decode(Streams, arguments.get("streams", {}), "attach: streams")
        if len(descriptors) != 1:
            raise InvalidArgument(f"attach needs one socket, {len(descriptors)} came")
        assert child.session is not None
        sock = checked_socket(taken(descriptors)[0])
        position = child.session.log_position
        Attachment(child.session, sock, streams).begin()
        connection.answer(number, {} if position is None else {"log_position": plain(LogPosition(*position))})

    def resize(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        child = self._child(arguments, alive=True)
        height, width = (_number(arguments, name, 65535) for name in ("height", "width"))
        if child.session is None or not child.session.tty:
            raise Conflict("it has no terminal that could be resized")
        terminal = child.session.outputs[0].descriptor
        if terminal >= 0:
            set_window_size(terminal, height, width)
        connection.answer(number, {})

    def signal(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        child = self._child(arguments, alive=True)
        wanted = _number(arguments, "signal", signal.NSIG - 1)
        if arguments.get("all") is True and isinstance(child, Container) and child.cgroup:
            self.supervisor.executor.signal_all(child.cgroup, wanted)
        else:
            try:
                pidfd_send_signal(child.pidfd, wanted)
            except ProcessLookupError:
                pass  # it died a moment ago: its exit is on the way
        connection.answer(number, {})

    def forget(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        child = self._child(arguments)
        if child.state != EXITED:
            raise Conflict(f"container {child.container} is {child.told_state}: only the dead are forgotten")
        if isinstance(child, Container):
            crashpoints.hit("supervisor.forget.before")
            self.supervisor.reaper.abandon(child)
            del self.table.containers[child.container]
        else:
            del self.table.container(child.container).execs[child.exec or ""]
        crashpoints.hit("supervisor.forget.after")
        connection.answer(number, {})

    def adopt(self, connection: Connection, number: int, arguments: Json, descriptors: Descriptors) -> None:
        request = decode(StartRequest, arguments, "adopt")
        check_name(request.container)
        names = arguments.get("names")
        if not isinstance(names, list) or len(names) != len(descriptors):
            raise InvalidArgument("adopt: names and descriptors do not match")
        container = self.supervisor.adoption.adopt(
            request,
            pid=_number(arguments, "pid", 2**31 - 1),
            started_at=_number(arguments, "started_at", 2**63 - 1),
            given=dict(zip(map(str, names), taken(descriptors), strict=True)),
        )
        connection.answer(number, plain(row_of(container)))

    def duplicates(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        container = self._child({"container": arguments.get("container")}, alive=True)
        assert isinstance(container, Container)
        names, duplicates = duplicates_of(container)
        connection.answer(number, {**born(container, None, False), "names": names, "handle": handle_of(container)}, duplicates)

    def keep(self, connection: Connection, number: int, arguments: Json, descriptors: Descriptors) -> None:
        container = self._child({"container": arguments.get("container")}, alive=True)
        assert isinstance(container, Container)
        container.keep(taken(descriptors))
        connection.answer(number, {})

    def kept(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        container = self._child({"container": arguments.get("container")}, alive=True)
        assert isinstance(container, Container)
        connection.answer(number, {}, container.kept)

    def upgrade(self, connection: Connection, number: int, arguments: Json, _: Descriptors) -> None:
        argv = arguments.get("argv")
        if argv is not None and not (isinstance(argv, list) and argv and all(isinstance(word, str) for word in argv)):
            raise InvalidArgument("upgrade: argv must be a list of words")
        self.supervisor.upgrade.ask(connection, number, argv)

    def shutdown(self, connection: Connection, number: int, _arguments: Json, _: Descriptors) -> None:
        living = self.table.living()
        if living or len(self.supervisor.births):
            raise Conflict(f"{living} containers are alive: stop them first")
        connection.answer(number, {})
        self.supervisor.loop.stop()

    def greeting(self) -> Hello:
        return Hello(VERSION, os.getpid(), FEATURES)

    def _child(self, arguments: Json, *, alive: bool = False) -> Child:
        container, exec = arguments.get("container"), arguments.get("exec")
        if type(container) is not str or not (exec is None or type(exec) is str):
            raise InvalidArgument("container and exec must be names")
        return self.table.alive(container, exec) if alive else self.table.find(container, exec)


HANDLERS: dict[str, Handler] = {
    "hello": Calls.hello,
    "subscribe": Calls.subscribe,
    "list": Calls.list,
    "start": Calls.start,
    "exec": Calls.exec,
    "attach": Calls.attach,
    "resize": Calls.resize,
    "signal": Calls.signal,
    "forget": Calls.forget,
    "duplicates": Calls.duplicates,
    "adopt": Calls.adopt,
    "keep": Calls.keep,
    "kept": Calls.kept,
    "upgrade": Calls.upgrade,
    "shutdown": Calls.shutdown,
}
TAKE_DESCRIPTORS = frozenset(("start", "exec", "attach", "adopt", "keep"))


def taken(descriptors: Descriptors) -> list[int]:
    """The descriptors, which belong to whoever is called next."""
    mine = descriptors[:]
    descriptors.clear()
    return mine


def check_name(name: str) -> None:
    """Names are the engine's identifiers; they are never used as a path, but they are printed."""
    if not name or len(name) > 255 or not name.isprintable():
        raise InvalidArgument(f"name {name[:60]!a} must be 1 to 255 printable characters")


def born(child: Child, birth: Birthing | None, explain: bool) -> Json:
    result: Json = {"pid": child.pid, "started_at": child.started_at}
    if birth is not None and birth.warnings:
        result["warnings"] = [*birth.warnings]
    if birth is not None and explain:
        result["steps"] = [*steps_of(birth.timings)]
    return result


def handle_of(container: Container) -> Json:
    return {"cgroup": container.cgroup}


def duplicates_of(container: Container) -> tuple[list[str], list[int]]:
    """The names and numbers of what the engine gets duplicates of.

    Not stdin when stdin_once: the program would not see its end before the engine closed the duplicate, too. (When the supervisor
    dies the one writer that was attached is gone anyhow.)
    """
    found: dict[str, int] = {"pidfd": container.pidfd}
    session = container.session
    if session is not None and session.tty:
        found["pty"] = session.outputs[0].descriptor
    elif session is not None:
        for output in session.outputs:
            found["stderr" if output.stream == STDERR else "stdout"] = output.descriptor
        if session.input is not None and not session.stdin_once:
            found["stdin"] = session.input.descriptor
    found = {name: descriptor for name, descriptor in found.items() if descriptor >= 0}
    return [*found], [*found.values()]


def _number(arguments: Json, name: str, most: int) -> int:
    value = arguments.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidArgument(f"{name} must be a number from 0 to {most}")
    return value
