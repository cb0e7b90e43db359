"""create, start, run, delete: a container's way from its bundle to nothing (runtime.md, "Lifecycle").

    create      name taken, state on disk ─▶ birth up to the barrier ─▶ console sent, pid file written
    start       barrier opened ─▶ fifo gone: "running" ─▶ poststart hooks
    delete      what is left in the cgroup killed, cgroup removed ─▶ directory gone ─▶ poststop hooks

`create` may be killed at any instruction: until the birth is told "go" the child dies with us, afterwards it waits in its
cgroup, where `delete` finds it.
"""

from __future__ import annotations

import os
import select
import socket
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gorae.errors import Conflict, InvalidArgument, NotFound
from gorae.linux import process
from gorae.oci import runtimespec
from gorae.oci.json import read_json
from gorae.runtime import birth, life
from gorae.runtime.cli import terminal
from gorae.runtime.cli.session import Session, write_pid_file
from gorae.runtime.state import Entry, Record, lives, now
from gorae.runtime.terms import Context

if TYPE_CHECKING:
    from gorae.runtime.life import Nascent

# From SIGKILL to a zombie: long only when the kernel is busy tearing down the process's memory or waits for a dead network
# file system.
DEATH = 10_000


def create(session: Session, arguments: Namespace) -> int:
    with ExitStack() as stack:
        _, nascent = new_container(session, arguments, detached=True, stack=stack)
        os.close(nascent.pidfd)
    return 0


def start(session: Session, arguments: Namespace) -> int:
    with session.store.open(arguments.id, lock=True) as entry:
        release(session, entry)
    return 0


def run(session: Session, arguments: Namespace) -> int:
    with ExitStack() as stack:
        entry, nascent = new_container(session, arguments, detached=arguments.detach, stack=stack)
        try:
            release(session, entry)
        except BaseException:
            process.pidfd_send_signal(nascent.pidfd, 9)
            remove(session, entry)
            raise
        if arguments.detach:
            return 0
        status = terminal.foreground(nascent.pid, nascent.pidfd, nascent.console)
        if not arguments.keep:
            with session.store.open(arguments.id, lock=True) as entry:
                remove(session, entry)
        return status


def delete(session: Session, arguments: Namespace) -> int:
    try:
        entry = session.store.open(arguments.id, lock=True)
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


def new_container(session: Session, arguments: Namespace, detached: bool, stack: ExitStack) -> tuple[Entry, Nascent]:
    """A container in the state `created`. The entry is locked until `stack` ends; after a failure nothing is left."""
    bundle = os.path.realpath(arguments.bundle)
    config = read_config(bundle)
    spec = runtimespec.decode(read_json(config, os.path.join(bundle, "config.json")))
    terminal.check(spec.process is not None and spec.process.terminal, detached, arguments.console_socket)
    cgroup = session.cgroup_path(spec, arguments.id)
    record = Record(
        id=arguments.id,
        bundle=bundle,
        oci_version=spec.ociVersion,
        created=now(),
        cgroup=cgroup,
        rootfs=os.path.join(bundle, spec.root.path) if spec.root is not None else "",
        owner=os.geteuid(),
        annotations=dict(spec.annotations),
    )
    context = Context(
        id=arguments.id,
        bundle=bundle,
        cgroup=cgroup,
        cgroup_layout=session.layout,
        barrier=session.store.fifo(arguments.id),
        new_keyring=not arguments.no_new_keyring,
        pivot=not arguments.no_pivot,
    )
    planned = birth.plan(spec, context)
    connection = stack.enter_context(terminal.connect(arguments.console_socket)) if arguments.console_socket else None
    entry = session.store.create(record, config)
    stack.callback(entry.close)
    try:
        entry.make_barrier(*root_of(spec))
        nascent = life.bear(planned, life.Stdio(more=session.preserved(arguments.preserve_fds)))
        bring_up(session, nascent, lambda: entry.born(nascent.pid), connection, arguments.pid_file)
    except BaseException:
        if cgroup is not None:
            life.bury(cgroup, session.layout)
        entry.destroy()
        raise
    return entry, nascent


def bring_up(session: Session, nascent: Nascent, born: Callable[[], None], connection: socket.socket | None, pid_file: str) -> None:
    """From the first breath to the barrier (exec: to the program); then the engine gets the terminal, then the pid."""
    complete = False
    try:
        born()
        wait(session, nascent)
        complete = True
        born()  # joining a pid namespace takes a second child: the first one's pid is no longer true
        if connection is not None and nascent.console is not None:
            terminal.send_console(connection, nascent.console)
        write_pid_file(pid_file, nascent.pid)
    except BaseException:
        if complete:
            process.pidfd_send_signal(nascent.pidfd, 9)
            os.waitpid(nascent.pid, 0)
            os.close(nascent.pidfd)
        elif nascent.failure is None:
            nascent.abort()
        raise


def root_of(spec: runtimespec.Spec) -> tuple[int, int]:
    """The container's root as this machine sees it."""

    def outside(mappings: tuple[runtimespec.IDMapping, ...]) -> int:
        return next((each.hostID - each.containerID for each in mappings if each.containerID == 0), os.geteuid())

    linux = spec.linux or runtimespec.Linux()
    return outside(linux.uidMappings), outside(linux.gidMappings)


def read_config(bundle: str) -> bytes:
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} does not exist: --bundle must be a directory with one (`gorae-runtime spec` writes it)") from None


def wait(session: Session, nascent: Nascent) -> None:
    """Until the birth is complete; raises what it failed with."""
    poll = select.poll()
    poll.register(nascent.fileno(), select.POLLIN)
    while True:
        poll.poll()
        if nascent.advance():
            break
    for warning in nascent.warnings:
        session.log.warning(warning)
    if nascent.failure is not None:
        raise nascent.failure


def release(session: Session, entry: Entry) -> None:
    """Let the program of a created container run. The caller holds the lock; it is given back before the hooks run."""
    spec = entry.spec()
    if spec.process is None:
        raise InvalidArgument(f'container "{entry.record.id}" cannot be started: its config.json has no process')
    status = session.status(entry)
    if status != "created":
        words = "an already running container" if status in ("running", "paused") else f"a container that has {status}"
        raise Conflict(f'cannot start {words}: "{entry.record.id}"')
    # The fifo goes after the release: killed in between, another `start` finds nobody waiting and says so.
    life.release(entry.fifo)
    os.unlink(entry.fifo)
    entry.close()
    if spec.hooks is not None:
        session.run_hooks(spec.hooks.poststart, entry, "running")


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


def remove(session: Session, entry: Entry) -> None:
    """What is outside of the container's processes: cgroup, directory; then the poststop hooks."""
    if entry.record.cgroup is not None:
        for warning in life.bury(entry.record.cgroup, session.layout).warnings:
            session.log.warning(warning)
    try:
        hooks = entry.spec().hooks
    except (OSError, InvalidArgument):
        hooks = None  # `create` was killed before it had copied config.json
    entry.destroy()
    if hooks is not None:
        session.run_hooks(hooks.poststop, entry, "stopped")
