"""inspect and logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from gorae.cli import template
from gorae.cli.connect import engine as connect
from gorae.cli.listing import moment
from gorae.client.engine import Engine
from gorae.client.session import Sink
from gorae.errors import InvalidArgument, NotFound


@click.command()
@click.option("-f", "--format", "form", default="", metavar="TEMPLATE", help="A template, or json.")
@click.option("-s", "--size", is_flag=True, help="Sizes too.")
@click.option("--type", "kind", type=click.Choice(["container", "image"]), default=None, help="Only this kind.")
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def inspect(context: click.Context, form: str, size: bool, kind: str | None, names: tuple[str, ...]) -> int:
    """All that is known of containers and images, as JSON."""
    engine = connect(context)
    found = []
    status = 0
    for name in names:
        described = look_up(engine, name, kind, size)
        if described is None:
            print(f"gorae: no such {kind or 'object'}: {name}", file=sys.stderr)
            status = 1
            continue
        found.append(described)
    if not form or form == "json":
        print(json.dumps(found, indent=None if form else 4, ensure_ascii=False))
    else:
        for described in found:
            print(template.render(form, described))
    return status


def look_up(engine: Engine, name: str, kind: str | None, size: bool) -> dict[str, Any] | None:
    """A container first, then an image, as Docker."""
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "container": lambda: engine.inspect(name, size=size),
        "image": lambda: engine.image(name),
    }
    for way in [ways[kind]] if kind else ways.values():
        try:
            return way()
        except NotFound:
            continue
    return None


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows.")
@click.option("-n", "--tail", default="all", metavar="N", help="Only the last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Each line with its time.")
@click.option("--since", default=None, help="From this time on (seconds, RFC 3339, or 10m).")
@click.option("--until", default=None, help="Until this time.")
@click.option("--details", is_flag=True, help="Extra attributes too.")
@click.argument("container")
@click.pass_context
def logs(
    context: click.Context,
    follow: bool,
    tail: str,
    timestamps: bool,
    since: str | None,
    until: str | None,
    details: bool,
    container: str,
) -> None:
    """What a container has written."""
    if tail != "all" and not tail.isdigit():
        raise InvalidArgument(f"invalid number of lines: {tail!r} (expected a number or all)")
    engine = connect(context)
    tty = engine.inspect(container)["Config"]["Tty"]
    query: dict[str, str | bool | None] = {
        "stdout": True,
        "stderr": True,
        "follow": follow,
        "tail": tail,
        "timestamps": timestamps,
        "since": moment(since),
        "until": moment(until),
        "details": details,
    }
    sink = Sink(sys.stdout.fileno(), sys.stderr.fileno(), framed=not tty)
    for chunk in engine.logs(container, query).chunks():
        sink.write(chunk)
