"""cp, export, diff, commit: files into and out of containers."""

from __future__ import annotations

import base64
import json
import os
import posixpath
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from gorae.cli import tables
from gorae.cli.connect import engine as connect
from gorae.client.engine import Engine, quote
from gorae.errors import InvalidArgument, NotFound

BLOCK = 1 << 20
DIRECTORY, LINK = 1 << 31, 1 << 27  # Go's io/fs.FileMode
KINDS = "CAD"


class Place(NamedTuple):
    container: str  # "": here
    path: str


def place(word: str) -> Place:
    """`container:path`; a path that begins with / or . is a local one, whatever colons it has."""
    if word.startswith(("/", ".")) or word == "-":
        return Place("", word)
    container, colon, path = word.partition(":")
    return Place(container, path or "/") if colon else Place("", word)


@click.command()
@click.option("-a", "--archive", is_flag=True, help="Keep owners (uid and gid).")
@click.option("-L", "--follow-link", "follow", is_flag=True, help="Copy what a link in SOURCE leads to.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
@click.argument("source")
@click.argument("destination")
@click.pass_context
def cp(context: click.Context, archive: bool, follow: bool, quiet: bool, source: str, destination: str) -> None:
    """Copy between a container and here: CONTAINER:PATH, a local path, or - for a tar on stdin or stdout."""
    here, there = place(source), place(destination)
    if bool(here.container) == bool(there.container):
        raise InvalidArgument("copying between containers is not supported" if here.container else "one of both is CONTAINER:PATH")
    engine = connect(context)
    if here.container:
        size = copy_out(engine, here, there.path, follow=follow, owners=archive)
    else:
        size = copy_in(engine, here.path, there, follow=follow, owners=archive)
    if not quiet and "-" not in (source, destination):
        print(f"Successfully copied {tables.size(size)} to {destination}", file=sys.stderr)


# ── out of a container ──


def copy_out(engine: Engine, source: Place, target: str, *, follow: bool, owners: bool) -> int:
    path = source.path
    if follow:
        path = followed(engine, source.container, path)
    response = engine.stream("GET", f"/containers/{quote(source.container)}/archive", {"path": path})
    try:
        found = described(response.headers)
        if target == "-":
            if sys.stdout.isatty():
                raise InvalidArgument("refusing to write an archive to a terminal: redirect it")
            for chunk in response.chunks():
                sys.stdout.buffer.write(chunk)
            return 0
        return into_local(response.chunks(), found, path, target, owners)
    finally:
        response.connection.close()


def into_local(pieces: Iterator[bytes], found: dict[str, Any], path: str, target: str, owners: bool) -> int:
    from gorae.client.archive import unpack

    is_directory = bool(found["mode"] & DIRECTORY)
    contents = is_directory and path.endswith("/.")
    root = "" if found["name"] in ("/", ".") else found["name"]
    if os.path.isdir(target):
        directory, called = target, "" if contents else (root or os.path.basename(os.path.normpath(path)).strip("/."))
    elif os.path.lexists(target) and is_directory:
        raise InvalidArgument(f"cannot copy a directory onto the file {target}")
    elif target.endswith("/") and not is_directory:
        raise InvalidArgument(f"the destination directory {target} must exist")
    else:
        directory, called = os.path.split(os.path.abspath(target))
        if not os.path.isdir(directory):
            raise InvalidArgument(f"the directory {directory} does not exist")

    def rename(name: str) -> str:
        rest = name.removeprefix("/").removeprefix("./")
        if root and (rest == root or rest.startswith(root + "/")):
            rest = rest[len(root) :].lstrip("/")
        return posixpath.join(called, "" if rest == "." else rest)

    return unpack(pieces, directory, rename, owners=owners)


# ── into a container ──


def copy_in(engine: Engine, source: str, target: Place, *, follow: bool, owners: bool) -> int:
    found = look(engine, target.container, target.path)
    path = target.path
    if found is not None and found["mode"] & LINK:
        path = found["linkTarget"]
        found = look(engine, target.container, path)
    is_directory = found is not None and bool(found["mode"] & DIRECTORY)
    if source == "-":
        if not is_directory:
            raise InvalidArgument(f'destination "{target.container}:{target.path}" must be a directory')
        send(engine, target.container, path, chunks_of(sys.stdin.fileno()), owners)
        return 0
    from gorae.client.archive import pack

    if not os.path.lexists(source):
        raise InvalidArgument(f"there is no {source}")
    source_is_directory = os.path.isdir(source) and (follow or not os.path.islink(source) or source.endswith(("/", "/.")))
    if is_directory:
        contents = source_is_directory and source.endswith("/.")
        directory, called = path, "." if contents else os.path.basename(os.path.abspath(source))
    elif found is not None and source_is_directory:
        raise InvalidArgument(f"cannot copy a directory onto the file {target.path}")
    elif found is None and target.path.endswith("/") and not source_is_directory:
        raise InvalidArgument(f"the destination directory {target.path} must exist")
    else:
        directory, called = posixpath.split(posixpath.normpath(path))
    total = [0]

    def counted() -> Iterator[bytes]:
        for piece in pack(source, called, follow=follow):
            total[0] += len(piece)
            yield piece

    send(engine, target.container, directory or "/", counted(), owners)
    return total[0]


def send(engine: Engine, container: str, path: str, pieces: Iterator[bytes], owners: bool) -> None:
    query: dict[str, Any] = {"path": path, "noOverwriteDirNonDir": True, "copyUIDGID": owners}
    headers = {"Content-Type": "application/x-tar"}
    response = engine.stream("PUT", f"/containers/{quote(container)}/archive", query, pieces, headers)
    response.read()
    response.connection.close()


def look(engine: Engine, container: str, path: str) -> dict[str, Any] | None:
    """None for what is not there (an unknown container is told)."""
    try:
        response = engine.stream("HEAD", f"/containers/{quote(container)}/archive", {"path": path})
    except NotFound:
        engine.inspect(container)
        return None
    response.connection.close()
    return described(response.headers)


def followed(engine: Engine, container: str, path: str) -> str:
    found = look(engine, container, path)
    return found["linkTarget"] if found is not None and found["mode"] & LINK else path


def described(headers: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(headers["x-docker-container-path-stat"]))
    return found


def chunks_of(descriptor: int) -> Iterator[bytes]:
    while data := os.read(descriptor, BLOCK):
        yield data


# ── the others ──


@click.command()
@click.option("-o", "--output", default="-", metavar="FILE", help="The archive (stdout by default).")
@click.argument("container")
@click.pass_context
def export(context: click.Context, output: str, container: str) -> None:
    """A container's file system as a tar archive."""
    if output == "-" and sys.stdout.isatty():
        raise InvalidArgument("cannot write an archive to a terminal: name a file with -o, or redirect")
    response = connect(context).stream("GET", f"/containers/{quote(container)}/export")
    if output == "-":
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
        return
    unfinished = f"{output}.unfinished"
    try:
        with open(unfinished, "wb") as file:
            for chunk in response.chunks():
                file.write(chunk)
        os.replace(unfinished, output)
    except OSError as error:
        raise InvalidArgument(f"cannot write {output}: {error.strerror}") from error


@click.command()
@click.argument("container")
@click.pass_context
def diff(context: click.Context, container: str) -> None:
    """What has changed in a container's file system: A added, C changed, D deleted."""
    for change in connect(context).call("GET", f"/containers/{quote(container)}/changes") or []:
        print(f"{KINDS[change['Kind']]} {change['Path']}")


@click.command()
@click.option("-a", "--author", default="", help="Who made it.")
@click.option("-c", "--change", multiple=True, metavar="INSTRUCTION", help='A Dockerfile instruction, such as CMD ["sh"].')
@click.option("-m", "--message", default="", help="A message for the history.")
@click.option("-p", "--pause/--no-pause", default=True, help="Hold it still meanwhile (default).")
@click.argument("container")
@click.argument("name", default="")
@click.pass_context
def commit(
    context: click.Context, author: str, change: tuple[str, ...], message: str, pause: bool, container: str, name: str
) -> None:
    """Make an image of a container's changes."""
    from gorae.cli.images import split_name

    repository, tag = split_name(name)
    query: dict[str, Any] = {
        "container": container,
        "repo": repository or None,
        "tag": tag or None,
        "comment": message or None,
        "author": author or None,
        "changes": "\n".join(change) or None,
        "pause": "1" if pause else "0",
    }
    print(connect(context).call("POST", "/commit", query)["Id"])
