"""create and run: from a bundle to a container that waits at its barrier, and on (runtime.md, "Lifecycle").

    create      name taken, state on disk ─▶ birth up to the barrier ─▶ console sent, pid file written
    run         the same ─▶ start ─▶ detached: done; else the program's input, output, signals and status are ours

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

from gorae.errors import Conflict, NotFound
from gorae.linux import process
from gorae.oci import runtimespec
from gorae.oci.json import LIMIT, read_json
from gorae.runtime import birth, life, null
from gorae.runtime.cli import terminal
from gorae.runtime.cli.lifecycle import release, remove
from gorae.runtime.cli.session import Session, write_pid_file
from gorae.runtime.state import Entry, Record, now
from gorae.runtime.terms import Context


def create(session: Session, arguments: Namespace) -> int:
    with ExitStack() as stack:
        _, nascent = new_container(session, arguments, detached=True, stack=stack)
        os.close(nascent.pidfd)
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


def new_container(session: Session, arguments: Namespace, detached: bool, stack: ExitStack) -> tuple[Entry, life.Nascent]:
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
    ours = False
    try:
        require_empty(session, cgroup)
        ours = True
        entry.make_barrier(*root_of(spec))
        null.replace_standard_streams()
        nascent = life.bear(planned, life.Stdio(more=session.preserved(arguments.preserve_fds)))
        bring_up(session, nascent, lambda: entry.born(nascent.pid), connection, arguments.pid_file)
    except BaseException:
        if ours:
            life.bury(cgroup, session.layout)
        entry.destroy()
        raise
    return entry, nascent


def bring_up(
    session: Session,
    nascent: life.Nascent,
    born: Callable[[], None],
    connection: socket.socket | None,
    pid_file: str,
) -> None:
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


def require_empty(session: Session, path: str | None) -> None:
    """`Conflict` if others live in the cgroup already: the end of one container would be the end of both."""
    if path is not None:
        place = session.layout.place(path)
        if place.exists() and place.procs():
            raise Conflict(f"cgroup {path} is not empty: {len(place.procs())} processes are in it; choose another cgroupsPath")


def read_config(bundle: str) -> bytes:
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            return file.read(LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} does not exist: --bundle must be a directory with one (`gorae-runtime spec` writes it)") from None


def wait(session: Session, nascent: life.Nascent) -> None:
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
