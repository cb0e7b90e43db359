"""What is undone of everything outside the child: its cgroups, with whoever is left in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gorae.errors import Conflict, GoraeError

if TYPE_CHECKING:
    from gorae.cgroup.layout import Layout


@dataclass(frozen=True, slots=True)
class Remains:
    oom_kills: int
    warnings: tuple[str, ...] = ()


def bury(cgroup: str | None, layout: Layout | None) -> Remains:
    """Kill what is left in the container's cgroup, read how often it ran out of memory, remove it. Idempotent."""
    if cgroup is None or layout is None:
        return Remains(0)
    group = layout.place(cgroup)
    kills = group.oom_kills()
    try:
        try:
            group.remove(0)
        except Conflict:
            group.kill()
            group.remove()
    except (GoraeError, OSError) as error:
        return Remains(kills, (f"cgroup {cgroup} is left behind: {error}",))
    return Remains(kills)
