"""A supervisor whose births only start programs, so that pumps, deaths and upgrades can be tried without root.

    python fake.py --directory DIR …      takes the arguments of the real one
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = str(Path(__file__).resolve().parents[2] / "src")
if __name__ == "__main__":
    sys.path.insert(0, SOURCE)

from gorae.errors import BirthError, CommandNotFound  # noqa: E402
from gorae.supervisor.executor import Housing  # noqa: E402
from gorae.supervisor.protocol import ExecRequest, StartRequest  # noqa: E402


class FakeBirth:
    def __init__(self, arguments: Sequence[str], stdio: tuple[int, int, int], tty: bool) -> None:
        self.pid = 0
        self.pidfd = -1
        self.console: int | None = None
        self.failure: BirthError | None = None
        self.warnings: list[str] = []
        self.timings: Sequence[Any] = ()
        self._report, writing = os.pipe2(os.O_CLOEXEC)
        if arguments[0] == "never":
            self._hold = writing
            return
        os.close(writing)
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, stdio[number], number) for number in range(3)]
        if tty:
            self.console, slave = os.openpty()
            os.set_inheritable(self.console, False)
            attributes = termios.tcgetattr(slave)
            attributes[1] &= ~termios.OPOST
            termios.tcsetattr(slave, termios.TCSANOW, attributes)
            # The first terminal that a session's leader opens is its own.
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ]
        try:
            self.pid = os.posix_spawn(
                arguments[0], arguments, {"PATH": "/usr/bin:/bin"}, file_actions=actions, setsid=True, setsigdef=range(1, 32)
            )
            self.pidfd = os.pidfd_open(self.pid)
        except FileNotFoundError as error:
            if self.console is not None:
                os.close(self.console)
                self.console = None
            message = f'exec: "{arguments[0]}": no such file'
            self.failure = CommandNotFound(message, step="execve", errno=error.errno or 0, path=arguments[0])
        finally:
            if tty:
                os.close(slave)

    def fileno(self) -> int:
        return self._report

    def advance(self) -> bool:
        if self._report >= 0:
            os.close(self._report)
            self._report = -1
        return True

    def abort(self) -> None:
        os.close(self._report)
        os.close(self._hold)


class FakeExecutor:
    def preload(self) -> None:
        pass

    def bear(self, request: StartRequest, stdio: tuple[int, int, int]) -> FakeBirth:
        return self._bear(request.spec["process"], stdio, request.stdio.tty)

    def bear_exec(self, request: ExecRequest, housing: Housing, stdio: tuple[int, int, int]) -> FakeBirth:
        assert housing.spec["process"]
        return self._bear(request.process, stdio, request.stdio.tty)

    def _bear(self, process: Any, stdio: tuple[int, int, int], tty: bool) -> FakeBirth:
        if not process.get("args"):
            raise BirthError("nothing to run", step="plan")
        return FakeBirth(process["args"], stdio, tty)

    def bury(self, cgroup: str) -> int:
        return 1 if cgroup == "/oom" else 0

    def signal_all(self, cgroup: str, signal: int) -> None:
        raise OSError("no cgroups here")

    def frozen(self, cgroup: str) -> bool:
        return cgroup == "/frozen"

    def watch_oom(self, cgroup: str) -> None:
        return None


def main() -> int:
    from gorae.errors import GoraeError
    from gorae.supervisor.main import parse, run

    options = parse(sys.argv[1:])
    if options.check:
        return 0
    try:
        return run(options, FakeExecutor(), ("fake", "--directory", options.directory))
    except GoraeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
