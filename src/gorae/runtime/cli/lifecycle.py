"""start and delete: the second half of a container's way (runtime.md, "Lifecycle"); the first is `creation`.

    start       barrier opened ─▶ fifo gone: "running" ─▶ poststart hooks
    delete      what is left in the cgroup killed, cgroup removed ─▶ directory gone ─▶ poststop hooks
"""

from __future__ import annotations

import os
import select
from argparse import Namespace

from gorae.errors import Conflict, GoraeError, InvalidArgument, NotFound
from gorae.linux import process
from gorae.runtime import life
from gorae.runtime.cli.session import Session
from gorae.runtime.state import Entry, lives

# From SIGKILL to a zombie: long only when the kernel is busy tearing down the process's memory or waits for a dead network
# file system.
DEATH = 10_000


def start(session: Session, arguments: Namespace) -> int:
    with session.store.open(arguments.id, lock=True) as entry:
        release(session, entry)
    return 0


def delete(session: Session, arguments: Namespace) -> int:
    try:
        entry = session.store.open(arguments.id, lock=True, unreadable=arguments.force)
    except NotFound:
        if arguments.force:
            return 0
        raise
    with entry:
        status = session.status(entry)
        if status != "stopped":
            if not arguments.force:
                raise Conflict(f'cannot delete container "{arguments.id}" that is not stopped: it is {status} (use --force)')
            end(session, entry)
        remove(session, entry)
    return 0


def release(session: Session, entry: Entry) -> None:
    """Let the program of a created container run. The caller holds the lock; it is given back before the hooks run."""
    config = entry.config()
    if config.get("process") is None:
        raise InvalidArgument(f'container "{entry.record.id}" cannot be started: its config.json has no process')
    status = session.status(entry)
    if status != "created":
        words = "an already running container" if status in ("running", "paused") else f"a container that has {status}"
        raise Conflict(f'cannot start {words}: "{entry.record.id}"')
    # The fifo goes after the release: killed in between, another `start` finds nobody waiting and says so.
    life.release(entry.fifo)
    os.unlink(entry.fifo)
    entry.close()
    session.run_hooks("poststart", config, entry, "running")


def end(session: Session, entry: Entry) -> None:
    """Kill PID 1, which takes a pid namespace with it, and wait until it is dead."""
    record = entry.record
    try:
        pidfd = process.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if not lives(record.pid, record.start_time):  # asked after the pidfd pins the process: the pid cannot be another's
            return
        process.pidfd_send_signal(pidfd, 9)
        if record.cgroup is not None:
            session.layout.place(record.cgroup).kill()  # also what is frozen
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(DEATH):
            raise Conflict(f'container "{record.id}" outlived SIGKILL by {DEATH // 1000} s: its process {record.pid} hangs')
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def lost_cgroup(session: Session, entry: Entry) -> str | None:
    """Where a container must be whose record was never written or is unreadable: its config.json still says so."""
    try:
        return session.cgroup_path(entry.spec(), entry.record.id)
    except GoraeError:
        return None


def remove(session: Session, entry: Entry) -> None:
    """What is outside of the container's processes: cgroup, directory; then the poststop hooks."""
    try:
        config = entry.config()
    except GoraeError as error:
        session.log.warning(f"poststop hooks, if there were any, do not run: {error}")
        config = {}
    for warning in life.bury(entry.record.cgroup or lost_cgroup(session, entry), session.layout).warnings:
        session.log.warning(warning)
    entry.destroy()
    session.run_hooks("poststop", config, entry, "stopped")
