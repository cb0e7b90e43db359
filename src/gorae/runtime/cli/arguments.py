"""The grammar of the command line: runc's, as far as containerd, dockerd, podman and people use it.

Global options stand before the command, a command's options before the container's name; what follows the name of `exec` is
the program's. Options that only make sense with what is not here (CRIU, systemd) are accepted where engines pass them
without being asked.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from gorae.errors import InvalidArgument
from gorae.version import VERSION

OCI_VERSION = "1.2.0"


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line like every other failure: to the log as well, not only to stderr."""

    def error(self, message: str) -> NoReturn:
        raise InvalidArgument(f"{self.prog}: {message}; see {self.prog} --help")


def parse(words: list[str]) -> argparse.Namespace:
    """The options, with `command` as the command's name."""
    parser = Parser(prog="gorae-runtime", description="Run containers from OCI bundles.", allow_abbrev=False)
    global_options(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, container: bool = True) -> Parser:
        added = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        assert isinstance(added, Parser)
        if container:
            added.add_argument("id", metavar="CONTAINER")
        return added

    bundle_options(command("create", "make a container; its program waits for `start`"))
    run = command("run", "create and start a container, and wait for its end unless detached")
    bundle_options(run)
    run.add_argument("--detach", "-d", action="store_true")
    run.add_argument("--keep", action="store_true", help="do not delete the container when its program ends")
    command("start", "let the program of a created container run")
    command("state", "print the state as JSON")
    exec_options(command("exec", "run one more program in a container"))
    kill = command("kill", "send a signal to a container's first process")
    kill.add_argument("signal", nargs="?", default="SIGTERM")
    kill.add_argument("--all", "-a", action="store_true", help="to all its processes")
    delete = command("delete", "remove what is left of a stopped container")
    delete.add_argument("--force", "-f", action="store_true", help="kill it first if it runs; say nothing if there is none")
    listing = command("list", "list the containers", container=False)
    listing.add_argument("--format", "-f", choices=("table", "json"), default="table")
    listing.add_argument("--quiet", "-q", action="store_true", help="only names")
    ps = command("ps", "list the processes of a container")
    ps.add_argument("--format", "-f", choices=("table", "json"), default="table")
    ps.add_argument("options", nargs=argparse.REMAINDER, metavar="", help=argparse.SUPPRESS)
    command("pause", "freeze a container")
    command("resume", "thaw a container")
    update_options(command("update", "change a container's limits"))
    events = command("events", "print statistics and out-of-memory events as JSON lines")
    events.add_argument("--interval", default="5s", help="between statistics, like 5s, 500ms, 1m")
    events.add_argument("--stats", action="store_true", help="print the statistics once")
    spec = command("spec", "write a config.json to start from", container=False)
    spec.add_argument("--bundle", "-b", default=".")
    spec.add_argument("--rootless", action="store_true")
    command("features", "print what this runtime can do as JSON", container=False)
    return parser.parse_args(words)


def global_options(parser: Parser) -> None:
    parser.add_argument("--version", "-v", action="version", version=f"gorae-runtime version {VERSION}\nspec: {OCI_VERSION}")
    parser.add_argument("--root", metavar="DIRECTORY", help="of the state of containers (default /run/gorae-runtime)")
    parser.add_argument("--log", default="", metavar="FILE")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--systemd-cgroup", action="store_true", help="not supported: cgroups are made without systemd")
    parser.add_argument("--rootless", metavar="BOOL", default="auto", help="ignored: what the user may do is found out by doing it")
    parser.add_argument("--criu", metavar="PATH", help=argparse.SUPPRESS)


def bundle_options(parser: Parser) -> None:
    parser.add_argument("--bundle", "-b", default=".", metavar="DIRECTORY", help="with config.json (default: here)")
    parser.add_argument("--console-socket", default="", metavar="PATH", help="of a unix socket that gets the terminal")
    parser.add_argument("--pid-file", default="", metavar="FILE")
    parser.add_argument("--no-pivot", action="store_true", help="chroot, not pivot_root (for an initramfs)")
    parser.add_argument("--no-new-keyring", action="store_true")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N", help="pass on descriptors 3 to 2 + N")
    parser.add_argument("--no-subreaper", action="store_true", help=argparse.SUPPRESS)


def exec_options(parser: Parser) -> None:
    parser.add_argument("--process", "-p", default="", metavar="FILE", help="with the process as JSON")
    parser.add_argument("--console-socket", default="", metavar="PATH")
    parser.add_argument("--pid-file", default="", metavar="FILE")
    parser.add_argument("--detach", "-d", action="store_true")
    parser.add_argument("--tty", "-t", action="store_true")
    parser.add_argument("--user", "-u", default="", metavar="UID[:GID]")
    parser.add_argument("--additional-gids", "-g", type=int, action="append", default=[], metavar="GID")
    parser.add_argument("--cwd", default="")
    parser.add_argument("--env", "-e", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--cap", "-c", action="append", default=[], metavar="CAP_NAME")
    parser.add_argument("--no-new-privs", action="store_true")
    parser.add_argument("--apparmor", default="")
    parser.add_argument("--process-label", default="")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N")
    parser.add_argument("--ignore-paused", action="store_true", help="allow it in a paused container: the program waits")
    parser.add_argument("--no-subreaper", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="PROGRAM [ARGUMENT …]")


# option → field of the specification's resources; None: the kernel has it no more, accepted and warned of.
LIMITS = {
    "--blkio-weight": ("blockIO", "weight"),
    "--cpu-burst": ("cpu", "burst"),
    "--cpu-idle": ("cpu", "idle"),
    "--cpu-period": ("cpu", "period"),
    "--cpu-quota": ("cpu", "quota"),
    "--cpu-rt-period": ("cpu", "realtimePeriod"),
    "--cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "--cpu-share": ("cpu", "shares"),
    "--cpuset-cpus": ("cpu", "cpus"),
    "--cpuset-mems": ("cpu", "mems"),
    "--memory": ("memory", "limit"),
    "--memory-reservation": ("memory", "reservation"),
    "--memory-swap": ("memory", "swap"),
    "--pids-limit": ("pids", "limit"),
    "--kernel-memory": ("memory", "kernel"),
    "--kernel-memory-tcp": ("memory", "kernelTCP"),
}
TEXTS = ("--cpuset-cpus", "--cpuset-mems")


def update_options(parser: Parser) -> None:
    parser.add_argument("--resources", "-r", default="", metavar="FILE", help="with limits as JSON, - for stdin; options override")
    for option in LIMITS:
        parser.add_argument(option, type=str if option in TEXTS else int)
