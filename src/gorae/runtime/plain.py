"""The reference executor: a raw clone3 child walks the list of steps in Python.

    parent ── clone3(flags) ──┬── parent goes on
                              └── child: for each step DEEDS[step.call](scene, *step.arguments) ── … ── execve

The child never returns from `spawn`: it becomes the program, or tells what failed and exits. It runs on a copy of the parent's
heap, without the interpreter's after-fork hooks, so it touches as little as it can: no imports, no garbage collection, no
exceptions but failures.

What the child says, one message each, on a SOCK_SEQPACKET socket that execve closes:

    w text           a warning
    c + descriptor   the terminal's master
    h                the mounts stand: run the hooks, then answer "g"
    t n × u64        explain: the number of the first step, then nanoseconds of each from there
    p pid            be_born_again: this one ends, follow that one
    b                the barrier is reached
    x                execve comes next; then the end of file means that the program runs
    f json           failed; the last message
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal.py turns every number into an enum; that costs more than the calls
import array
import errno
import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from gorae.errors import BirthError, GoraeError
from gorae.linux import fd, libc, process
from gorae.linux.namespace import CLONE_CLEAR_SIGHAND, CLONE_PARENT, clone3
from gorae.runtime import (
    confine,
    console,
    devices,
    exec,
    hooks,
    identity,
    init,
    masks,
    mounts,
    namespaces,
    outside,
    program,
    rootfs,
    sysctl,
)
from gorae.runtime.scene import Scene
from gorae.runtime.terms import Birth, Step

GO = b"g"
WARNING, CONSOLE, HOOKS, TIMINGS, PID, BARRIER, EXEC, FAILED = b"w", b"c", b"h", b"t", b"p", b"b", b"x", b"f"
STDERR = 2

fault: Callable[[int, Step], None] | None = None
"""For tests: called in the child before each step; what it raises is that step's failure."""

ALL_SIGNALS = _signal.valid_signals()


def spawn(birth: Birth, scene: Scene, explain: bool) -> tuple[int, int]:
    """Bear the child; returns its pid and pidfd in the parent. The parent's signals are held back until the child has its own
    handlers.
    """
    scene.ignored = tuple(number for number in ALL_SIGNALS if _signal.getsignal(number) == _signal.SIG_IGN)
    with away(birth, scene):
        pid, pidfd = clone3(birth.flags | CLONE_CLEAR_SIGHAND, cgroup_fd=scene.descriptors.get("cgroup", -1))
        if pid == 0:
            _live(birth.child, scene, explain)
    return pid, pidfd


@contextmanager
def away(birth: Birth, scene: Scene) -> Iterator[None]:
    """Where the child is born: on the birth's detour, with all signals held back. Both end whatever happens: a parent that stayed
    in a container's namespaces, or deaf, would ruin every later birth.
    """
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)
    try:
        with outside.way_back(frozenset(step.call for step in birth.detour)):
            for step in birth.detour:
                outside.DEEDS[step.call](scene, *step.arguments)
            yield
    except OSError as error:
        if error.errno == errno.ENOMEM and birth.detour:
            # Nobody can be born in a pid namespace whose PID 1 has ended.
            raise BirthError("the container is not running", step="clone3", errno=errno.ENOMEM) from None
        raise
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _live(steps: tuple[Step, ...], scene: Scene, explain: bool) -> NoReturn:
    status = 1
    spent = array.array("Q", [0])
    step = steps[0]
    try:
        gc.disable()
        scene.warnings.clear()
        if explain or fault is not None:
            for number, step in enumerate(steps):
                if fault is not None:
                    fault(number, step)
                if step.call in ("execve", "barrier"):
                    _tell_timings(scene, spent, number)
                began = time.monotonic_ns()
                DEEDS[step.call](scene, *step.arguments)
                spent.append(time.monotonic_ns() - began)
        else:
            for step in steps:
                DEEDS[step.call](scene, *step.arguments)
        status = 0
    except BaseException as error:
        status = _tell_failure(scene, step, error, spent)
    finally:
        os._exit(status)


def _tell(scene: Scene, message: bytes) -> bool:
    """False when nobody listens any more: after a barrier the parent may be gone."""
    if scene.report is None:
        return False
    try:
        fd.send_message(scene.report, message)
    except OSError:
        return False
    return True


def _tell_timings(scene: Scene, spent: array.array[int], number: int) -> None:
    _tell(scene, TIMINGS + spent.tobytes())
    del spent[:]
    spent.append(number)


