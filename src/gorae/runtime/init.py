"""PID 1 of a container that was asked to have one (`--init`): reaps what is orphaned, passes signals on, ends as the program ends.

    PID 1    this loop, in what was the child of the birth; no file of the container, no descriptor
      └─ 2   the program, in a process group of its own, in the foreground of the terminal if there is one

Nothing is injected into the image. When PID 1 ends the kernel kills everything that is left in the pid namespace.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from gorae.linux import capability, fd, process

# What the kernel sends for a fault of PID 1's own, and job control that is the terminal's affair.
KEPT = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS),
    *(signal.SIGTTIN, signal.SIGTTOU, signal.SIGKILL, signal.SIGSTOP),
}
WATCHED = signal.valid_signals() - KEPT


def prepare() -> None:
    """Before the program is forked off: from here on no signal is lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)


def become_program() -> None:
    """In the program's process, right before execve."""
    os.setpgid(0, 0)
    _take_the_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _take_the_terminal() -> None:
    """Without it the program would stop at its first read. Setting it from the background raises SIGTTOU, unless that is
    blocked.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(0, os.getpgrp())
    except OSError:
        pass  # ENOTTY, EBADF: standard input is no terminal of ours


def stay(program: int) -> NoReturn:
    """Run until the program ends, then end with its exit code (128 + n for signal n)."""
    if os.getuid() != 0:
        # The program loses its capabilities at execve; this process does not execute anything, so it lays them down itself.
        capability.clear_ambient()
        capability.set(0, 0, 0)
    fd.close_range(0)
    process.set_name("init")
    while True:
        number = signal.sigwait(WATCHED)
        if number == signal.SIGCHLD:
            _reap(program)
        else:
            try:
                os.kill(program, number)
            except (ProcessLookupError, PermissionError):
                pass


def _reap(program: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(1)
        if pid == 0:
            return
        if pid == program:
            os._exit(process.exit_code(status))
