"""Hooks: programs that the specification runs at points of a container's life, with its state on standard input.

    point              where it runs            when                                          a failure
    prestart           the runtime's            mounts stand, before pivot_root (deprecated)  ends the birth
    createRuntime      the runtime's            the same                                      ends the birth
    createContainer    the container's          the same, still with the machine's files      ends the birth
    startContainer     the container's          after `start`, before execve                  ends the birth
    poststart          the runtime's            the program runs                              is a warning
    poststop           the runtime's            it is deleted                                 is a warning

The state is the specification's (runtime.md, "State"): ociVersion, id, status, pid, bundle, annotations.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from gorae.errors import BirthError
from gorae.linux import fd, process
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Hook, Spec
    from gorae.runtime.scene import Scene

SAID = 2048


def state(spec: Spec, context: Context, status: str, pid: int = 0) -> str:
    """The state as JSON; `pid` 0 leaves it out."""
    told: dict[str, object] = {"ociVersion": spec.ociVersion, "id": context.id, "status": status}
    if pid:
        told["pid"] = pid
    told["bundle"] = context.bundle
    told["annotations"] = {**spec.annotations, **context.annotations}
    return json.dumps(told)


def with_pid(told: str, pid: int) -> str:
    return json.dumps({**json.loads(told), "pid": pid})


def plan(hooks: tuple[Hook, ...], spec: Spec, context: Context, status: str, where: str) -> Iterator[Step]:
    told = state(spec, context, status)
    for hook in hooks:
        yield Step("run_hook", (hook.path, hook.args, hook.env, hook.timeout, told), f"a {where} hook")


def run(hook: Hook, told: Mapping[str, object]) -> None:
    """Run one hook and wait for it; see `run_program`."""
    run_program(hook.path, hook.args, hook.env, hook.timeout, json.dumps(told))


def run_program(path: str, arguments: tuple[str, ...], environment: tuple[str, ...], timeout: int | None, told: str) -> None:
    """Run one hook and wait for it, at most `timeout` seconds. Raises BirthError unless it exits with 0; what it said is in the
    message.
    """
    stdin = fd.sealed_memfd("state", told.encode())
    output = fd.memfd_create("output")
    try:
        try:
            pid = os.posix_spawn(
                path,
                list(arguments) or [path],
                dict(each.partition("=")[::2] for each in environment),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError as error:
            raise BirthError(
                f"hook {path}: {os.strerror(error.errno or 0).lower()}", step="run_hook", errno=error.errno or 0, path=path
            ) from None
        status = _wait(pid, timeout)
        if status != 0:
            raise BirthError(f"hook {path}: {_ending(status, timeout)}{_said(output)}", step="run_hook", path=path)
    finally:
        os.close(stdin)
        os.close(output)


def run_all(hooks: tuple[Hook, ...], told: Mapping[str, object]) -> list[str]:
    """For poststart and poststop: all of them run; the failures are returned as warnings."""
    warnings = []
    for hook in hooks:
        try:
            run(hook, told)
        except BirthError as error:
            warnings.append(str(error))
    return warnings


def _wait(pid: int, timeout: int | None) -> int | None:
    """The wait status; None when the time was over (the hook is then dead and reaped)."""
    pidfd = process.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(None if timeout is None else timeout * 1000):
            return os.waitpid(pid, 0)[1]
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None
    finally:
        os.close(pidfd)


def _ending(status: int | None, timeout: int | None) -> str:
    if status is None:
        return f"not done within {timeout} s, killed"
    number = process.exit_signal(status)
    return f"killed by {process.signal_name(number)}" if number else f"exit status {process.exit_code(status)}"


def _said(output: int) -> str:
    text = os.pread(output, SAID, max(0, os.fstat(output).st_size - SAID)).decode("utf-8", "replace").strip()
    return f": {text}" if text else ""


# What follows runs in the child.


def run_inside(
    scene: Scene, path: str, arguments: tuple[str, ...], environment: tuple[str, ...], timeout: int | None, told: str
) -> None:
    run_program(path, arguments, environment, timeout, with_pid(told, os.getpid()))


DEEDS: dict[str, Callable[..., object]] = {"run_hook": run_inside}
