"""One more process in a running container: how it gets in. What it becomes then is the same as at birth.

    parent   pidfd of PID 1 ─▶ setns(pidfd, CLONE_NEWPID) ─▶ clone3 ─▶ back into its own pid namespace
    child    non-dumpable first: from now on the container's processes can see it (CVE-2016-9962, CVE-2019-5736)
             ─▶ in the cgroups, "go" ─▶ setns(pidfd, all other kinds at once, Linux 5.8) ─▶ root "/" of the container

A container with CAP_SYS_PTRACE is not kept out by that flag: through /proc/PID/root of a child that is still in the machine's mount
namespace it would have the machine's files. So there the child stays out of sight at first:

    child    setns(pidfd, all kinds at once, pid too) ─▶ clone3(CLONE_PARENT): the sibling is the first that the container can see,
             and it is inside
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.errors import BirthError
from gorae.linux.namespace import BY_OCI, setns
from gorae.runtime.terms import Living, Step

if TYPE_CHECKING:
    from gorae.runtime.scene import Scene


def kinds(container: Living) -> dict[str, int]:
    """The namespaces that are not the machine's, by the specification's words."""
    linux = container.spec.linux
    return {each.type: BY_OCI[each.type].flag for each in (linux.namespaces if linux else ())}


def find(container: Living) -> Iterator[Step]:
    yield Step(
        "pidfd_open", (container.pid, container.pidfd), "the container's PID 1, and no other process that might get its number"
    )


def is_watched(container: Living) -> bool:
    """Whether its processes may look into every process that they can see."""
    process = container.spec.process
    held = process.capabilities.bounding if process and process.capabilities else ()
    return "CAP_SYS_PTRACE" in held and "pid" in kinds(container) and "user" not in kinds(container)


def detour(container: Living) -> Iterator[Step]:
    if "pid" in kinds(container) and not is_watched(container):
        yield Step("join_pid_namespace", ("process",), "only a child born there is in a pid namespace")


def enter(container: Living) -> Iterator[Step]:
    watched = is_watched(container)
    flags = sum(flag for kind, flag in kinds(container).items() if kind != "pid" or watched)
    if flags:
        yield Step("join_process", (flags,), f"all {'' if watched else 'other '}namespaces of the container at once")
    if watched:
        yield Step("leave_streams", (), "the parent's standard streams are the machine's files")
        yield Step("be_born_again", (0,), "the first that the container sees, which may look into all it sees: it is inside")
        yield Step("setsid", (), "a session of its own, for the sibling")
    if "user" in kinds(container):
        yield Step("become_root", (), "root of the container's user namespace")
    yield Step("open_root", (), "its root directory")


# What follows runs in the child.


def join_process(scene: Scene, flags: int) -> None:
    try:
        setns(scene.descriptors["process"], flags)
    except ProcessLookupError:
        raise BirthError("the container is not running", step="setns") from None
    scene.drop("process")


def open_root(scene: Scene) -> None:
    scene.keep("root", os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


def leave_streams(scene: Scene) -> None:
    """The container's root directory stands in for those that the program's will replace."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for descriptor in {0, 1, 2} - set(scene.stdio):
        os.dup2(root, descriptor)
    os.close(root)


DEEDS: dict[str, Callable[..., object]] = {"join_process": join_process, "open_root": open_root, "leave_streams": leave_streams}