def _tell_failure(scene: Scene, step: Step, error: BaseException, spent: array.array[int]) -> int:
    """Returns the exit status: Docker's, for whoever only sees that."""
    failure = describe(step, error)
    if len(spent) > 1:
        _tell(scene, TIMINGS + spent.tobytes())
    told = {
        "kind": type(failure).__name__,
        "message": str(failure),
        "step": failure.step,
        "errno": failure.errno,
        "path": failure.path,
    }
    if not _tell(scene, FAILED + json.dumps(told).encode()):
        try:
            os.write(STDERR, f"{failure}\n".encode("utf-8", "replace"))
        except OSError:
            pass
    return {"CommandNotFound": 127, "CommandNotExecutable": 126}.get(type(failure).__name__, 1)


def describe(step: Step, error: BaseException) -> BirthError:
    """A failure as people read it: `mount_in_root /proc: mount: operation not permitted`."""
    if isinstance(error, BirthError):
        return error
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        words = (error.strerror or str(error)).strip()
        where = f"{step.call} {path}" if path else step.call
        return BirthError(f"{where}: {words}", step=step.call, errno=error.errno or 0, path=path)
    if isinstance(error, GoraeError):
        return BirthError(str(error), step=step.call)
    return BirthError(f"{step.call}: {type(error).__name__}: {error}", step=step.call)


# The deeds that belong to the executor itself.


def close_descriptors(scene: Scene) -> None:
    """Everything but what this birth uses. The parent's 0, 1, 2 stay until they are replaced."""
    kept = {0, 1, 2, *(each for each in scene.stdio if each >= 0), *scene.descriptors.values()}
    if scene.report is not None:
        kept.add(scene.report.fileno())
    first = 3
    for descriptor in sorted(kept):
        if descriptor > first:
            fd.close_range(first, descriptor - 1)
        first = max(first, descriptor + 1)
    fd.close_range(first)


def close_on_exec(scene: Scene) -> None:
    fd.close_range(len(scene.stdio), flags=fd.CLOSE_RANGE_CLOEXEC)


def reset_signals(scene: Scene) -> None:
    """clone3 has reset what was handled (CLONE_CLEAR_SIGHAND); what was ignored is left."""
    for number in scene.ignored:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def wait_for_parent(scene: Scene) -> None:
    assert scene.report is not None
    if scene.report.recv(1) != GO:
        os._exit(1)  # the parent has given up, or is gone: nobody is left to be told


def ask_parent(scene: Scene) -> None:
    _tell(scene, HOOKS)
    wait_for_parent(scene)


def barrier(scene: Scene) -> None:
    _tell_warnings(scene)
    _tell(scene, BARRIER)
    program.wait_at_barrier(scene)
    scene.released = True


def execve(scene: Scene, arguments: tuple[str, ...]) -> None:
    _tell_warnings(scene)
    if not _tell(scene, EXEC) and not scene.released:
        os._exit(1)  # whoever wanted this program is gone
    program.execve(scene, arguments)


def _tell_warnings(scene: Scene) -> None:
    for warning in scene.warnings:
        _tell(scene, WARNING + warning.encode("utf-8", "replace"))
    scene.warnings.clear()


def be_born_again(scene: Scene, flags: int) -> None:
    """The sibling goes on; this process has only been its way into the namespaces."""
    pid, _ = clone3(flags | CLONE_PARENT, exit_signal=0)
    if pid:
        _tell(scene, PID + str(pid).encode())
        os._exit(0)


def stay_as_init(scene: Scene) -> None:
    init.prepare()
    pid, _ = clone3(0)
    if pid:
        init.stay(pid)
    init.become_program()


DEEDS: dict[str, Callable[..., object]] = {
    **outside.CHILD_DEEDS,
    **rootfs.DEEDS,
    **namespaces.DEEDS,
    **mounts.DEEDS,
    **devices.DEEDS,
    **masks.DEEDS,
    **sysctl.DEEDS,
    **console.DEEDS,
    **identity.DEEDS,
    **confine.DEEDS,
    **program.DEEDS,
    **exec.DEEDS,
    **hooks.DEEDS,
    "set_dumpable": lambda scene, on: process.set_dumpable(on),
    "setsid": lambda scene: libc.call("setsid"),
    "close_descriptors": close_descriptors,
    "close_on_exec": close_on_exec,
    "reset_signals": reset_signals,
    "wait_for_parent": wait_for_parent,
    "ask_parent": ask_parent,
    "barrier": barrier,
    "execve": execve,
    "be_born_again": be_born_again,
    "stay_as_init": stay_as_init,
}
"""The child's table: what each call of a step does."""
