"""The program `gorae-runtime`.

    interpreter ─▶ (create, run, exec: once more, from a read-only view of itself) ─▶ arguments ─▶ command ─▶ exit status

Exit status: 0, or the program's with `run` and `exec` in the foreground; 1 for a failure, 255 when `exec` fails before the
program runs (runc's numbers).
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False  # as typing has it, which takes as long to import as all of the first interpreter's work
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from gorae.runtime.cli.log import Log
    from gorae.runtime.cli.session import Session

# These fork children that enter a container.
BIRTHS = {"create", "run", "exec"}


def main() -> int:
    # The words are only looked at: one that is no command by accident costs 15 ms and nothing else.
    if BIRTHS & set(sys.argv[1:]):
        from gorae.runtime.reexec import through_readonly_interpreter

        through_readonly_interpreter(("gorae.runtime.cli.main", *sys.argv[1:]))
    gc.disable()  # it ends before there is anything to collect
    from gorae.linux import fd, process

    process.set_name("gorae-runtime")
    return perform(sys.argv[1:], frozenset(fd.open_descriptors()))


def perform(words: list[str], inherited: frozenset[int]) -> int:
    from gorae.errors import GoraeError
    from gorae.runtime.cli import arguments
    from gorae.runtime.cli.log import Log

    log = early_log(words)
    try:
        options = arguments.parse(words)
        log = Log(options.log, options.log_format, options.debug)
    except (GoraeError, OSError) as error:
        log.error(told(error))
        return 1
    try:
        return command(options, inherited)(options, log)
    except (GoraeError, OSError) as error:
        log.error(told(error))
    except KeyboardInterrupt:
        log.error("interrupted")
    return 255 if options.command == "exec" else 1


def early_log(words: list[str]) -> Log:
    """Where a wrong command line is told: the engine reads its log file, not our stderr."""
    from gorae.runtime.cli.log import Log

    def option(name: str) -> str:
        for at, word in enumerate(words):
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
            if word == name and at + 1 < len(words):
                return words[at + 1]
        return ""

    try:
        return Log(option("--log"), option("--log-format"))
    except OSError:
        return Log()


def command(options: Namespace, inherited: frozenset[int]) -> Callable[[Namespace, Log], int]:
    """The command's function; only its own module is loaded."""
    name: str = options.command
    if name in ("spec", "features"):
        from gorae.runtime import features
        from gorae.runtime.cli import template

        without_session: dict[str, Callable[[Namespace], int]] = {"spec": template.spec, "features": features.command}
        return lambda arguments, log: without_session[name](arguments)
    return lambda arguments, log: in_session(name)(new_session(arguments, log, inherited), arguments)


def in_session(name: str) -> Callable[[Session, Namespace], int]:
    if name in ("create", "run"):
        from gorae.runtime.cli import creation

        return {"create": creation.create, "run": creation.run}[name]
    if name in ("start", "delete"):
        from gorae.runtime.cli import lifecycle

        return {"start": lifecycle.start, "delete": lifecycle.delete}[name]
    if name == "exec":
        from gorae.runtime.cli import execution

        return execution.execute
    if name in ("kill", "pause", "resume", "update"):
        from gorae.runtime.cli import control

        return {"kill": control.kill, "pause": control.pause, "resume": control.resume, "update": control.update}[name]
    from gorae.runtime.cli import inquiry

    return {"state": inquiry.state, "list": inquiry.containers, "ps": inquiry.processes, "events": inquiry.events}[name]


def new_session(arguments: Namespace, log: Log, inherited: frozenset[int]) -> Session:
    from gorae.runtime.cli.session import Session

    return Session(arguments, log, inherited)


def told(error: Exception) -> str:
    """One line; an OSError's own text repeats its number, which helps nobody."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
