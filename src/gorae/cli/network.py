"""network: create, ls, inspect, rm, prune, connect, disconnect."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from gorae.cli import flags, tables, template
from gorae.cli.connect import engine as connect_engine
from gorae.cli.listing import FILTER, FORMAT, NO_TRUNC, QUIET, as_filters, render
from gorae.client.engine import quote
from gorae.errors import GoraeError, InvalidArgument

COLUMNS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}


@click.group()
def network() -> None:
    """Networks: containers in one reach each other by name."""


@network.command()
@click.option("-d", "--driver", default="bridge", show_default=True, help="bridge, macvlan or ipvlan.")
@click.option("--subnet", "subnets", multiple=True, metavar="SUBNET", help="A subnet, such as 172.30.0.0/24.")
@click.option("--gateway", "gateways", multiple=True, metavar="ADDRESS", help="The gateway of a subnet.")
@click.option("--ip-range", "ranges", multiple=True, metavar="SUBNET", help="Take addresses from this part of a subnet.")
@click.option("--aux-address", "auxiliary", multiple=True, metavar="NAME=ADDRESS", help="An address that is never given out.")
@click.option("--internal", is_flag=True, help="No way out of it.")
@click.option("--ipv6", is_flag=True, help="IPv6, too.")
@click.option("--attachable", is_flag=True, help="Kept for scripts; every network is.")
@click.option("-o", "--opt", "options", multiple=True, metavar="NAME=VALUE", help="An option of the driver.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label.")
@click.argument("name")
@click.pass_context
def create(
    context: click.Context,
    driver: str,
    subnets: tuple[str, ...],
    gateways: tuple[str, ...],
    ranges: tuple[str, ...],
    auxiliary: tuple[str, ...],
    internal: bool,
    ipv6: bool,
    attachable: bool,
    options: tuple[str, ...],
    labels: tuple[str, ...],
    name: str,
) -> None:
    """Make a network; print its id."""
    body = {
        "Name": name,
        "Driver": driver,
        "IPAM": {"Driver": "default", "Config": pools(subnets, gateways, ranges, flags.pairs(auxiliary, "aux-address"))},
        "Internal": internal,
        "EnableIPv6": ipv6,
        "Attachable": attachable,
        "Options": flags.pairs(options, "opt"),
        "Labels": flags.pairs(labels, "label"),
    }
    answer = connect_engine(context).call("POST", "/networks/create", body=body)
    if answer.get("Warning"):
        print(f"WARNING: {answer['Warning']}", file=sys.stderr)
    print(answer["Id"])


def pools(
    subnets: tuple[str, ...], gateways: tuple[str, ...], ranges: tuple[str, ...], auxiliary: dict[str, str]
) -> list[dict[str, Any]]:
    """Each gateway, range and further address goes to the subnet that it lies in."""
    import ipaddress

    try:
        found: dict[Any, dict[str, Any]] = {ipaddress.ip_network(text, strict=False): {"Subnet": text} for text in subnets}

        def home(text: str, network: Any) -> dict[str, Any]:
            for subnet, pool in found.items():
                if subnet.version == network.version and network.subnet_of(subnet):
                    return pool
            raise InvalidArgument(f"no matching subnet for {text}")

        for text in gateways:
            home(text, ipaddress.ip_network(text))["Gateway"] = text
        for text in ranges:
            home(text, ipaddress.ip_network(text, strict=False))["IPRange"] = text
        for name, text in auxiliary.items():
            home(text, ipaddress.ip_network(text)).setdefault("AuxiliaryAddresses", {})[name] = text
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    return list(found.values())


@network.command("ls")
@NO_TRUNC
@QUIET
@FILTER
@FORMAT
@click.pass_context
def list_(context: click.Context, no_trunc: bool, quiet: bool, filters: tuple[str, ...], form: str) -> None:
    """What networks there are."""
    found = connect_engine(context).call("GET", "/networks", {"filters": as_filters(filters)})
    rows = [
        {
            "ID": each["Id"] if no_trunc else each["Id"][:12],
            "Name": each["Name"],
            "Driver": each["Driver"],
            "Scope": each["Scope"],
            "IPv6": str(each["EnableIPv6"]).lower(),
            "Internal": str(each["Internal"]).lower(),
            "Labels": ",".join(f"{key}={value}" for key, value in (each["Labels"] or {}).items()),
            "CreatedAt": each["Created"],
        }
        for each in sorted(found, key=lambda each: each["Name"])
    ]
    if quiet:
        for row in rows:
            print(row["ID"])
        return
    render(rows, COLUMNS, form, lambda: tables.show(list(COLUMNS.values()), [[row[name] for name in COLUMNS] for row in rows]))


@network.command()
@click.option("-f", "--format", "form", default="", metavar="TEMPLATE", help="A template, or json.")
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def inspect(context: click.Context, form: str, names: tuple[str, ...]) -> int:
    """All that is known of networks, as JSON."""
    engine = connect_engine(context)
    found, status = [], 0
    for name in names:
        try:
            found.append(engine.call("GET", f"/networks/{quote(name)}"))
        except GoraeError as error:
            print(f"gorae: {error}", file=sys.stderr)
            status = 1
    if not form or form == "json":
        print(json.dumps(found, indent=None if form else 4, ensure_ascii=False))
    else:
        for each in found:
            print(template.render(form, each))
    return status


@network.command()
@click.option("-f", "--force", is_flag=True, help="No error for one that is not there.")
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def rm(context: click.Context, force: bool, names: tuple[str, ...]) -> int:
    """Remove networks."""
    from gorae.errors import NotFound

    engine, status = connect_engine(context), 0
    for name in names:
        try:
            engine.call("DELETE", f"/networks/{quote(name)}")
            print(name)
        except GoraeError as error:
            if not (force and isinstance(error, NotFound)):
                print(f"gorae: {error}", file=sys.stderr)
                status = 1
    return status


@network.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only what fits: label, until.")
@click.pass_context
def prune(context: click.Context, force: bool, filters: tuple[str, ...]) -> None:
    """Remove all networks that no container is joined to."""
    if not force:
        click.confirm("This removes all networks that no container is joined to. Go on?", abort=True, err=True)
    answer = connect_engine(context).call("POST", "/networks/prune", {"filters": as_filters(filters)})
    for name in answer["NetworksDeleted"] or ():
        print(name)


@network.command()
@click.option("--ip", default="", metavar="ADDRESS", help="Its IPv4 address there.")
@click.option("--ip6", default="", metavar="ADDRESS", help="Its IPv6 address there.")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name for it there.")
@click.option("--link", "links", multiple=True, metavar="CONTAINER[:ALIAS]", help="A name of its own for another container.")
@click.option("--gw-priority", default=0, help="The highest gives the default route.")
@click.argument("name", metavar="NETWORK")
@click.argument("container")
@click.pass_context
def connect(
    context: click.Context,
    ip: str,
    ip6: str,
    aliases: tuple[str, ...],
    links: tuple[str, ...],
    gw_priority: int,
    name: str,
    container: str,
) -> None:
    """Join a container to a network, while it runs or not."""
    settings: dict[str, Any] = {"Aliases": list(aliases), "Links": list(links), "GwPriority": gw_priority}
    if ip or ip6:
        settings["IPAMConfig"] = {"IPv4Address": ip, "IPv6Address": ip6}
    body = {"Container": container, "EndpointConfig": settings}
    connect_engine(context).call("POST", f"/networks/{quote(name)}/connect", body=body)


@network.command()
@click.option("-f", "--force", is_flag=True, help="No error for a container that is not there.")
@click.argument("name", metavar="NETWORK")
@click.argument("container")
@click.pass_context
def disconnect(context: click.Context, force: bool, name: str, container: str) -> None:
    """Take a container out of a network."""
    body = {"Container": container, "Force": force}
    connect_engine(context).call("POST", f"/networks/{quote(name)}/disconnect", body=body)
