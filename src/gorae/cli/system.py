"""version, info, daemon."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from gorae.cli.connect import engine as connect
from gorae.errors import Unavailable
from gorae.version import API_VERSION, VERSION

FORMAT = click.option("-f", "--format", "form", default="", metavar="FORMAT", help="json, or a template.")


@click.command()
@FORMAT
@click.pass_context
def version(context: click.Context, form: str) -> int:
    """The versions of client and engine."""
    client = {"Version": VERSION, "ApiVersion": API_VERSION, "Os": "linux", "Arch": os.uname().machine}
    server: dict[str, Any] | None = None
    problem = ""
    try:
        server = connect(context).call("GET", "/version")
    except Unavailable as error:
        problem = str(error)
    if form:
        show(form, {"Client": client, "Server": server})
    else:
        block("Client", client | {"Python": sys.version.split()[0]})
        if server is not None:
            block(
                "Engine",
                {name: server.get(name) for name in ("Version", "ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion")},
            )
    if problem:
        print(f"gorae: {problem}", file=sys.stderr)
        return 1
    return 0


def block(title: str, values: dict[str, Any]) -> None:
    print(f"{title}:")
    for name, value in values.items():
        print(f"  {name + ':':<15} {value}")


def show(form: str, value: dict[str, Any]) -> None:
    if form == "json":
        print(json.dumps(value, ensure_ascii=False))
        return
    from gorae.cli.template import render

    print(render(form, value))


INFO = (
    "ID",
    "Containers",
    "ContainersRunning",
    "ContainersPaused",
    "ContainersStopped",
    "Images",
    "ServerVersion",
    "Driver",
    "LoggingDriver",
    "CgroupDriver",
    "CgroupVersion",
    "DefaultRuntime",
    "KernelVersion",
    "OperatingSystem",
    "OSType",
    "Architecture",
    "NCPU",
    "MemTotal",
    "Name",
    "DockerRootDir",
    "SecurityOptions",
)


@click.command()
@FORMAT
@click.pass_context
def info(context: click.Context, form: str) -> None:
    """What the engine is and has."""
    described = connect(context).call("GET", "/info")
    if form:
        show(form, described)
        return
    for name in INFO:
        value = described.get(name)
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    for warning in described.get("Warnings") or []:
        print(f"WARNING: {warning}", file=sys.stderr)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def daemon(arguments: tuple[str, ...]) -> None:
    """Run goraed in the foreground (its flags: gorae daemon --help-daemon)."""
    words = ["--help" if word == "--help-daemon" else word for word in arguments]
    os.execv(sys.executable, [sys.executable, "-I", "-m", "gorae.daemon.main", *words])
