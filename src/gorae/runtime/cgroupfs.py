"""What the container sees of its control groups, for a mount of type `cgroup`. Pure: the deeds are those of `mounts`.

    v2                          /sys/fs/cgroup            cgroup2 of its namespace, or its own directory bound
    v1, hybrid   tmpfs ──────── /sys/fs/cgroup ─┬ memory  cgroup of its namespace, or its own directory bound
                                                ├ cpu,cpuacct
                                                └ cpu → cpu,cpuacct

Read-only whenever the mount says so, and in a bind always: another container's limits must stay out of reach (CVE-2023-25809).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gorae.linux.mount import MS_RDONLY
from gorae.runtime.options import Options, attributes
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.cgroup.layout import Hierarchy
    from gorae.oci.runtimespec import Mount, Spec


def plan(entry: Mount, options: Options, spec: Spec, context: Context) -> Iterator[Step]:
    layout = context.cgroup_layout
    if layout is None or layout.mode == "none":
        return
    private = any(namespace.type == "cgroup" for namespace in (spec.linux.namespaces if spec.linux else ()))
    if layout.mode == "v2":
        yield _one(layout.hierarchies[0], entry.destination, options, context, private)
        return
    keep = f"mount:{entry.destination}" if options.flags & MS_RDONLY else ""
    yield Step(
        "mount_in_root",
        ("tmpfs", "tmpfs", entry.destination, options.flags & ~MS_RDONLY, "mode=755", options.propagation, keep),
        "a directory for the control group hierarchies",
    )
    for hierarchy in layout.hierarchies:
        if hierarchy.version == 1:
            name = hierarchy.directory.rpartition("/")[2]
            yield _one(hierarchy, f"{entry.destination}/{name}", options, context, private)
            for controller in hierarchy.controllers:
                if controller != name and not controller.startswith("name="):
                    yield Step("symlink_in_root", (name, f"{entry.destination}/{controller}"), f"{controller} is in {name} here")


def _one(hierarchy: Hierarchy, destination: str, options: Options, context: Context, private: bool) -> Step:
    what = ",".join(hierarchy.controllers) or "the unified hierarchy"
    if private:
        kind = "cgroup" if hierarchy.version == 1 else "cgroup2"
        data = ",".join(hierarchy.controllers) if hierarchy.version == 1 else ""
        return Step(
            "mount_in_root",
            (kind, kind, destination, options.flags, data, options.propagation, ""),
            f"it sees its own place in {what}, as the root",
        )
    own, none = attributes(options.flags | MS_RDONLY, 0)
    source = hierarchy.directory + (context.cgroup or "")
    return Step(
        "bind_in_root",
        (source, True, destination, (own, none), (0, 0), options.propagation),
        f"it sees its own place in {what}, read-only",
    )
