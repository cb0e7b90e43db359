"""Which hierarchies this machine has mounted, and what can be written there.

    mode      controllers in            tracking (processes, kill, freeze)
    ------    ----------------------    ----------------------------------
    v1        one mount a controller    a named hierarchy, or the first
    hybrid    one mount a controller    the cgroup2 mount beside them, which has no controllers
    v2        the one cgroup2 mount     the same
    none      -                         -

A hierarchy's `root` is which of its directories is mounted (not "/" within a container without a cgroup namespace); a
cgroup's path is relative to the mount point.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gorae.cgroup.files import read_or_empty
from gorae.errors import InvalidArgument
from gorae.linux.mount import MountInfo, mountinfo

if TYPE_CHECKING:
    from gorae.cgroup.group import Cgroup

# What a v1 mount's super options may name besides controllers (cgroup-v1/cgroups.rst; kernel/cgroup/cgroup-v1.c,
# cgroup1_show_options).
_OPTIONS = frozenset(
    {"rw", "ro", "noprefix", "xattr", "clone_children", "cpuset_v2_mode", "favordynmods", "nofavordynmods", "none"}
)


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy; `controllers` has "name=…" for a named one and is empty for the cgroup2 mount of a hybrid layout."""

    version: int
    directory: str
    root: str
    controllers: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """`files` are the control files that a cgroup (not the root one) has here, all hierarchies together."""

    mode: str
    hierarchies: tuple[Hierarchy, ...]
    files: frozenset[str] = frozenset()

    @cached_property
    def unified(self) -> Hierarchy | None:
        return next((each for each in self.hierarchies if each.version == 2), None)

    @cached_property
    def controllers(self) -> dict[str, Hierarchy]:
        """The hierarchy of each controller; on v2 also of "devices" and "freezer", which always work there without one."""
        found = {name: each for each in self.hierarchies for name in each.controllers}
        if self.mode == "v2" and self.unified is not None:
            found.update(devices=self.unified, freezer=self.unified)
        return found

    @cached_property
    def tracking(self) -> Hierarchy | None:
        """Where a cgroup's processes are looked up: one that no controller's quirks touch, when there is one."""
        named = (each for each in self.hierarchies if any(name.startswith("name=") for name in each.controllers))
        return self.unified or next(named, None) or next(iter(self.hierarchies), None)

    def has(self, file: str) -> bool:
        return file in self.files

    def place(self, path: str) -> Cgroup:
        """The cgroup at `path` ("/gorae/<id>"), which need not exist. Raises `InvalidArgument` unless absolute and plain."""
        from gorae.cgroup.group import Cgroup  # a cgroup knows its layout; the way back is only this

        return Cgroup(self, check_path(path))


NONE = Layout("none", ())


def check_path(path: str) -> str:
    """A path within a hierarchy: absolute, below the root, no empty, "." or ".." part, no control characters."""
    if not path.startswith("/"):
        raise InvalidArgument(f"cgroup path {path!a} is not absolute: it must be like /gorae/name")
    parts = path[1:].split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise InvalidArgument(f"cgroup path {path!a} must name a directory below the root, without empty, '.' or '..' parts")
    if not path.isprintable():
        raise InvalidArgument(f"cgroup path {path!a} contains control characters")
    return path


def detect() -> Layout:
    """What this process can use. May make and remove one empty directory in each hierarchy, to see which files appear there.

    Call it once: it reads some dozens of files. Without a writable hierarchy the answer is `NONE`.
    """
    hierarchies = hierarchies_of(mountinfo(), _unified_controllers)
    if not hierarchies:
        return NONE
    bare = Layout(mode_of(hierarchies), hierarchies)
    return Layout(bare.mode, hierarchies, _files(bare))


def _unified_controllers(directory: str) -> tuple[str, ...]:
    return tuple(read_or_empty(f"{directory}/cgroup.controllers").split())


def hierarchies_of(mounts: Iterable[MountInfo], unified_controllers: Callable[[str], tuple[str, ...]]) -> tuple[Hierarchy, ...]:
    """The hierarchies among mounts (in mount order); one that is read-only or hidden below a later mount does not count."""
    visible: dict[str, MountInfo] = {}
    for mount in mounts:
        point = mount.mount_point
        for hidden in [each for each in visible if each == point or each.startswith(point.rstrip("/") + "/")]:
            del visible[hidden]
        visible[point] = mount
    found: dict[tuple[str, ...], Hierarchy] = {}
    for point, mount in visible.items():
        if "ro" in mount.options or "ro" in mount.super_options:
            continue
        if mount.fs_type == "cgroup2":
            found.setdefault(("cgroup2",), Hierarchy(2, point, mount.root, unified_controllers(point)))
        elif mount.fs_type == "cgroup":
            names = tuple(word for word in mount.super_options if word not in _OPTIONS and not word.startswith("release_agent="))
            if names:
                found.setdefault(names, Hierarchy(1, point, mount.root, names))
    return tuple(found.values())


def mode_of(hierarchies: Iterable[Hierarchy]) -> str:
    """A v1 mount that only tracks (name=systemd) makes no v1 layout."""
    first = any(each.version == 1 and not all(name.startswith("name=") for name in each.controllers) for each in hierarchies)
    second = any(each.version == 2 for each in hierarchies)
    return {(True, True): "hybrid", (True, False): "v1", (False, True): "v2", (False, False): "none"}[first, second]


def _files(layout: Layout) -> frozenset[str]:
    """The root of a hierarchy lacks most control files, so look at a child: any on v1, on v2 one with all controllers."""
    names: set[str] = set()
    probe = layout.place(f"/gorae-probe-{os.getpid()}")
    try:
        for hierarchy in layout.hierarchies:
            child = _child(hierarchy)
            found = _names(child) if child is not None else []
            if not found:  # or the child went away meanwhile: another process's probe, say
                with suppress(OSError):  # no right to make one: then nothing can be limited either
                    probe.create()
                found = _names(hierarchy.directory.rstrip("/") + probe.path)
            names.update(found)
    finally:
        probe.remove()
    return frozenset(names)


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if "." in name]
    except OSError:
        return []


def _child(hierarchy: Hierarchy) -> str | None:
    with os.scandir(hierarchy.directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and (
                hierarchy.version == 1 or _unified_controllers(entry.path) == hierarchy.controllers
            ):
                return entry.path
    return None
