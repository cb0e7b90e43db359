"""The words in which a birth is told: Step, Context, Birth, Living. Plain data, frozen.

    Birth ── before  parent   before the child exists
          ├─ detour  parent   into a namespace that only a parent can give (pid, time offsets), left once the child is born
          ├─ flags            of clone3
          ├─ beside  parent   while the child waits for "go"
          ├─ midway  parent   when the child asks: hooks that run out here once the container's mounts stand
          ├─ child            the rest; ends with execve
          └─ after   parent   when the program runs (only without a barrier; with one this is the caller's, see hooks)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gorae.cgroup.layout import Layout
    from gorae.oci.runtimespec import Spec


@dataclass(frozen=True, slots=True)
class Step:
    """One deed: `call` is a key of the executor's table, `arguments` are plain data, `reason` is one line for people.

    A call that bears a system call's name makes that one call; the others are small safe compositions (`mount_in_root` walks to
    its target without leaving the root). An argument that names a descriptor is a key of `Scene.descriptors`.
    """

    call: str
    arguments: tuple[object, ...]
    reason: str

    def __str__(self) -> str:
        """As --explain prints it: `mount_in_root("proc", "proc", "/proc", 0xe, "")`, with blobs as their size."""
        return f"{self.call}({', '.join(map(_shown, self.arguments))})"


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return hex(value) if value > 0xFFF else str(value)
    if isinstance(value, str):
        return '"' + value + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


@dataclass(frozen=True, slots=True)
class RootMount:
    """A mount that makes root.path; several are stacked in order. It exists in the container's mount namespace only."""

    type: str  # "overlay", "bind", "tmpfs", …
    source: str = ""
    options: tuple[str, ...] = ()  # "lowerdir=/a:/b", "upperdir=…", "ro", …


@dataclass(frozen=True, slots=True)
class Context:
    """What the specification cannot say."""

    id: str
    bundle: str = "/"  # what a relative root.path is relative to; hooks are told
    rootfs: tuple[RootMount, ...] = ()  # empty: root.path is the root file system as it stands
    user: str | None = None  # "name", "uid", "name:group", …: resolved by a step in the container's own passwd and group
    groups: tuple[str, ...] = ()  # names or ids that are added to the supplementary groups, resolved likewise
    init: bool = False  # the child stays as PID 1, reaps and forwards signals
    cgroup: str | None = None  # path in the hierarchy, "/gorae/<id>"; None: stay in the parent's
    cgroup_layout: Layout | None = None
    barrier: str | None = None  # a FIFO at which the child waits, last of all, for life.release
    annotations: dict[str, str] = field(default_factory=dict)  # told to hooks, beside the specification's own
    new_keyring: bool = True  # join a fresh session keyring (runc's --no-new-keyring says False)
    pivot: bool = True  # False: chroot instead of pivot_root, for a root on the initramfs (runc's --no-pivot)


@dataclass(frozen=True, slots=True)
class Birth:
    """Everything that will happen. It can be printed, compared and tested without root."""

    id: str
    before: tuple[Step, ...]
    flags: int
    beside: tuple[Step, ...]
    child: tuple[Step, ...]
    detour: tuple[Step, ...] = ()
    midway: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    cgroup: str | None = None  # made by `before`, so removed again when the birth fails
    cgroup_layout: Layout | None = None
    warnings: tuple[str, ...] = ()  # what this machine cannot enforce


@dataclass(frozen=True, slots=True)
class Living:
    """A running container, as `plan_exec` needs to know it."""

    pid: int  # of its PID 1, in our pid namespace
    spec: Spec
    pidfd: int = -1  # borrowed; -1: opened from pid
