"""import, load, save, tag, rmi: images in and out of files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from gorae.cli.connect import engine as connect
from gorae.client.http import Response
from gorae.errors import GoraeError, InvalidArgument

BLOCK = 1 << 20


@click.command("import")
@click.option("-c", "--change", multiple=True, metavar="INSTRUCTION", help='A Dockerfile instruction, such as CMD ["sh"].')
@click.option("-m", "--message", default="", help="A message for the history.")
@click.option("--platform", default="", metavar="OS/ARCH", help="The image's platform.")
@click.argument("source")
@click.argument("name", default="")
@click.pass_context
def import_(context: click.Context, change: tuple[str, ...], message: str, platform: str, source: str, name: str) -> None:
    """Make an image of a root file system: a tar, or - for stdin."""
    repository, tag = split_name(name)
    words = {
        "fromSrc": "-",
        "repo": repository or None,
        "tag": tag or None,
        "message": message or None,
        "platform": platform or None,
    }
    engine = connect(context)
    target = "/images/create"
    query: dict[str, Any] = dict(words)
    if change:
        # The API takes `changes` several times, which a mapping cannot say: one text with line ends is the same to it.
        query["changes"] = "\n".join(change)
    with opened(source) as body:
        identity = progress(engine.stream("POST", target, query, body))
    if identity:
        print(identity)


@click.command()
@click.option("-i", "--input", "source", default="-", metavar="FILE", help="The archive (stdin by default).")
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.pass_context
def load(context: click.Context, source: str, quiet: bool) -> None:
    """Load images from a docker-archive or an OCI archive."""
    if source == "-" and os.isatty(0):
        raise InvalidArgument("requested load from stdin, but stdin is a terminal: name a file with -i")
    with opened(source) as body:
        progress(connect(context).stream("POST", "/images/load", {"quiet": quiet}, body))


@click.command()
@click.option("-o", "--output", default="-", metavar="FILE", help="The archive (stdout by default).")
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def save(context: click.Context, output: str, names: tuple[str, ...]) -> None:
    """Write images into an archive that is a docker-archive and an OCI archive."""
    if output == "-" and os.isatty(1):
        raise InvalidArgument("cannot write an archive to a terminal: name a file with -o, or redirect")
    if len(names) > 1:
        raise InvalidArgument("one image at a time for now")
    from gorae.client.engine import quote

    response = connect(context).stream("GET", f"/images/{quote(names[0])}/get")
    if output == "-":
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
        return
    unfinished = f"{output}.unfinished"
    with open(unfinished, "wb") as file:
        for chunk in response.chunks():
            file.write(chunk)
    os.replace(unfinished, output)


@click.command()
@click.argument("source")
@click.argument("target")
@click.pass_context
def tag(context: click.Context, source: str, target: str) -> None:
    """Give an image a further name."""
    repository, name = split_name(target)
    connect(context).tag(source, repository, name)


@click.command()
@click.option("-f", "--force", is_flag=True, help="Even if stopped containers use it.")
@click.option("--no-prune", is_flag=True, help="Keep untagged parents.")
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def rmi(context: click.Context, force: bool, no_prune: bool, names: tuple[str, ...]) -> int:
    """Remove images, or names of images."""
    engine = connect(context)
    status = 0
    for name in names:
        try:
            for entry in engine.remove_image(name, force=force, no_prune=no_prune):
                for what, which in entry.items():
                    print(f"{what}: {which}")
        except GoraeError as error:
            print(f"gorae: {error}", file=sys.stderr)
            status = 1
    return status


def split_name(name: str) -> tuple[str, str]:
    """`host:5000/a/b:tag` as (`host:5000/a/b`, `tag`)."""
    repository, separator, tag = name.rpartition(":")
    if not separator or "/" in tag:
        return name, ""
    return repository, tag


@contextmanager
def opened(source: str) -> Iterator[Iterator[bytes]]:
    """A file's blocks, with a progress bar on a terminal when its length is known."""
    if source == "-":
        yield blocks(sys.stdin.buffer)
        return
    try:
        file = open(source, "rb")  # noqa: SIM115 (closed by the with below; the error is ours to word)
    except OSError as error:
        raise InvalidArgument(f"cannot read {source}: {error.strerror}") from error
    with file:
        if not os.isatty(2):
            yield blocks(file)
            return
        from rich.console import Console
        from rich.progress import wrap_file

        with wrap_file(
            file, os.path.getsize(source), description=os.path.basename(source), console=Console(stderr=True)
        ) as watched:
            yield blocks(watched)


def blocks(file: IO[bytes] | Any) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def progress(response: Response) -> str:
    """Prints the engine's JSON lines as they come; the last status that is an image id. An error line is raised."""
    identity = ""
    for line in response.lines():
        message = json.loads(line)
        if "error" in message:
            raise GoraeError(message["error"])
        if text := message.get("stream"):
            sys.stdout.write(text)
        elif status := message.get("status", ""):
            if status.startswith("sha256:"):
                identity = status
            elif os.isatty(2):
                print(f"{message['id']}: {status}" if message.get("id") else status, file=sys.stderr)
    sys.stdout.flush()
    return identity
