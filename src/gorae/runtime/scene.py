"""What the steps of one birth share.

    parent ── Scene ──┐ clone3: the child gets its own copy, descriptors included
                      └─ child ── Scene

A deed is a function `deed(scene, *step.arguments)`; each topic module lists its deeds in a table `DEEDS`, which `plain` joins
into one. What a deed opens for later ones it keeps in `descriptors`, by name:

    root      the container's root directory (O_PATH), on top of its mount
    null      the machine's own /dev/null, checked by device number: what masked files are covered with
    process   the pidfd of the container that an exec joins
    procfs    a procfs that is mounted nowhere: nothing in the image can stand in for what is written through it
    barrier   the FIFO of `Context.barrier`
    hidden    an empty read-only tmpfs: what masked directories are covered with
    pid, network, …     namespaces to join
    mount:/path         a mount prepared outside (user namespaces), or one that becomes read-only at the end
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket

    from gorae.cgroup.layout import Layout
    from gorae.runtime.terms import Step

Timings = list[tuple[str, "Step", int]]


@dataclass(slots=True)
class Scene:
    stdio: tuple[int, ...]
    """What becomes descriptor 0, 1, 2, 3, …; with a terminal the first three are replaced by it."""
    report: _socket.socket | None = None
    """This side's end of the report socket."""
    pid: int = 0
    """The child's, in the parent's pid namespace; 0 before it is born and in the child."""
    descriptors: dict[str, int] = field(default_factory=dict)
    environment: list[str] = field(default_factory=list)
    program: str = ""
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    warnings: list[str] = field(default_factory=list)
    layout: Layout | None = None
    made_cgroup: str | None = None
    """The cgroup that the parent has made for this birth, to be removed if it fails."""
    ignored: tuple[int, ...] = ()
    """Signals that the parent ignores, and the child would."""
    bounding: int = -1
    """The parent's bounding set, which is the child's until a user namespace gives it all; -1: ask the kernel."""
    files: dict[str, bytes] | None = None
    """passwd and group by path, when somebody else has read them already."""
    released: bool = False
    """The barrier has been passed: by then the parent may be gone for good."""
    sealed: bool = False
    """True once the files in sight are the image's: nothing may be imported or opened by name any more."""

    def keep(self, name: str, descriptor: int) -> None:
        """Own a descriptor under a name; one that had the name before is closed."""
        former = self.descriptors.get(name, -1)
        self.descriptors[name] = descriptor
        if former >= 0:
            os.close(former)

    def drop(self, name: str) -> None:
        descriptor = self.descriptors.pop(name, -1)
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Close what is kept, in the parent once the child has its copies."""
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])
