"""A hijacked stream joined to local descriptors: what `run`, `attach` and `exec` do between start and end.

    local stdin  ──raw──▶  engine ──▶ program        end of stdin = shutdown(SHUT_WR) = end of the program's stdin
    stdout, stderr ◀─────  engine ◀── program        TTY: raw; otherwise Docker's 8-byte frames (wire.stdcopy)

One thread, one `poll`. Local stdin is read only when the engine can take more, and the engine is read only as fast as
stdout takes it, so neither side's memory grows.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae.client.http import Response
from gorae.wire.stdcopy import Decoder

if TYPE_CHECKING:
    from gorae.client.tls import SecureSocket

BLOCK = 64 * 1024


def join(
    response: Response,
    *,
    stdin: int | None,
    stdout: int,
    stderr: int,
    framed: bool,
    wakeup: int | None = None,
    on_wakeup: Callable[[], None] = lambda: None,
) -> None:
    """Pumps until the engine ends its side. `wakeup` is a descriptor that wakes the loop (a signal pipe); nothing is closed but the
    connection. Raises BrokenPipeError when stdout has gone."""
    link = response.connection.socket
    link.setblocking(False)
    sink = Sink(stdout, stderr, framed)
    sink.write(response.connection.leftover())
    source = Source(stdin, link)
    try:
        if not _drain(link, sink):  # what TLS has decrypted already, `poll` does not see
            return
        while True:
            poll = select.poll()
            poll.register(link, select.POLLIN | (select.POLLOUT if source.pending or getattr(link, "pending", False) else 0))
            if wakeup is not None:
                poll.register(wakeup, select.POLLIN)
            if source.wants_input:
                poll.register(source.descriptor, select.POLLIN)
            for descriptor, event in poll.poll():
                if descriptor == wakeup:
                    on_wakeup()
                elif descriptor == source.descriptor and descriptor != link.fileno():
                    source.read()
                else:
                    if event & select.POLLOUT:
                        source.send()
                    if event & ~select.POLLOUT and not _drain(link, sink):
                        return
    finally:
        response.connection.close()


def _drain(link: socket.socket | SecureSocket, sink: Sink) -> bool:
    """What the engine has sent, written out; False at its end. TLS may hold decrypted bytes that `poll` does not see."""
    while True:
        try:
            data = link.recv(BLOCK)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        except OSError as error:
            if type(error).__name__ == "SSLWantReadError":
                return True
            raise
        if not data:
            return False
        sink.write(data)


class Source:
    """Local stdin on its way to the engine: one block at a time, and its end as a half-close."""

    def __init__(self, stdin: int | None, link: socket.socket | SecureSocket) -> None:
        self.descriptor = -1 if stdin is None else stdin
        self.pending = b""
        self._ended = stdin is None
        self._link = link

    @property
    def wants_input(self) -> bool:
        return not self._ended and not self.pending

    def read(self) -> None:
        try:
            self.pending = os.read(self.descriptor, BLOCK)
        except BlockingIOError:
            return
        if self.pending:
            self.send()
        else:
            self._end()

    def send(self) -> None:
        try:
            self.pending = self.pending[self._link.send(self.pending) :]
        except BlockingIOError:
            pass
        except OSError:
            # The program has ended: what it did not read is lost, as with any pipe.
            self.pending = b""
            self._ended = True

    def _end(self) -> None:
        self._ended = True
        try:
            self._link.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Sink:
    """Where the engine's bytes go: stream 2 to stderr, all else to stdout."""

    def __init__(self, stdout: int, stderr: int, framed: bool) -> None:
        self._targets = {0: stdout, 1: stdout, 2: stderr}
        self._decoder = Decoder() if framed else None
        self._stdout = stdout

    def write(self, data: bytes) -> None:
        if self._decoder is None:
            _write_all(self._stdout, data)
            return
        for stream, payload in self._decoder.feed(data):
            _write_all(self._targets.get(stream, self._stdout), payload)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
