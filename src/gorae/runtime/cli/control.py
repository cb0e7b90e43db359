"""kill, pause, resume, update: what is done to a container that exists."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from gorae.errors import Conflict, InvalidArgument
from gorae.linux import process
from gorae.oci.json import LIMIT, read_json
from gorae.runtime.cli.arguments import LIMITS
from gorae.runtime.cli.session import Session
from gorae.runtime.state import Entry, lives

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Resources


def kill(session: Session, arguments: Namespace) -> int:
    try:
        number = process.signal_number(arguments.signal)
    except ValueError as error:
        raise InvalidArgument(f'unknown signal "{arguments.signal}": use a name like TERM or a number from 1 to 64') from error
    with session.store.open(arguments.id) as entry:
        status = session.status(entry)
        if arguments.all:
            signal_all(session, entry, number)
            return 0
        if status not in ("created", "running", "paused"):
            raise not_running(entry, status)
        send(entry, number)
        # On cgroup v1 a frozen process dies only when it is thawed; on v2 it is killed as it is.
        if status == "paused" and number == signal.SIGKILL:
            session.cgroup(entry).thaw()
    return 0


def send(entry: Entry, number: int) -> None:
    """To PID 1 and nobody else: the pidfd pins the process before it is compared with the record."""
    try:
        pidfd = process.pidfd_open(entry.record.pid)
    except ProcessLookupError:
        raise not_running(entry, "stopped") from None
    try:
        if not lives(entry.record.pid, entry.record.start_time):
            raise not_running(entry, "stopped")
        process.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise not_running(entry, "stopped") from None
    finally:
        os.close(pidfd)


def signal_all(session: Session, entry: Entry, number: int) -> None:
    """To every process in the cgroup, frozen meanwhile so that none escapes by forking.

    Also when PID 1 is dead already; that nobody is left is success, as with runc: containerd always asks after the end of a
    container that shares the machine's pid namespace.
    """
    cgroup = session.cgroup(entry)
    if not cgroup.exists() or not cgroup.procs():
        return
    if number == signal.SIGKILL:
        cgroup.kill()
        return
    was_frozen = cgroup.frozen()
    cgroup.freeze()
    try:
        for pid in cgroup.procs():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    finally:
        if not was_frozen:
            cgroup.thaw()


def pause(session: Session, arguments: Namespace) -> int:
    with session.store.open(arguments.id, lock=True) as entry:
        status = session.status(entry)
        if status not in ("created", "running"):
            raise Conflict(f'container "{arguments.id}" cannot be paused: it is {status}')
        session.cgroup(entry).freeze()
    return 0


def resume(session: Session, arguments: Namespace) -> int:
    with session.store.open(arguments.id, lock=True) as entry:
        cgroup = session.cgroup(entry)
        if entry.status() == "stopped" or not cgroup.frozen():
            raise Conflict(f'container "{arguments.id}" is not paused')
        cgroup.thaw()
    return 0


def update(session: Session, arguments: Namespace) -> int:
    from gorae.cgroup import limits

    resources = wanted(session, arguments)
    with session.store.open(arguments.id, lock=True) as entry:
        status = session.status(entry)
        if status in ("creating", "stopped"):
            raise not_running(entry, status)
        cgroup = session.cgroup(entry)
        writes, warnings = limits.files(resources, session.layout)
        for warning in (*warnings, *cgroup.apply(writes), *cgroup.restrict_devices(resources.devices)):
            session.log.warning(warning)
    return 0


def wanted(session: Session, arguments: Namespace) -> Resources:
    """--resources, overridden by the single options."""
    from gorae.oci import runtimespec

    value: Any = {}
    if arguments.resources == "-":
        value = read_json(sys.stdin.buffer.read(LIMIT + 1), "--resources")
    elif arguments.resources:
        try:
            with open(arguments.resources, "rb") as file:
                value = read_json(file.read(LIMIT + 1), arguments.resources)
        except OSError as error:
            raise InvalidArgument(f"--resources {arguments.resources}: {error.strerror}") from error
    if not isinstance(value, dict):
        raise InvalidArgument("--resources: expected a JSON object")
    for option, (group, field) in LIMITS.items():
        given = getattr(arguments, option.removeprefix("--").replace("-", "_"))
        if given is not None:
            value[group] = {**(value.get(group) or {}), field: given}
    return runtimespec.decode_resources(value)


def not_running(entry: Entry, status: str) -> Conflict:
    # containerd and dockerd look for the first three words and take the kill for done.
    return Conflict(f'container not running: "{entry.record.id}" is {status}')
