"""The pumps of one process: its output to the log and the attach sockets, their input to its stdin.

    program ── pipe ──► Output ──┬──► log (whole chunks)            program ◄── pipe ── Input ◄── attach sockets
                 pty             └──► each Attachment that wants it              pty

Output is read in chunks of at most 64 KiB. While one attach socket has more than 1 MiB waiting, nothing is read: the program blocks
in write, as under Docker. A log that cannot be written never blocks it. Once the process is dead, what is left in its pipes is
read whatever waits. Input holds at most what its sockets brought in one turn: they are not read before the program has taken it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae.logs.record import STDERR, STDOUT
from gorae.supervisor.loop import IN, OUT, Loop

if TYPE_CHECKING:
    from gorae.logs.writer import Writer
    from gorae.supervisor.attach import Attachment

CHUNK = 64 << 10
HIGH_WATER = 1 << 20
DRAIN = 2 << 20


class Output:
    """The reading end of one stream; owns its descriptor until the end of the stream."""

    def __init__(self, session: Session, descriptor: int, stream: int) -> None:
        self.session = session
        self.descriptor = descriptor
        self.stream = stream
        self._watching = False

    def resume(self) -> None:
        if self.descriptor >= 0 and not self._watching:
            self.session.loop.watch(self.descriptor, IN, self._ready)
            self._watching = True

    def pause(self) -> None:
        if self._watching:
            self.session.loop.forget(self.descriptor)
            self._watching = False

    def drain(self) -> None:
        """Reads what is there now, up to the largest pipe's content, or to the end of the stream."""
        for _ in range(DRAIN // CHUNK):
            if self.descriptor < 0 or not self._read():
                break

    def close(self) -> None:
        if self.descriptor >= 0:
            self.pause()
            os.close(self.descriptor)
            self.descriptor = -1

    def _ready(self, _: int) -> None:
        self._read()

    def _read(self) -> bool:
        """Whether anything was read."""
        try:
            data = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the last slave of the terminal was closed
        if not data:
            self.close()
            self.session.output_ended()
            return False
        self.session.distribute(self.stream, data)
        return True


class Input:
    """The writing end of stdin; owns its descriptor until `close`."""

    def __init__(self, session: Session, descriptor: int) -> None:
        self.session = session
        self.descriptor = descriptor
        self.pending = b""
        self._closing = False

    def write(self, data: bytes) -> bool:
        """Takes all of it; False when the program did not, and the sockets should wait for `Session.input_taken`."""
        if self.descriptor < 0 or self._closing:
            return True  # the program closed its stdin: what is sent to it is thrown away
        self.pending += data
        self._flush()
        return not self.pending

    def close_when_flushed(self) -> None:
        self._closing = True
        if not self.pending:
            self.close()
        else:
            self._watch()

    @property
    def closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self.descriptor >= 0:
            self.session.loop.forget(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1
        self.pending = b""

    def restore(self, pending: bytes, closing: bool) -> None:
        self.pending = pending
        self._closing = closing
        if pending:
            self._watch()

    def _watch(self) -> None:
        if self.descriptor >= 0:
            self.session.loop.watch(self.descriptor, OUT, self._ready)

    def _ready(self, _: int) -> None:
        self._flush()
        if not self.pending:
            self.session.loop.forget(self.descriptor)
            if self._closing:
                self.close()
            self.session.input_taken()

    def _flush(self) -> None:
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.descriptor, self.pending) :]
        except BlockingIOError:
            self._watch()
        except OSError:
            self.close()  # EPIPE, EIO: nobody reads any more


class Session:
    """All the streams of one process, its log and who is attached.

    `on_end` is called once, when the last output has ended. The log belongs to the session.
    """

    def __init__(self, loop: Loop, *, tty: bool, stdin_once: bool, log: Writer | None) -> None:
        self.loop = loop
        self.tty = tty
        self.stdin_once = stdin_once
        self.log = log
        self.outputs: list[Output] = []
        self.input: Input | None = None
        self.attachments: list[Attachment] = []
        self.on_end: Callable[[], None] | None = None
        self.on_empty: Callable[[], None] | None = None  # the last attach socket was closed
        self._ended = False
        self._paused = False
        self._dead = False

    def open(self, stdin: int | None, stdout: int | None, stderr: int | None, pty: int | None) -> None:
        """Takes the descriptors over and begins to pump. With a terminal `pty` alone counts."""
        if pty is not None:
            os.set_blocking(pty, False)
            self.outputs.append(Output(self, pty, STDOUT))
            self.input = Input(self, os.dup(pty))  # its own number, so that epoll can watch each direction by itself
        else:
            for descriptor, stream in ((stdout, STDOUT), (stderr, STDERR)):
                if descriptor is not None:
                    os.set_blocking(descriptor, False)
                    self.outputs.append(Output(self, descriptor, stream))
            if stdin is not None:
                os.set_blocking(stdin, False)
                self.input = Input(self, stdin)
        self._resume()
        if not self.outputs:
            self.output_ended()

    def restored(self) -> None:
        """After an upgrade, when all parts are in their places: pumps on."""
        self._ended = not self.outputs
        self._resume()
        for attachment in tuple(self.attachments):
            attachment.watch()
        self.balance()

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def log_position(self) -> tuple[int, int] | None:
        return None if self.log is None else self.log.position

    def distribute(self, stream: int, data: bytes) -> None:
        if self.log is not None:
            self.log.write(stream, data)
        for attachment in tuple(self.attachments):
            attachment.send(stream, data)
        if self.attachments:
            self.balance()

    def balance(self) -> None:
        """Stops or goes on reading, by what waits at the sockets."""
        if self._dead:
            return
        full = any(attachment.waiting > HIGH_WATER for attachment in self.attachments)
        if full and not self._paused:
            self._paused = True
            for output in self.outputs:
                output.pause()
        elif self._paused and not full and not any(attachment.waiting > HIGH_WATER // 2 for attachment in self.attachments):
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        for output in self.outputs:
            output.resume()

    def join(self, attachment: Attachment) -> None:
        self.attachments.append(attachment)
        if self._ended and self._dead:
            attachment.finish()

    def leave(self, attachment: Attachment) -> None:
        if attachment in self.attachments:
            self.attachments.remove(attachment)
            if not self.attachments and self.on_empty is not None:
                self.on_empty()
        self.balance()

    # ── stdin ──

    def receive(self, data: bytes) -> bool:
        """Input from a socket; False: stop reading sockets until `input_taken`."""
        return self.input is None or self.input.write(data)

    def stdin_left(self) -> None:
        """An attached writer said end of file, or is gone."""
        if self.input is not None and self.stdin_once and not self.tty:
            self.input.close_when_flushed()

    def input_taken(self) -> None:
        for attachment in tuple(self.attachments):
            attachment.resume_input()

    # ── the end ──

    def output_ended(self) -> None:
        if self._ended or any(output.descriptor >= 0 for output in self.outputs):
            return
        self._ended = True
        if self.on_end is not None:
            self.on_end()

    def process_died(self) -> None:
        """Reads what is left, however much waits at the sockets; then `ended` tells whether all streams have ended."""
        self._dead = True
        self._resume()
        for output in self.outputs:
            output.drain()

    def finish(self) -> None:
        """No more output: closes all but the sockets, which are closed as soon as they have taken what waits for them."""
        self._dead = True
        for output in self.outputs:
            output.close()
        if self.input is not None:
            self.input.close()
        if self.log is not None:
            self.log.close()
        self._ended = True
        for attachment in tuple(self.attachments):
            attachment.finish()
