"""`gorae container …`, `gorae image …`, `gorae system …`: the same commands in groups, and those that only exist there."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import click

from gorae.cli import tables
from gorae.cli.connect import engine as connect
from gorae.cli.listing import FORMAT, NO_TRUNC, QUIET, as_filters, render
from gorae.client.engine import Engine, quote

WITH_FILTER = click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only what fits.")
FORCE = click.option("-f", "--force", is_flag=True, help="Do not ask.")
LISTS = {"container": {"ls": "ps", "list": "ps"}, "image": {"ls": "images", "list": "images", "rm": "rmi"}, "system": {}}
MEMBERS = {
    "container": (
        *("attach", "commit", "cp", "create", "diff", "exec", "export", "inspect", "kill", "logs", "ls", "list", "pause", "port"),
        *("prune", "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait"),
    ),
    "image": ("history", "import", "inspect", "load", "ls", "list", "prune", "rm", "save", "tag"),
    "system": ("df", "events", "info", "prune"),
}


class Group(click.Group):
    """Commands of its own, and those of the program under its names."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(MEMBERS[str(self.name)])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None or name not in MEMBERS[str(self.name)]:
            return own
        from gorae.cli.main import gorae

        return gorae.get_command(context, LISTS[str(self.name)].get(name, name))


@click.group(cls=Group)
def container() -> None:
    """Containers."""


@click.group(cls=Group)
def image() -> None:
    """Images."""


@click.group(cls=Group)
def system() -> None:
    """The engine."""


# ── what takes space, and what frees it ──


@system.command()
@click.option("-v", "--verbose", is_flag=True, help="Each object.")
@FORMAT
@click.pass_context
def df(context: click.Context, verbose: bool, form: str) -> None:
    """What takes how much of the disk."""
    found = connect(context).call("GET", "/system/df", {"verbose": verbose})
    kinds = {"Images": "Image", "Containers": "Container", "Local Volumes": "Volume", "Build Cache": "BuildCache"}
    rows = [usage_row(name, found.get(f"{kind}Usage") or {}) for name, kind in kinds.items()]
    columns = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
    render(rows, columns, form, lambda: tables.show(list(columns.values()), [[row[name] for name in columns] for row in rows]))
    if verbose and not form:
        for title, field in (("Images", "ImageUsage"), ("Containers", "ContainerUsage")):
            print(f"\n{title}:")
            for item in (found.get(field) or {}).get("Items") or []:
                names = item.get("RepoTags") or item.get("Names") or ["<none>"]
                print(f"  {names[0].removeprefix('/'):<40} {tables.size(item.get('Size', item.get('SizeRw', 0)) or 0)}")


def usage_row(name: str, usage: dict[str, Any]) -> dict[str, Any]:
    total, reclaimable = usage.get("TotalSize", 0), usage.get("Reclaimable", 0)
    share = f" ({100 * reclaimable // total}%)" if total else ""
    return {
        "Type": name,
        "TotalCount": str(usage.get("TotalCount", 0)),
        "Active": str(usage.get("ActiveCount", 0)),
        "Size": tables.size(total),
        "Reclaimable": tables.size(reclaimable) + share,
    }


@system.command("prune")
@click.option("-a", "--all", "everything", is_flag=True, help="All unused images, not only those without a name.")
@click.option("--volumes", is_flag=True, help="Anonymous volumes too.")
@FORCE
@WITH_FILTER
@click.pass_context
def prune_system(context: click.Context, everything: bool, volumes: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove stopped containers, unused networks, and images that nobody needs."""
    ask(force, "This removes all stopped containers, all networks without a container, and all unused images.")
    engine, wanted = connect(context), as_filters(filters) or {}
    freed = prune_containers(engine, wanted)
    networks = (engine.call("POST", "/networks/prune", {"filters": wanted or None}) or {}).get("NetworksDeleted") or []
    listed("Deleted Networks:", networks)
    if volumes:
        gone = engine.call("POST", "/volumes/prune", {"filters": wanted or None}) or {}
        listed("Deleted Volumes:", gone.get("VolumesDeleted") or [])
        freed += gone.get("SpaceReclaimed", 0)
    freed += prune_images(engine, wanted, everything)
    print(f"Total reclaimed space: {tables.size(freed)}")


@container.command("prune")
@FORCE
@WITH_FILTER
@click.pass_context
def prune_all_containers(context: click.Context, force: bool, filters: tuple[str, ...]) -> None:
    """Remove all containers that do not run."""
    ask(force, "This removes all stopped containers.")
    print(f"Total reclaimed space: {tables.size(prune_containers(connect(context), as_filters(filters) or {}))}")


@image.command("prune")
@click.option("-a", "--all", "everything", is_flag=True, help="All unused images, not only those without a name.")
@FORCE
@WITH_FILTER
@click.pass_context
def prune_all_images(context: click.Context, everything: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove images that no container uses."""
    ask(force, "This removes all images without a container." if everything else "This removes all images without a name.")
    print(f"Total reclaimed space: {tables.size(prune_images(connect(context), as_filters(filters) or {}, everything))}")


def prune_containers(engine: Engine, filters: dict[str, list[str]]) -> int:
    gone = engine.call("POST", "/containers/prune", {"filters": filters or None})
    listed("Deleted Containers:", gone.get("ContainersDeleted") or [])
    return int(gone["SpaceReclaimed"])


def prune_images(engine: Engine, filters: dict[str, list[str]], everything: bool) -> int:
    wanted = filters | ({"dangling": ["false"]} if everything else {})
    gone = engine.call("POST", "/images/prune", {"filters": wanted or None})
    lines = [f"{what.lower()}: {which}" for entry in gone.get("ImagesDeleted") or [] for what, which in entry.items()]
    listed("Deleted Images:", lines)
    return int(gone["SpaceReclaimed"])


def listed(title: str, names: list[str]) -> None:
    if names:
        print("\n".join([title, *names, ""]))


def ask(force: bool, what: str) -> None:
    if not force:
        click.confirm(f"WARNING! {what}\nAre you sure you want to continue?", abort=True)


# ── history ──


@image.command()
@NO_TRUNC
@QUIET
@FORMAT
@click.argument("name")
@click.pass_context
def history(context: click.Context, no_trunc: bool, quiet: bool, form: str, name: str) -> None:
    """The steps in which an image was made, the last one first."""
    items = connect(context).call("GET", f"/images/{quote(name)}/history")
    rows = [history_row(item, no_trunc) for item in items]
    if quiet:
        for row in rows:
            print(row["ID"])
        return
    columns = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"}
    render(rows, columns, form, lambda: tables.show(list(columns.values()), [[row[each] for each in columns] for row in rows]))


def history_row(item: dict[str, Any], no_trunc: bool) -> dict[str, Any]:
    made_by = item["CreatedBy"]
    return {
        "ID": item["Id"] if no_trunc else item["Id"].removeprefix("sha256:")[:12],
        "CreatedSince": tables.age(time.time() - item["Created"]) + " ago" if item["Created"] > 0 else "N/A",
        "CreatedAt": datetime.fromtimestamp(max(item["Created"], 0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "CreatedBy": made_by if no_trunc or len(made_by) <= 45 else made_by[:44] + "…",
        "Size": tables.size(item["Size"]),
        "Comment": item["Comment"],
    }
