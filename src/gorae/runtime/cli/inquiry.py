"""state, list, ps, events: what is told of containers. Nothing here changes one."""

from __future__ import annotations

import json
import os
import pwd
import re
import select
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from gorae.cgroup.events import OOMWatch
from gorae.cgroup.stats import IOEntry, Stats
from gorae.errors import Conflict, GoraeError, InvalidArgument, NotFound, Unsupported
from gorae.linux import process
from gorae.runtime.cli.session import Session
from gorae.runtime.state import Entry, oci_state

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
UNLIMITED = 2**64 - 1


def state(session: Session, arguments: Namespace) -> int:
    with session.store.open(arguments.id) as entry:
        print(json.dumps(oci_state(entry.record, session.status(entry)), indent=2))
    return 0


def containers(session: Session, arguments: Namespace) -> int:
    found = []
    for identifier in session.store.identifiers():
        try:
            with session.store.open(identifier) as entry:
                found.append(oci_state(entry.record, session.status(entry)) | {"owner": user_name(entry.record.owner)})
        except NotFound:
            continue  # deleted meanwhile
        except GoraeError as error:
            session.log.warning(str(error))  # one unreadable container must not hide the others
    if arguments.quiet:
        for each in found:
            print(each["id"])
    elif arguments.format == "json":
        print(json.dumps(found))
    else:
        rows = [(each["id"], str(each["pid"]), each["status"], each["bundle"], each["created"], each["owner"]) for each in found]
        print_table(("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"), rows)
    return 0


def processes(session: Session, arguments: Namespace) -> int:
    with session.store.open(arguments.id) as entry:
        if entry.status() == "stopped":
            raise Conflict(f'container not running: "{arguments.id}" is stopped')
        pids = session.cgroup(entry).procs()
    if arguments.format == "json":
        print(json.dumps(list(pids)))
        return 0
    if [option for option in arguments.options if option not in ("--", "-ef", "-e", "-f")]:
        raise Unsupported("ps options other than -ef are not supported: use --format json and ask ps(1) for these processes")
    rows = [row for pid in pids if (row := process_row(pid)) is not None]
    print_table(("UID", "PID", "PPID", "TIME", "CMD"), rows)
    return 0


def process_row(pid: int) -> tuple[str, ...] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().decode("utf-8", "replace").partition("(")[2].rpartition(") ")
        fields = rest.split()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode("utf-8", "replace").rstrip("\0").split("\0")
        owner = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    seconds = (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK")
    spent = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    # What the program calls itself may hold escape sequences; they are not for our terminal.
    command = " ".join(words) if words != [""] else f"[{name}]"
    return user_name(owner), str(pid), fields[1], spent, "".join(letter if letter.isprintable() else "?" for letter in command)


def events(session: Session, arguments: Namespace) -> int:
    """One JSON object a line: {"type": "stats" | "oom", "id": …, "data": …}, until the container stops."""
    matched = DURATION.fullmatch(arguments.interval)
    if not matched:
        raise InvalidArgument(f'--interval "{arguments.interval}" is no duration like 5s, 500ms or 1m')
    interval = float(matched[1]) * SECONDS[matched[2]]
    if interval <= 0:
        raise InvalidArgument("--interval must be longer than nothing")
    with session.store.open(arguments.id) as entry:
        if session.status(entry) not in ("created", "running", "paused"):
            raise Conflict(f'container not running: "{arguments.id}" is stopped')
        cgroup = session.cgroup(entry)
        if arguments.stats:
            emit("stats", entry, told(cgroup.stats()))
            return 0
        watch = cgroup.watch_oom()
        try:
            follow(session, entry, interval, watch)
        finally:
            if watch is not None:
                watch.close()
    return 0


def follow(session: Session, entry: Entry, interval: float, watch: OOMWatch | None) -> None:
    pidfd = process.pidfd_open(entry.record.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if watch is not None:
            poll.register(watch.fileno(), select.POLLIN)
        due = time.monotonic() + interval
        while entry.status() != "stopped":
            ready = poll.poll(max(0, (due - time.monotonic()) * 1000))
            if watch is not None and any(descriptor == watch.fileno() for descriptor, _ in ready) and watch.drain():
                emit("oom", entry, None)
            if time.monotonic() >= due:
                emit("stats", entry, told(session.cgroup(entry).stats()))
                due = time.monotonic() + interval
    finally:
        os.close(pidfd)


def emit(kind: str, entry: Entry, data: dict[str, Any] | None) -> None:
    event: dict[str, Any] = {"type": kind, "id": entry.record.id}
    if data is not None:
        event["data"] = data
    print(json.dumps(event), flush=True)


def told(stats: Stats) -> dict[str, Any]:
    """runc's form (types/events.go), which is what tools that read these lines know."""
    memory = stats.memory
    details = memory.details
    return {
        "cpu": {
            "usage": {
                "total": stats.cpu.total,
                "percpu": list(stats.cpu.per_cpu),
                "kernel": stats.cpu.system,
                "user": stats.cpu.user,
            },
            "throttling": {
                "periods": stats.cpu.periods,
                "throttledPeriods": stats.cpu.throttled_periods,
                "throttledTime": stats.cpu.throttled_time,
            },
        },
        "memory": {
            "cache": details.get("cache", details.get("file", 0)),
            "usage": {
                "limit": UNLIMITED if memory.limit is None else memory.limit,
                "usage": memory.usage,
                "max": memory.maximum,
                "failcnt": memory.failures,
            },
            "raw": details,
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit or 0},
        "blkio": {
            "ioServiceBytesRecursive": blkio(stats.io_bytes),
            "ioServicedRecursive": blkio(stats.io_operations),
        },
    }


def blkio(entries: tuple[IOEntry, ...]) -> list[dict[str, Any]]:
    return [{"major": each.major, "minor": each.minor, "op": each.operation.capitalize(), "value": each.value} for each in entries]


def print_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]
    for row in (titles, *rows):
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
