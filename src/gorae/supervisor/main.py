"""The program: `python -I -S …/gorae/supervisor/main.py --directory DIR`.

    DIR (0700)   supervisor.pid    our process id; locked (flock) as long as we live: there is one supervisor a directory
                 supervisor.sock   see docs/seams.md

It goes on in a read-only view of the interpreter, becomes the subreaper of all it bears and no more dumpable, loads all that births
need once, and sits in its loop. It ends by `shutdown` (or SIGTERM) without containers, and by nothing else.

    --ready FD    write a byte to this descriptor and close it, once the socket listens
    --resume FD   go on from this state: see `upgrade`
    --check       load everything, then end: can this program run here, and go on from a state of version `--state N`?
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # -I -S: nothing else has told where the package is
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from gorae.supervisor import lean

# isort: split
import _socket
import errno
import fcntl
import gc
import resource
import signal
from dataclasses import dataclass

from gorae.errors import Conflict, GoraeError, InvalidArgument, Unsupported
from gorae.linux import process
from gorae.runtime import reexec
from gorae.supervisor import server, upgrade
from gorae.supervisor.adopt import Adoption
from gorae.supervisor.calls import Calls
from gorae.supervisor.children import Table
from gorae.supervisor.executor import Executor, RuntimeExecutor
from gorae.supervisor.loop import IN, Loop
from gorae.supervisor.protocol import plain
from gorae.supervisor.reaper import Reaper
from gorae.supervisor.spawn import Births

MODULE = "gorae.supervisor.main"


@dataclass(frozen=True)
class Options:
    directory: str = ""
    ready: int = -1
    resume: int = -1
    state: int = -1
    check: bool = False


class Supervisor:
    """All parts, wired together."""

    def __init__(
        self, loop: Loop, executor: Executor, listener: _socket.socket, *, lock: int, command: tuple[str, ...]
    ) -> None:
        self.loop = loop
        self.executor = executor
        self.lock = lock
        self.command = command  # module and arguments that start this program anew
        self.open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.table = Table()
        self.calls = Calls(self)
        self.server = server.Server(loop, listener, self.calls.dispatch)
        self.reaper = Reaper(loop, self.table, executor, self.server.publish)
        self.births = Births(loop, self.table, executor, self.reaper.watch, self._birth_over)
        self.reaper.births = self.births
        self.adoption = Adoption(loop, self.table, self.reaper.watch)
        self.upgrade = upgrade.Upgrade(self)

    def _birth_over(self) -> None:
        self.reaper.sweep()
        self.upgrade.proceed()

    def terminate(self) -> None:
        """SIGTERM: as `shutdown`; whoever stops the machine stops the containers first."""
        if not self.table.living() and not len(self.births):
            self.loop.stop()


def main() -> int:
    try:
        options = parse(sys.argv[1:])
        if options.check:
            if options.state not in (-1, upgrade.VERSION):
                raise Unsupported(f"state of version {options.state}: this program reads {upgrade.VERSION}")
            RuntimeExecutor().preload()
            return 0
        reexec.through_readonly_interpreter((MODULE, *sys.argv[1:]))
        return run(options, RuntimeExecutor(), (MODULE, "--directory", options.directory))
    except (GoraeError, OSError) as error:
        print(f"gorae-supervisor: {error}", file=sys.stderr)
        return 1


def parse(words: list[str]) -> Options:
    """No argparse: it costs more memory than everything here."""
    numbers = {"--ready": -1, "--resume": -1, "--state": -1}
    found: dict[str, str] = {}
    check = False
    rest = iter(words)
    for word in rest:
        if word == "--check":
            check = True
        elif word in ("--directory", *numbers):
            found[word] = next(rest, "")
        else:
            raise InvalidArgument(f"unknown argument {word!a}: --directory, --ready, --resume, --state and --check are known")
    for name in numbers.keys() & found.keys():
        if not found[name].isdecimal():
            raise InvalidArgument(f"{name} needs a number, not {found[name]!a}")
        numbers[name] = int(found[name])
    directory = found.get("--directory", "")
    if not check and not directory.startswith("/"):
        raise InvalidArgument("--directory needs an absolute path")
    return Options(directory, numbers["--ready"], numbers["--resume"], numbers["--state"], check)


def run(options: Options, executor: Executor, command: tuple[str, ...]) -> int:
    loaded = upgrade.Loaded(options.resume) if options.resume >= 0 else None
    lock = loaded.take(loaded.state["lock"]) if loaded is not None else take_directory(options.directory)
    open_files = prepare_process(None if loaded is None else tuple(loaded.state["open_files"]))
    loop = Loop()
    waker = SignalWake(loop)
    executor.preload()
    if loaded is None:
        listener = server.listen_at(f"{options.directory}/supervisor.sock")
    else:
        listener = _socket.socket(fileno=loaded.take(loaded.state["listener"]))
    supervisor = Supervisor(loop, executor, listener, lock=lock, command=command)
    supervisor.open_files = open_files
    if isinstance(executor, RuntimeExecutor):
        executor.open_files = open_files
    waker.bind(supervisor)
    asker = upgrade.restore(supervisor, loaded) if loaded is not None else None
    lean.end()
    gc.collect()
    gc.freeze()
    supervisor.reaper.sweep()
    if asker is not None:
        asker[0].answer(asker[1], plain(supervisor.calls.greeting()))
    supervisor.server.pause(False)
    if options.ready >= 0:
        os.write(options.ready, b"\n")
        os.close(options.ready)
    loop.run()
    supervisor.server.close()
    for name in ("supervisor.sock", "supervisor.pid"):
        try:
            os.unlink(f"{options.directory}/{name}")
        except FileNotFoundError:
            pass
    return 0


def take_directory(directory: str) -> int:
    """The lock, with our process id in it; `Conflict` when another supervisor lives here."""
    os.makedirs(directory, 0o700, exist_ok=True)
    facts = os.stat(directory)
    if facts.st_mode & 0o077 or facts.st_uid != os.geteuid():
        raise Conflict(f"{directory} must belong to us, with mode 0700")
    lock = os.open(f"{directory}/supervisor.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        holder = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise Conflict(f"another supervisor (process {holder}) works in {directory}") from error
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return lock


def prepare_process(open_files: tuple[int, int] | None) -> tuple[int, int]:
    """Makes us what children are born from; answers the limit of open files that they inherit."""
    try:
        os.setsid()
    except PermissionError:
        pass  # we lead our session already
    os.chdir("/")
    os.umask(0o022)
    process.set_name("gorae-superviso")
    process.set_dumpable(False)
    process.set_child_subreaper(True)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    return limits if open_files is None else open_files


class SignalWake:
    """SIGCHLD and SIGTERM become readable in the loop."""

    def __init__(self, loop: Loop) -> None:
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._supervisor: Supervisor | None = None
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, _only_wake)
        loop.watch(self._reading, IN, self._woken)

    def bind(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def _woken(self, _: int) -> None:
        numbers = os.read(self._reading, 4096)
        if self._supervisor is None:
            return
        self._supervisor.reaper.sweep()
        if signal.SIGTERM in numbers:
            self._supervisor.terminate()


def _only_wake(*_: object) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
