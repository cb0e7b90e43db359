"""exec: one more program in a container."""

from __future__ import annotations

import os
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import replace

from gorae.errors import Conflict, InvalidArgument
from gorae.oci import runtimespec
from gorae.oci.json import LIMIT, read_json
from gorae.oci.runtimespec import Capabilities, Process, Spec
from gorae.runtime import birth, life, null
from gorae.runtime.cli import terminal
from gorae.runtime.cli.creation import bring_up
from gorae.runtime.cli.session import Session
from gorae.runtime.terms import Context, Living


def execute(session: Session, arguments: Namespace) -> int:
    with ExitStack() as stack:
        entry = stack.enter_context(session.store.open(arguments.id))
        status = session.status(entry)
        if status == "paused" and not arguments.ignore_paused:
            raise Conflict(f'cannot exec in a paused container: resume "{arguments.id}" first, or use --ignore-paused')
        if status not in ("created", "running", "paused"):
            raise Conflict(f'cannot exec in a stopped container: "{arguments.id}" is {status}')
        spec = entry.spec()
        process = wanted(arguments, spec)
        terminal.check(process.terminal, arguments.detach, arguments.console_socket)
        connection = stack.enter_context(terminal.connect(arguments.console_socket)) if arguments.console_socket else None
        context = Context(
            id=arguments.id,
            bundle=entry.record.bundle,
            user=arguments.user or None,
            groups=tuple(map(str, arguments.additional_gids)),
            cgroup=entry.record.cgroup,
            cgroup_layout=session.layout,
        )
        planned = birth.plan_exec(process, Living(pid=entry.record.pid, spec=spec), context)
        null.replace_standard_streams()
        nascent = life.bear(planned, life.Stdio(more=session.preserved(arguments.preserve_fds)))
        bring_up(session, nascent, lambda: None, connection, arguments.pid_file)
        if arguments.detach:
            os.close(nascent.pidfd)
            return 0
        return terminal.foreground(nascent.pid, nascent.pidfd, nascent.console)


def wanted(arguments: Namespace, spec: Spec) -> Process:
    """What --process says as it stands; else the container's own process with what the options change."""
    if arguments.process:
        try:
            with open(arguments.process, "rb") as file:
                given = runtimespec.decode_process(read_json(file.read(LIMIT + 1), arguments.process))
        except OSError as error:
            raise InvalidArgument(f"--process {arguments.process}: {error.strerror}") from error
        return replace(given, terminal=True) if arguments.tty else given
    program = arguments.args[1:] if arguments.args[:1] == ["--"] else arguments.args
    if not program:
        raise InvalidArgument("exec: name a program to run, or a file with --process")
    own = spec.process or Process(cwd="/")
    return replace(
        own,
        args=tuple(program),
        terminal=arguments.tty,
        consoleSize=None,
        cwd=arguments.cwd or own.cwd,
        env=(*own.env, *arguments.env),
        noNewPrivileges=own.noNewPrivileges or arguments.no_new_privs,
        capabilities=with_capabilities(own.capabilities, tuple(arguments.cap)),
        apparmorProfile=arguments.apparmor or own.apparmorProfile,
        selinuxLabel=arguments.process_label or own.selinuxLabel,
    )


def with_capabilities(own: Capabilities | None, more: tuple[str, ...]) -> Capabilities | None:
    """Never into the inheritable set: what a program there gains it could pass to any file (CVE-2022-29162)."""
    if not more:
        return own
    have = own or Capabilities()
    return replace(
        have,
        bounding=merged(have.bounding, more),
        effective=merged(have.effective, more),
        permitted=merged(have.permitted, more),
    )


def merged(have: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*have, *more)))
