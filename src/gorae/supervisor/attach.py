"""One attach socket.

    supervisor → socket   without a terminal: frames  | stream u8 | 0 0 0 | length u32, big-endian | data |
                          with one: raw bytes
    socket → supervisor   raw stdin; its end is shutdown(SHUT_WR), or the socket being closed

The socket is ours; the other end is joined to a client's connection by the engine, which does not look at what flows. It is closed
when the process is dead and everything has been taken. A peer that stops reading holds the program up, not us: see `stdio`.
"""

from __future__ import annotations

import _socket
import os
import stat
from collections import deque
from typing import TYPE_CHECKING

from gorae.errors import InvalidArgument
from gorae.logs.record import STDERR, STDOUT
from gorae.supervisor.loop import ERR, HUP, IN, OUT, Timer

if TYPE_CHECKING:
    from gorae.supervisor.protocol import Streams
    from gorae.supervisor.stdio import Session

CHUNK = 64 << 10
LAST_WORDS = 60.0  # seconds that a peer has to take the rest, once the process is dead
BATCH = 64  # buffers in one sendmsg


class Attachment:
    """Owns its socket. Made by `attach`."""

    def __init__(self, session: Session, sock: _socket.socket, streams: Streams) -> None:
        self.session = session
        self.sock = sock
        self.streams = streams
        self.waiting = 0
        self.finishing = False
        self.reading = streams.stdin
        self._queue: deque[bytes | memoryview] = deque()
        self._held = False
        self._last_words: Timer | None = None
        self._wanted = {STDOUT: streams.stdout, STDERR: streams.stderr}

    def begin(self) -> None:
        self.session.join(self)
        self.watch()

    def send(self, stream: int, data: bytes) -> None:
        if self.finishing or self.sock.fileno() < 0 or not self._wanted[stream]:
            return
        parts = (data,) if self.session.tty else (bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big"), data)
        if self._queue:
            self._queue.extend(parts)
            self.waiting += sum(map(len, parts))
            return
        self._queue.extend(parts)
        self.waiting = sum(map(len, parts))
        self._flush()
        if self._queue:
            self.watch()

    def finish(self) -> None:
        """Closes the socket as soon as the peer has taken everything, or after a minute."""
        if self.finishing or self.sock.fileno() < 0:
            return
        self.finishing = True
        self.reading = False
        if self._queue:
            self._last_words = self.session.loop.after(LAST_WORDS, self.close)
            self.watch()
        else:
            self.close()

    def close(self) -> None:
        """Idempotent."""
        descriptor = self.sock.fileno()
        if descriptor < 0:
            return
        self.session.loop.forget(descriptor)
        if self._last_words is not None:
            self._last_words.cancel()
        self.sock.close()
        self._queue.clear()
        self.waiting = 0
        self.session.leave(self)
        if self.reading:
            self.reading = False
            self.session.stdin_left()

    def resume_input(self) -> None:
        if self._held:
            self._held = False
            self.watch()

    def queued(self) -> bytes:
        """What waits to be taken, for `upgrade`."""
        return b"".join(self._queue)

    def restore(self, queued: bytes, reading: bool, finishing: bool) -> None:
        self.reading = reading
        if queued:
            self._queue.append(queued)
            self.waiting = len(queued)
        if finishing:
            self.finish()

    def watch(self) -> None:
        if self.sock.fileno() < 0:
            return
        # Nothing at all is watched for while neither direction is wanted: but the peer's leaving (EPOLLHUP) is still told.
        events = (IN if self.reading and not self._held else 0) | (OUT if self._queue else 0)
        self.session.loop.watch(self.sock.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        if events & IN and self.reading and not self._held:
            self._read()
        if self.sock.fileno() >= 0 and events & OUT:
            self._flush()
            if self.sock.fileno() < 0:
                return
            self.session.balance()
            if not self._queue:
                if self.finishing:
                    self.close()
                else:
                    self.watch()
        elif events & (HUP | ERR) and self.sock.fileno() >= 0 and not (events & IN and self.reading):
            self.close()

    def _read(self) -> None:
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.reading = False
            self.watch()
            self.session.stdin_left()
        elif not self.session.receive(data):
            self._held = True
            self.watch()

    def _flush(self) -> None:
        try:
            while self._queue:
                batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
                sent = self.sock.sendmsg(batch, (), _socket.MSG_NOSIGNAL)
                self.waiting -= sent
                while sent:
                    first = self._queue[0]
                    if sent >= len(first):
                        sent -= len(first)
                        self._queue.popleft()
                    else:
                        self._queue[0] = memoryview(first)[sent:]
                        sent = 0
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # EPIPE: the peer is gone


def checked_socket(descriptor: int) -> _socket.socket:
    """Takes over a descriptor that came as an attach socket. Unless it is a unix stream socket it is closed: `InvalidArgument`."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise InvalidArgument("the descriptor for attach is no socket")
        sock = _socket.socket(fileno=descriptor)
    except (OSError, InvalidArgument) as error:
        os.close(descriptor)
        raise InvalidArgument(f"the descriptor for attach cannot be used: {error}") from error
    if sock.family != _socket.AF_UNIX or sock.type != _socket.SOCK_STREAM:
        sock.close()
        raise InvalidArgument("the descriptor for attach is no unix stream socket")
    sock.setblocking(False)
    return sock
