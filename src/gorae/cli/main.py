"""The program: finds the command, runs it, and turns errors into a message and an exit status.

Exit statuses: 0; 1 for errors; 2 for wrong usage; `run` has Docker's: 125 the engine failed, 126 the command cannot be executed,
127 it is not there, otherwise the container's own. 130 after ctrl-c.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from gorae.errors import GoraeError
from gorae.version import VERSION

COMMANDS = {
    "run": "run",
    "create": "run",
    "start": "run",
    "attach": "execute",
    "exec": "execute",
    "stop": "lifecycle",
    "kill": "lifecycle",
    "restart": "lifecycle",
    "rm": "lifecycle",
    "wait": "lifecycle",
    "pause": "lifecycle",
    "unpause": "lifecycle",
    "rename": "lifecycle",
    "ps": "listing",
    "images": "listing",
    "events": "listing",
    "inspect": "inspecting",
    "logs": "inspecting",
    "import": "images",
    "load": "images",
    "save": "images",
    "tag": "images",
    "rmi": "images",
    "pull": "registries",
    "push": "registries",
    "login": "registries",
    "logout": "registries",
    "cp": "archives",
    "export": "archives",
    "diff": "archives",
    "commit": "archives",
    "stats": "resources",
    "top": "resources",
    "port": "resources",
    "update": "resources",
    "history": "groups",
    "container": "groups",
    "image": "groups",
    "system": "groups",
    "network": "network",
    "version": "system",
    "info": "system",
    "daemon": "system",
    "check": "check",
    "registry": "registry",
}


class Commands(click.Group):
    """A command lives in the module that COMMANDS names, as a click command of its own name."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"gorae.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name if name != "import" and name != "exec" else f"{name}_")
        return command


@click.group(cls=Commands, invoke_without_command=True)
@click.option("-H", "--host", metavar="ADDRESS", default="", help="The engine's socket (unix:///… or tcp://…) instead of our own.")
@click.version_option(VERSION, "-v", "--version", message="gorae %(version)s")
@click.pass_context
def gorae(context: click.Context, host: str) -> None:
    """Gorae (고래): containers with nothing but Linux and Python.

    Try it:  gorae run --rm -it host bash
    """
    context.obj = host
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in words if not word.startswith("-")), "")
    failed = 125 if command in ("run", "create") else 1
    try:
        status = gorae.main(words, prog_name="gorae", standalone_mode=False)
    except GoraeError as error:
        status = report(str(error), failed)
    except click.ClickException as error:
        error.show()
        status = 125 if command == "run" else error.exit_code
    except (KeyboardInterrupt, click.Abort):
        status = 130
    except BrokenPipeError:
        # Whoever read our output has gone: what is still buffered has nowhere to go, and saying so helps nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141
    sys.exit(status if isinstance(status, int) else 0)


def report(message: str, status: int) -> int:
    print(f"gorae: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
