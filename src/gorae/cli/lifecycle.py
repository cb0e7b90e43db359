"""stop, kill, restart, pause, unpause, rename, rm, wait: one call a container; a failure does not keep the others from theirs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable

import click

from gorae.cli.connect import engine as connect
from gorae.errors import GoraeError, NotFound, NotModified

CONTAINERS = click.argument("containers", nargs=-1, required=True)
TIME = click.option("-t", "--time", "--timeout", type=int, default=None, help="Seconds to wait before it is killed.")
SIGNAL = click.option("-s", "--signal", default=None, metavar="SIGNAL", help="The signal to send.")


def each(names: Iterable[str], act: Callable[[str], object]) -> int:
    """Acts on each, printing its name when done; the exit status tells whether all went well."""
    status = 0
    for name in names:
        try:
            act(name)
        except NotModified:
            pass
        except GoraeError as error:
            print(f"gorae: {error}", file=sys.stderr)
            status = 1
            continue
        print(name)
    return status


@click.command()
@TIME
@SIGNAL
@CONTAINERS
@click.pass_context
def stop(context: click.Context, time: int | None, signal: str | None, containers: tuple[str, ...]) -> int:
    """Stop containers: their stop signal, and after a while SIGKILL."""
    engine = connect(context)
    return each(containers, lambda name: engine.act(name, "stop", t=time, signal=signal))


@click.command()
@TIME
@SIGNAL
@CONTAINERS
@click.pass_context
def restart(context: click.Context, time: int | None, signal: str | None, containers: tuple[str, ...]) -> int:
    """Stop and start containers."""
    engine = connect(context)
    return each(containers, lambda name: engine.act(name, "restart", t=time, signal=signal))


@click.command()
@SIGNAL
@CONTAINERS
@click.pass_context
def kill(context: click.Context, signal: str | None, containers: tuple[str, ...]) -> int:
    """Send containers a signal (SIGKILL by default)."""
    engine = connect(context)
    return each(containers, lambda name: engine.act(name, "kill", signal=signal))


@click.command()
@CONTAINERS
@click.pass_context
def pause(context: click.Context, containers: tuple[str, ...]) -> int:
    """Freeze containers."""
    engine = connect(context)
    return each(containers, lambda name: engine.act(name, "pause"))


@click.command()
@CONTAINERS
@click.pass_context
def unpause(context: click.Context, containers: tuple[str, ...]) -> int:
    """Thaw containers."""
    engine = connect(context)
    return each(containers, lambda name: engine.act(name, "unpause"))


@click.command()
@click.argument("container")
@click.argument("name")
@click.pass_context
def rename(context: click.Context, container: str, name: str) -> None:
    """Give a container another name."""
    connect(context).act(container, "rename", name=name)


@click.command()
@click.option("-f", "--force", is_flag=True, help="Kill it first if it runs.")
@click.option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes too.")
@CONTAINERS
@click.pass_context
def rm(context: click.Context, force: bool, volumes: bool, containers: tuple[str, ...]) -> int:
    """Remove containers."""
    engine = connect(context)

    def remove(name: str) -> None:
        try:
            engine.remove(name, force=force, volumes=volumes)
        except NotFound:
            if not force:
                raise

    return each(containers, remove)


@click.command()
@CONTAINERS
@click.pass_context
def wait(context: click.Context, containers: tuple[str, ...]) -> int:
    """Wait until containers have ended; print their exit statuses."""
    engine = connect(context)
    status = 0
    for name in containers:
        try:
            print(json.loads(engine.wait(name).read())["StatusCode"])
        except GoraeError as error:
            print(f"gorae: {error}", file=sys.stderr)
            status = 1
    return status
