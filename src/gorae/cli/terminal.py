"""The local terminal while a program inside has it: raw mode, window size, signals.

Signals arrive through a wakeup descriptor (signal.set_wakeup_fd), so that the session's one `poll` sees them:

    with a TTY       SIGWINCH → resize; the rest goes to the program as bytes (raw mode)
    without one      every catchable signal is passed on to the container (`--sig-proxy`, Docker's default)
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Passed on to nobody: job control and what the kernel sends for our own doings.
OURS = {signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
FORWARDED = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGALRM,
}


def window() -> tuple[int, int]:
    """Rows and columns; zeros where stdout is no terminal."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 0, 0
    return size.lines, size.columns


@contextmanager
def raw(enabled: bool) -> Iterator[None]:
    """stdin in raw mode, restored afterwards whatever happens."""
    if not enabled or not os.isatty(0):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class Signals:
    """Catches signals into a descriptor (`fileno`) while it is entered; `deliver` hands those that have come to a function."""

    def __init__(self, numbers: set[signal.Signals]) -> None:
        self._numbers = numbers
        self._reader, self._writer = socket.socketpair()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        return self._reader.fileno()

    def deliver(self, function: Callable[[signal.Signals], None]) -> None:
        try:
            numbers = self._reader.recv(64)
        except BlockingIOError:
            return
        for number in numbers:
            if signal.Signals(number) in self._numbers:
                function(signal.Signals(number))
