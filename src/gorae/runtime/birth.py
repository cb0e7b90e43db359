"""The kernel story of a container: from an OCI specification to the steps of its birth, in order.

Nothing happens in this file. `plan` decides, `life.bear` does the parent's part, `plain` does the child's.

    parent                                              child
    ──────                                              ─────
    before: make cgroups, write limits,
            open what must be opened out here
    clone3(flags) ────────────────────────────────────▶ non-dumpable, default signals, own session
    beside: put the child into its cgroups, write the   waits on the report socket
            id maps, compare with the plan
    one byte "go" ────────────────────────────────────▶ namespaces, root file system, mounts, devices, masks, pivot_root,
                                                        user, limits, capabilities, seccomp
    end of file on the report socket ◀───────────────── execve: the socket is close-on-exec
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gorae.cgroup.layout import Layout
    from gorae.oci.runtimespec import Process, Spec


@dataclass(frozen=True, slots=True)
class Step:
    """One deed: `call` is a key of the executor's table, `arguments` are plain data, `reason` is one line for people."""

    call: str
    arguments: tuple[object, ...]
    reason: str


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
    init: bool = False  # the child stays as PID 1, reaps and forwards signals
    cgroup: str | None = None  # path in the hierarchy, "/gorae/<id>"; None: stay in the parent's
    cgroup_layout: Layout | None = None
    barrier: str | None = None  # a FIFO at which the child waits, last of all, for life.release
    annotations: dict[str, str] = field(default_factory=dict)  # told to hooks


@dataclass(frozen=True, slots=True)
class Birth:
    """Everything that will happen. Plain data: it can be printed, compared and tested without root."""

    id: str
    before: tuple[Step, ...]  # parent, before the child exists
    flags: int  # of clone3: the namespaces that are made
    beside: tuple[Step, ...]  # parent, while the child waits
    child: tuple[Step, ...]  # ends with execve
    warnings: tuple[str, ...] = ()  # what this machine cannot enforce


@dataclass(frozen=True, slots=True)
class Living:
    """A running container, as `plan_exec` needs to know it."""

    pid: int  # of its PID 1, in our pid namespace
    spec: Spec
    pidfd: int = -1  # borrowed; -1: opened from pid


def plan(spec: Spec, context: Context) -> Birth:
    """The birth of a container. Pure. Raises InvalidArgument for what is refused (see `validate`)."""
    raise NotImplementedError


def plan_exec(process: Process, container: Living, context: Context) -> Birth:
    """The birth of one more process in a running container; of context it takes `user`, `cgroup` and `cgroup_layout`."""
    raise NotImplementedError
