"""ps, images, events: what there is and what happens."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from gorae.cli import tables, template
from gorae.cli.connect import engine as connect
from gorae.errors import InvalidArgument

FILTER = click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only what fits.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
NO_TRUNC = click.option("--no-trunc", is_flag=True, help="Cut nothing.")
FORMAT = click.option("--format", "form", default="", metavar="FORMAT", help="json, table TEMPLATE, or a template.")

PS_COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}
IMAGE_COLUMNS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE"}


def as_filters(words: Iterable[str]) -> dict[str, list[str]] | None:
    """`key=value` words as the API's filters."""
    result: dict[str, list[str]] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise InvalidArgument(f"invalid argument {word!r} for -f: expected KEY=VALUE")
        result.setdefault(key.strip(), []).append(value.strip())
    return result or None


def render(rows: Sequence[dict[str, Any]], columns: dict[str, str], form: str, show: Callable[[], None]) -> None:
    """A table by default, JSON lines, a template a line, or a table of a template."""
    if form in ("", "table"):
        show()
    elif form == "json":
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif form.startswith("table "):
        pattern = form.removeprefix("table ").replace("\\t", "\t")
        header = [columns.get(name, name.upper()) for name in template.fields(pattern)]
        tables.plain(header, [template.render(pattern, row).split("\t") for row in rows])
    else:
        for row in rows:
            print(template.render(form, row))


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Ended ones too.")
@click.option("-n", "--last", type=int, default=-1, help="The last N created.")
@click.option("-l", "--latest", is_flag=True, help="The last created.")
@click.option("-s", "--size", is_flag=True, help="Sizes too.")
@NO_TRUNC
@QUIET
@FILTER
@FORMAT
@click.pass_context
def ps(
    context: click.Context,
    everything: bool,
    last: int,
    latest: bool,
    size: bool,
    no_trunc: bool,
    quiet: bool,
    filters: tuple[str, ...],
    form: str,
) -> None:
    """List containers."""
    limit = 1 if latest else last
    query = {"all": everything or None, "limit": limit if limit > 0 else None, "size": size, "filters": as_filters(filters)}
    rows = [container_row(container, no_trunc) for container in connect(context).containers(query)]
    if quiet:
        for row in rows:
            print(row["ID"])
        return
    columns = PS_COLUMNS | ({"Size": "SIZE"} if size else {})
    render(rows, columns, form, lambda: tables.show(list(columns.values()), [[row[name] for name in columns] for row in rows]))


def container_row(container: dict[str, Any], no_trunc: bool) -> dict[str, Any]:
    command = container["Command"]
    if not no_trunc and len(command) > 20:
        command = command[:19] + "…"
    return {
        "ID": container["Id"] if no_trunc else container["Id"][:12],
        "Image": container["Image"],
        "Command": f'"{command}"',
        "RunningFor": tables.age(clock.time() - container["Created"]) + " ago",
        "CreatedAt": datetime.fromtimestamp(container["Created"], UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "Status": container["Status"],
        "State": container["State"],
        "Ports": ", ".join(port(entry) for entry in container.get("Ports") or []),
        "Names": ",".join(name.removeprefix("/") for name in container["Names"]),
        "Labels": ",".join(f"{key}={value}" for key, value in (container.get("Labels") or {}).items()),
        "Mounts": ",".join(mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or []),
        "Networks": ",".join((container.get("NetworkSettings") or {}).get("Networks") or {}),
        "Size": tables.size(container.get("SizeRw") or 0),
    }


def port(entry: dict[str, Any]) -> str:
    inside = f"{entry['PrivatePort']}/{entry['Type']}"
    return f"{entry.get('IP', '')}:{entry['PublicPort']}->{inside}" if entry.get("PublicPort") else inside


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Intermediate ones too.")
@click.option("--digests", is_flag=True, help="Digests too.")
@NO_TRUNC
@QUIET
@FILTER
@FORMAT
@click.argument("repository", default="")
@click.pass_context
def images(
    context: click.Context,
    everything: bool,
    digests: bool,
    no_trunc: bool,
    quiet: bool,
    filters: tuple[str, ...],
    form: str,
    repository: str,
) -> None:
    """List images."""
    wanted = as_filters(filters) or {}
    if repository:
        wanted.setdefault("reference", []).append(repository)
    found = connect(context).images({"all": everything, "digests": digests, "filters": wanted or None})
    rows = [row for image in found for row in image_rows(image, no_trunc)]
    if quiet:
        for identity in dict.fromkeys(row["ID"] for row in rows):
            print(identity)
        return
    columns = IMAGE_COLUMNS | ({"Digest": "DIGEST"} if digests else {})
    render(rows, columns, form, lambda: tables.show(list(columns.values()), [[row[name] for name in columns] for row in rows]))


def image_rows(image: dict[str, Any], no_trunc: bool) -> list[dict[str, Any]]:
    """One row a tag."""
    identity = image["Id"] if no_trunc else image["Id"].removeprefix("sha256:")[:12]
    digests = [entry.rpartition("@")[2] for entry in image.get("RepoDigests") or []]
    rows = []
    for name in image.get("RepoTags") or ["<none>:<none>"]:
        repository, _, tag = name.rpartition(":")
        rows.append(
            {
                "Repository": repository,
                "Tag": tag,
                "ID": identity,
                "Digest": digests[0] if digests else "<none>",
                "CreatedSince": tables.age(clock.time() - image["Created"]) + " ago" if image["Created"] > 0 else "N/A",
                "CreatedAt": datetime.fromtimestamp(image["Created"], UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
                "Size": tables.size(image["Size"]),
            }
        )
    return rows


@click.command()
@click.option("--since", default=None, help="From this time on (seconds, RFC 3339, or 10m).")
@click.option("--until", default=None, help="Until this time.")
@FILTER
@FORMAT
@click.pass_context
def events(context: click.Context, since: str | None, until: str | None, filters: tuple[str, ...], form: str) -> None:
    """Follow what happens."""
    query = {"since": moment(since), "until": moment(until), "filters": as_filters(filters)}
    for event in connect(context).events(query):
        if form == "json":
            line = json.dumps(event, ensure_ascii=False)
        elif form:
            line = template.render(form, event)
        else:
            line = event_line(event)
        print(line, flush=True)


def event_line(event: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(event["timeNano"] / 1e9, UTC).isoformat()
    actor = event["Actor"]
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    return f"{when} {event['Type']} {event['Action']} {actor['ID']}" + (f" ({attributes})" if attributes else "")


def moment(text: str | None, now: Callable[[], float] = clock.time) -> str | None:
    """A time as the API wants it, seconds since the epoch: from seconds, RFC 3339, or how long ago."""
    if not text:
        return None
    try:
        return f"{float(text):.9f}".rstrip("0").rstrip(".")
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        from gorae.cli.flags import duration

        return f"{now() - duration(text) / 1e9:.9f}"
    return f"{when.timestamp():.9f}"
