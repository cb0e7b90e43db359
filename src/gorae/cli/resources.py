"""stats, top, update, port: what containers use, and what they may use."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from gorae.cli import flags, tables
from gorae.cli.connect import engine as connect
from gorae.cli.container_config import restart_policy
from gorae.cli.container_options import number, text
from gorae.cli.lifecycle import CONTAINERS, each
from gorae.cli.listing import FORMAT, NO_TRUNC, render
from gorae.client.engine import Engine, quote
from gorae.errors import InvalidArgument, NotFound

INTERVAL = 1.0
COLUMNS = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
CLEAR = "\x1b[2J\x1b[H"


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Those too that do not run.")
@click.option("--no-stream", is_flag=True, help="Once.")
@NO_TRUNC
@FORMAT
@click.argument("containers", nargs=-1)
@click.pass_context
def stats(
    context: click.Context, everything: bool, no_stream: bool, no_trunc: bool, form: str, containers: tuple[str, ...]
) -> None:
    """What containers use: CPU, memory, network, disk, processes; anew each second."""
    engine = connect(context)
    for name in containers:
        engine.inspect(name)
    before: dict[str, dict[str, Any]] = {}
    while True:
        began = time.monotonic()
        names = list(containers) or [found["Id"] for found in engine.containers({"all": everything})]
        taken = [sample for name in names if (sample := _sample(engine, name)) is not None]
        if before or not taken:
            rows = [row(sample, before.get(sample["id"]), no_trunc) for sample in taken]
            if not no_stream and not form and sys.stdout.isatty():
                sys.stdout.write(CLEAR)
            _show(rows, form)
            sys.stdout.flush()
            if no_stream:
                return
        before = {sample["id"]: sample for sample in taken}
        time.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))


def _show(rows: list[dict[str, Any]], form: str) -> None:
    render(rows, COLUMNS, form, lambda: tables.show(list(COLUMNS.values()), [[one[name] for name in COLUMNS] for one in rows]))


def _sample(engine: Engine, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = engine.call("GET", f"/containers/{quote(name)}/stats", {"stream": "0", "one-shot": True})
    except NotFound:
        return None
    return found


def row(sample: dict[str, Any], before: dict[str, Any] | None, no_trunc: bool) -> dict[str, Any]:
    """Docker's columns; the rate is that between the two samples. Pure."""
    memory = sample["memory_stats"]
    runs = "limit" in memory
    used, limit = memory_used(memory), memory.get("limit", 0)
    networks = (sample.get("networks") or {}).values()
    operations = sample["blkio_stats"]["io_service_bytes_recursive"] or []
    read, written = (sum(one["value"] for one in operations if one["op"].lower() == what) for what in ("read", "write"))
    received, sent = (sum(one[what] for one in networks) for what in ("rx_bytes", "tx_bytes"))
    return {
        "ID": sample["id"] if no_trunc else sample["id"][:12],
        "Container": sample["id"],
        "Name": sample["name"].removeprefix("/"),
        "CPUPerc": f"{cpu_percent(sample, before):.2f}%" if runs else "--",
        "MemUsage": f"{tables.binary_size(used)} / {tables.binary_size(limit)}" if runs else "-- / --",
        "MemPerc": f"{100 * used / limit:.2f}%" if limit else "--",
        "NetIO": f"{tables.size(received)} / {tables.size(sent)}" if runs else "-- / --",
        "BlockIO": f"{tables.size(read)} / {tables.size(written)}" if runs else "-- / --",
        "PIDs": str(sample["pids_stats"].get("current", 0)) if runs else "--",
    }


def memory_used(memory: dict[str, Any]) -> int:
    """Without the page cache that could be taken away at once, as docker counts."""
    usage, details = int(memory.get("usage", 0)), memory.get("stats") or {}
    inactive = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    return usage - inactive if inactive < usage else usage


