"""Kernel parameters that belong to a namespace, written through a procfs that is mounted nowhere.

A write by path below the container's /proc could be led into another file of procfs (CVE-2019-19921, CVE-2025-52881); this one
has no path:

    fsopen("proc") ─▶ fsmount ─▶ openat2(that, "sys/net/…", RESOLVE_BENEATH | NO_XDEV | NO_SYMLINKS | NO_MAGICLINKS) ─▶ write
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import libc
from gorae.linux.mount import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, fsconfig_create, fsmount, fsopen
from gorae.linux.path import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from gorae.runtime.terms import Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec
    from gorae.runtime.scene import Scene

STRICT = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS

IPC = frozenset(
    "kernel." + name
    for name in (
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
        "msg_next_id",
        "sem_next_id",
        "shm_next_id",
    )
)


def namespace_of(name: str) -> str | None:
    """Which namespace must be the container's own for this parameter; None: it is the whole machine's."""
    if name in IPC or name.startswith("fs.mqueue."):
        return "ipc"
    if name.startswith("net."):
        return "network"
    return None


def plan(spec: Spec) -> Iterator[Step]:
    for name, value in (spec.linux.sysctl if spec.linux else {}).items():
        yield Step("write_procfs", (f"sys/{file_of(dotted(name))}", value), f"{name} of its {namespace_of(dotted(name))} namespace")


def dotted(name: str) -> str:
    """`net/ipv4/conf/eth0.1/x` and `net.ipv4.conf.eth0/1.x` both occur; this is sysctl(8)'s rule: the first separator decides."""
    first = next((letter for letter in name if letter in "./"), ".")
    return name if first == "." else name.translate({ord("."): "/", ord("/"): "."})


def file_of(name: str) -> str:
    """The file below /proc/sys: in the dotted form a slash stands for a dot within a name."""
    return name.translate({ord("."): "/", ord("/"): "."})


# What follows runs in the child.


def open_procfs(scene: Scene) -> None:
    context = fsopen("proc")
    try:
        fsconfig_create(context)
        scene.keep("procfs", fsmount(context, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC))
    finally:
        os.close(context)


def write_procfs(scene: Scene, path: str, value: str) -> None:
    descriptor = openat2(scene.descriptors["procfs"], path, os.O_WRONLY | os.O_CLOEXEC, 0, STRICT)
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise libc.named(error, "write", f"/proc/{path}") from None
    finally:
        os.close(descriptor)


def write_attribute(scene: Scene, name: str, value: str) -> None:
    """Of this very process: "self" would be a link, and none is followed."""
    write_procfs(scene, f"{os.getpid()}/{name}", value)


DEEDS: dict[str, Callable[..., object]] = {
    "open_procfs": open_procfs,
    "write_procfs": write_procfs,
    "write_attribute": write_attribute,
}
