"""The socket: connections, their messages, the answers.

Clients are processes of our own user (SO_PEERCRED, and the directory is 0700). One that sends rubbish, brings descriptors that
nothing claims, or does not read what it is told is cut off; the containers do not notice. A connection ends with everything that is
its own; what it asked for goes on.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence

from gorae.errors import GoraeError, InvalidArgument
from gorae.linux import fd
from gorae.supervisor import protocol
from gorae.supervisor.loop import ERR, HUP, IN, OUT, Loop
from gorae.supervisor.protocol import MAX_DESCRIPTORS, Decoder, Event, Json

BACKLOG = 128
MAX_CONNECTIONS = 256
MAX_OUTGOING = 16 << 20
BREATH = 0.1  # seconds without accepting, when we are out of descriptors

Dispatch = Callable[["Connection", int, str, Json, list[int]], None]


class Connection:
    """One client. Owns its socket, and duplicates of descriptors that wait to be sent."""

    def __init__(self, server: Server, sock: _socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.subscribed = False
        self.decoder = Decoder()
        self.outgoing: deque[tuple[bytes, list[int]]] = deque()
        self._size = 0
        self._paused = False

    @property
    def open(self) -> bool:
        return self.sock.fileno() >= 0

    def watch(self) -> None:
        if self.open:
            events = (0 if self._paused else IN) | (OUT if self.outgoing else 0)
            self.server.loop.watch(self.sock.fileno(), events, self._ready)

    def pause(self, paused: bool) -> None:
        """While paused no request is read; answers still go out."""
        self._paused = paused
        self.watch()

    def answer(self, number: int, result: Json, descriptors: Sequence[int] = ()) -> None:
        """The descriptors stay the caller's."""
        self.send(protocol.answer(number, result, len(descriptors)), descriptors)

    def fail(self, number: int, error: BaseException) -> None:
        self.send(protocol.failure(number, error))

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        if not self.open:
            return
        self._size += len(data)
        if self.outgoing or not self._send_now(data, descriptors):
            if self._size > MAX_OUTGOING:
                self.close()
                return
            if self.open:
                self.watch()

    def close(self) -> None:
        """Idempotent."""
        if not self.open:
            return
        self.server.loop.forget(self.sock.fileno())
        self.sock.close()
        self.decoder.close()
        for _, descriptors in self.outgoing:
            _close(descriptors)
        self.outgoing.clear()
        self.server.connections.discard(self)

    def restore(
        self, incoming: bytes, descriptors: Sequence[int], outgoing: Sequence[tuple[bytes, list[int]]], subscribed: bool
    ) -> None:
        """What the program before an upgrade had in hand."""
        self.decoder.feed(incoming, descriptors)
        self.subscribed = subscribed
        self.outgoing.extend(outgoing)
        self._size = sum(len(data) for data, _ in outgoing)

    def _send_now(self, data: bytes, descriptors: Sequence[int]) -> bool:
        try:
            sent = fd.send_message(self.sock, data, descriptors)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return True
        self._size -= sent
        if sent == len(data):
            return True
        self.outgoing.append((data[sent:], [] if sent else [fd.duplicate(descriptor) for descriptor in descriptors]))
        return False

    def _ready(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if self.open and events & IN and not self._paused:
            self._read()
        elif self.open and events & (HUP | ERR):
            self.close()

    def _flush(self) -> None:
        while self.outgoing:
            data, descriptors = self.outgoing[0]
            try:
                sent = fd.send_message(self.sock, data, descriptors)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            _close(descriptors)
            self._size -= sent
            if sent < len(data):
                self.outgoing[0] = (data[sent:], [])
                return
            self.outgoing.popleft()
        self.watch()

    def _read(self) -> None:
        try:
            data, descriptors = fd.receive_message(self.sock, 262144, MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self.decoder.feed(data, descriptors)
        self.process()

    def process(self) -> None:
        """Does what has been asked."""
        try:
            for message, descriptors in self.decoder.messages():
                self._handle(message, descriptors)
                if not self.open:
                    return
                if self._paused:
                    break  # the rest of the buffer is for the program that we are about to become
        except GoraeError as error:
            print(f"a client was cut off: {error}", file=sys.stderr, flush=True)
            self.close()

    def _handle(self, message: Json, descriptors: list[int]) -> None:
        number, call = message.pop("id", None), message.pop("call", None)
        if type(number) is not int or not 0 <= number < 2**53 or type(call) is not str:
            _close(descriptors)
            raise InvalidArgument("a request needs an id and a call")
        self.server.dispatch(self, number, call, message, descriptors)


class Server:
    """Listens; `dispatch` gets each request, and its descriptors to own."""

    def __init__(self, loop: Loop, listener: _socket.socket, dispatch: Dispatch) -> None:
        self.loop = loop
        self.listener = listener
        self.dispatch = dispatch
        self.connections: set[Connection] = set()

    def listen(self) -> None:
        self.loop.watch(self.listener.fileno(), IN, self._accept)

    def pause(self, paused: bool) -> None:
        if paused:
            self.loop.forget(self.listener.fileno())
        else:
            self.listen()
        for connection in tuple(self.connections):
            connection.pause(paused)
            if not paused:
                connection.process()

    def add(self, sock: _socket.socket) -> Connection:
        sock.setblocking(False)
        connection = Connection(self, sock)
        self.connections.add(connection)
        return connection

    def publish(self, event: Event) -> None:
        data = protocol.event(event)
        for connection in tuple(self.connections):
            if connection.subscribed:
                connection.send(data)

    def close(self) -> None:
        for connection in tuple(self.connections):
            connection.close()
        self.loop.forget(self.listener.fileno())
        self.listener.close()

    def _accept(self, _: int) -> None:
        try:
            descriptor, _address = self.listener._accept()  # type: ignore[attr-defined]  # what socket.accept wraps
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                self.loop.forget(self.listener.fileno())
                self.loop.after(BREATH, self.listen)
            return
        sock = _socket.socket(fileno=descriptor)
        if len(self.connections) >= MAX_CONNECTIONS or not _same_user(sock):
            sock.close()
            return
        self.add(sock).watch()


def listen_at(path: str) -> _socket.socket:
    """A listening socket at `path`, 0600, which replaces a dead one. Whoever calls holds the lock on the directory."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    return sock


def _same_user(sock: _socket.socket) -> bool:
    _, user, _ = struct.unpack("3i", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
    return bool(user in (0, os.geteuid()))


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