def cpu_percent(sample: dict[str, Any], before: dict[str, Any] | None) -> float:
    """100 is one CPU."""
    if before is None:
        return 0.0
    now, then = sample["cpu_stats"], before["cpu_stats"]
    used = now["cpu_usage"]["total_usage"] - then["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - then.get("system_cpu_usage", 0)
    return 100.0 * used / passed * now.get("online_cpus", 1) if used > 0 and passed > 0 else 0.0


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("container")
@click.argument("arguments", nargs=-1)
@click.pass_context
def top(context: click.Context, container: str, arguments: tuple[str, ...]) -> None:
    """The processes of a container."""
    query = {"ps_args": " ".join(arguments) or None}
    found = connect(context).call("GET", f"/containers/{quote(container)}/top", query)
    tables.show(found["Titles"], found["Processes"])


@click.command()
@click.argument("container")
@click.argument("private", default="")
@click.pass_context
def port(context: click.Context, container: str, private: str) -> None:
    """Where the ports of a container are published."""
    ports = connect(context).inspect(container)["NetworkSettings"].get("Ports") or {}
    wanted = private if "/" in private or not private else f"{private}/tcp"
    if wanted and not ports.get(wanted):
        raise InvalidArgument(f"no public port '{private}' published for {container}")
    for inside, bindings in sorted(ports.items()):
        for binding in bindings or ():
            address = f"[{binding['HostIp']}]" if ":" in binding["HostIp"] else binding["HostIp"]
            if not wanted:
                print(f"{inside} -> {address}:{binding['HostPort']}")
            elif inside == wanted:
                print(f"{address}:{binding['HostPort']}")


@click.command()
@text("-m", "--memory", metavar="SIZE", help="Memory limit, such as 512m.")
@text("--memory-swap", metavar="SIZE", help="Memory plus swap; -1 for unlimited.")
@text("--memory-reservation", metavar="SIZE", help="Soft memory limit.")
@text("--cpus", metavar="NUMBER", help="How many CPUs, such as 1.5.")
@number("-c", "--cpu-shares", default=0, help="Relative CPU weight.")
@number("--cpu-period", default=0, help="CFS period in microseconds.")
@number("--cpu-quota", default=0, help="CFS quota in microseconds.")
@text("--cpuset-cpus", metavar="CPUS", help="Which CPUs, such as 0-3 or 0,1.")
@text("--cpuset-mems", metavar="NODES", help="Which memory nodes.")
@number("--blkio-weight", default=0, help="Relative disk weight, 10 to 1000.")
@number("--pids-limit", help="How many processes; -1 for unlimited.")
@text("--restart", metavar="POLICY", help="no, on-failure[:n], always, unless-stopped.")
@CONTAINERS
@click.pass_context
def update(context: click.Context, /, containers: tuple[str, ...], **options: Any) -> int:
    """Change limits and restart policy of containers, at once if they run."""
    sizes = {"Memory": "memory", "MemorySwap": "memory_swap", "MemoryReservation": "memory_reservation"}
    body: dict[str, Any] = {name: flags.size(options[option]) for name, option in sizes.items() if options[option]}
    plain = {"CpuShares": "cpu_shares", "CpuPeriod": "cpu_period", "CpuQuota": "cpu_quota", "CpusetCpus": "cpuset_cpus",
             "CpusetMems": "cpuset_mems", "BlkioWeight": "blkio_weight"}  # fmt: skip
    body |= {name: options[option] for name, option in plain.items() if options[option]}
    if options["cpus"]:
        body["NanoCpus"] = flags.nano_cpus(options["cpus"])
    if options["pids_limit"] is not None:
        body["PidsLimit"] = options["pids_limit"]
    if policy := restart_policy(options["restart"]):
        body["RestartPolicy"] = policy
    if not body:
        raise InvalidArgument("you must provide one or more flags when using this command")
    engine = connect(context)

    def act(name: str) -> None:
        for warning in engine.call("POST", f"/containers/{quote(name)}/update", body=body)["Warnings"] or ():
            print(f"WARNING: {warning}", file=sys.stderr)

    return each(containers, act)


