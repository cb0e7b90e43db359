"""Terminals, and the foreground: a program that runs as if it were ours.

    --console-socket            the pty's master goes to the engine by SCM_RIGHTS; we are out of it
    foreground, terminal        our terminal ⇄ raw ⇄ master, SIGWINCH → its size
    foreground, no terminal     the program has our descriptors; only signals pass through us
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import ExitStack

from gorae.errors import InvalidArgument
from gorae.linux import fd, process, tty

CHUNK = 64 * 1024
# Not passed on: what is meant for us, and what the program gets from the terminal's own process group or cannot be caught.
OURS = {
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGPIPE,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
}


def check(terminal: bool, detached: bool, console_socket: str) -> None:
    """runc's rules, which say early what would go wrong late."""
    if terminal and detached and not console_socket:
        raise InvalidArgument("cannot allocate a tty for a detached container without --console-socket")
    if console_socket and not terminal:
        raise InvalidArgument("--console-socket needs process.terminal to be true")
    if console_socket and not detached:
        raise InvalidArgument("--console-socket cannot be used in the foreground: use --detach")


def connect(path: str) -> socket.socket:
    """The engine's socket, before anything is made: a wrong path must not cost a container."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise InvalidArgument(f"--console-socket {path}: {error.strerror}") from error
    return connection


def send_console(connection: socket.socket, master: int) -> None:
    """Hand over the master; the engine owns it from here. The text is the name that runc sends along."""
    fd.send_message(connection, b"/dev/ptmx", [master])
    os.close(master)


class Signals:
    """Signals that came to us, as a descriptor: `wakeup` holds one byte a signal."""

    def __init__(self) -> None:
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in signal.valid_signals() - OURS:
            try:
                signal.signal(number, lambda *_: None)
            except (OSError, ValueError):
                pass  # the C library keeps 32 and 33 for itself
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def take(self) -> bytes:
        try:
            return os.read(self.wakeup, 4096)
        except BlockingIOError:
            return b""


def foreground(pid: int, pidfd: int, master: int | None) -> int:
    """Stay until the child `pid` has ended and return its exit status as a shell tells it (128 + signal)."""
    signals = Signals()
    with ExitStack() as stack:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(signals.wakeup, select.POLLIN)
        if master is not None:
            stack.callback(os.close, master)
            poll.register(master, select.POLLIN)
            poll.register(0, select.POLLIN)
            if os.isatty(0):
                stack.callback(tty.restore, 0, tty.make_raw(0))
                copy_size(master)
        ended = False
        while not ended:
            for descriptor, _ in poll.poll():
                if descriptor == pidfd:
                    ended = True
                elif descriptor == signals.wakeup:
                    pass_on(signals.take(), pidfd, master)
                elif master is not None and not copy(descriptor, 1 if descriptor == master else master):
                    poll.unregister(descriptor)
        if master is not None:
            drain(master)
    return process.exit_code(os.waitpid(pid, 0)[1])


def pass_on(numbers: bytes, pidfd: int, master: int | None) -> None:
    for number in numbers:
        if number == signal.SIGWINCH:
            if master is not None:
                copy_size(master)
            continue
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass


def copy_size(master: int) -> None:
    try:
        tty.set_window_size(master, *tty.window_size(0))
    except OSError:
        pass  # stdin is no terminal (any more): the size stays as it is


def copy(source: int, target: int) -> bool:
    """Move what is there; False at the end: EOF, or EIO of a pty that no program has open any more."""
    try:
        data = os.read(source, CHUNK)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    except OSError:
        return False
    return bool(data)


def drain(master: int) -> None:
    """What the program wrote just before it ended. A grandchild may keep the pty open: wait for nobody."""
    os.set_blocking(master, False)
    while copy(master, 1):
        pass
