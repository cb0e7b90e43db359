"""pull, push, login, logout: images between this machine and registries."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from gorae.cli import credentials
from gorae.cli.connect import engine as connect
from gorae.client.engine import Engine, quote
from gorae.client.http import Response
from gorae.errors import Forbidden, GoraeError, InvalidArgument

MOVING = ("Downloading", "Pushing", "Extracting")


@click.command()
@click.option("-a", "--all-tags", is_flag=True, help="All tags of the repository.")
@click.option("-q", "--quiet", is_flag=True, help="Only the name.")
@click.option("--platform", default="", metavar="OS/ARCH", help="Another platform than this machine's.")
@click.argument("name")
@click.pass_context
def pull(context: click.Context, all_tags: bool, quiet: bool, platform: str, name: str) -> None:
    """Fetch an image: gorae pull HOST/NAME[:TAG|@DIGEST]"""
    repository, tag = split(name)
    if all_tags and tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    if not tag and not all_tags:
        tag = "latest"
        if not quiet:
            print("Using default tag: latest")
    fetch(connect(context), repository, tag, platform, quiet)
    print(name if all_tags or name != repository else f"{repository}:{tag}")


@click.command()
@click.option("-a", "--all-tags", is_flag=True, help="All tags of the repository.")
@click.option("-q", "--quiet", is_flag=True, help="Only the name.")
@click.argument("name")
@click.pass_context
def push(context: click.Context, all_tags: bool, quiet: bool, name: str) -> None:
    """Send an image: gorae push HOST/NAME[:TAG]"""
    repository, tag = split(name)
    if all_tags and tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    tag = tag if all_tags or tag else "latest"
    query = {"tag": tag or None}
    headers = {"X-Registry-Auth": "e30="} | credentials.header(name)
    draw(connect(context).stream("POST", f"/images/{quote(repository)}/push", query, headers=headers), quiet)
    if quiet:
        print(name)


@click.command()
@click.option("-u", "--username", default="", help="The name.")
@click.option("-p", "--password", default="", help="The password; other users of this machine can see it in `ps`.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.argument("server")
@click.pass_context
def login(context: click.Context, username: str, password: str, password_stdin: bool, server: str) -> None:
    """Keep credentials for a registry: gorae login HOST[:PORT]"""
    host = (server.partition("://")[2] or server).partition("/")[0]
    if password_stdin:
        if password or not username:
            raise InvalidArgument("--password-stdin goes with -u, and without -p")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif password:
        print("WARNING: a password on the command line can be read by others: use --password-stdin", file=sys.stderr)
    username = username or prompt("Username: ", hidden=False)
    password = password or prompt("Password: ", hidden=True)
    body = {"username": username, "password": password, "serveraddress": host}
    try:
        answer = connect(context).call("POST", "/auth", body=body)
    except Forbidden as error:
        raise Forbidden(f"{error} (is the password right?)") from error
    credentials.warn_unencrypted(credentials.keep(host, username, password, answer.get("IdentityToken") or ""))
    print(answer.get("Status") or "Login Succeeded")


@click.command()
@click.argument("server")
def logout(server: str) -> None:
    """Forget the credentials for a registry."""
    host = (server.partition("://")[2] or server).partition("/")[0]
    print(f"Removing login credentials for {host}" if credentials.forget(host) else f"Not logged in to {host}")


def fetch(engine: Engine, repository: str, tag: str, platform: str = "", quiet: bool = False, err: bool = False) -> None:
    query = {"fromImage": repository, "tag": tag or None, "platform": platform or None}
    draw(engine.stream("POST", "/images/create", query, headers=credentials.header(repository)), quiet, err)


def obtain(engine: Engine, image: str, platform: str, *, missing: bool) -> None:
    """The image of a container that is about to be made; `missing` when it was found not to be here."""
    repository, tag = split(image)
    tag = tag or "latest"
    if missing:
        print(f"Unable to find image '{image if '@' in image else f'{repository}:{tag}'}' locally", file=sys.stderr)
    fetch(engine, repository, tag, platform, err=True)


def split(name: str) -> tuple[str, str]:
    """`host:5000/a:tag` as (`host:5000/a`, `tag`); with a digest, that is the second."""
    before, at, digest = name.partition("@")
    repository, colon, tag = before.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = before, ""
    return repository, digest if at else tag


def prompt(words: str, *, hidden: bool) -> str:
    if not os.isatty(0):
        raise InvalidArgument("cannot ask for a password without a terminal: use --password-stdin and -u")
    import getpass

    return getpass.getpass(words) if hidden else input(words).strip()


# Progress


def draw(response: Response, quiet: bool = False, err: bool = False) -> None:
    """The engine's lines: bars on a terminal, otherwise what is not mere movement. The last line's error is raised."""
    out = sys.stderr if err else sys.stdout
    messages = (json.loads(line) for line in response.lines())
    if quiet:
        for message in messages:
            check(message)
    elif out.isatty():
        bars(messages, err)
    else:
        for message in messages:
            check(message)
            status = message.get("status", "")
            if status and not status.startswith(MOVING):
                print(f"{message['id']}: {status}" if message.get("id") else status, file=out, flush=True)


def check(message: dict[str, Any]) -> None:
    if "error" in message:
        raise GoraeError(message["error"])


def bars(messages: Iterator[dict[str, Any]], err: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    console = Console(stderr=err, highlight=False, markup=False)
    words_of_each = TextColumn("{task.fields[id]}: {task.description}", markup=False)
    columns = (words_of_each, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:
        for message in messages:
            check(message)
            status, identity = message.get("status", ""), message.get("id", "")
            if not status:
                continue
            if not identity or status.startswith("Pulling from"):
                console.print(f"{identity}: {status}" if identity else status)
                continue
            if identity not in tasks:
                tasks[identity] = progress.add_task(status, total=None, id=identity)
            detail = message.get("progressDetail") or {}
            words: dict[str, Any] = {"description": status}
            if detail.get("total"):
                words |= {"completed": detail.get("current", 0), "total": detail["total"]}
            elif status in ("Pull complete", "Pushed", "Already exists", "Layer already exists") or status.startswith("Mounted"):
                total = progress.tasks[tasks[identity]].total or 1
                words |= {"completed": total, "total": total}
            progress.update(tasks[identity], **words)
