"""What is particular to v1 hierarchies.

    made      a new cpuset is empty and takes no process: cpus and mems are copied from the parent; cgroup.clone_children on the
              parents lets the kernel do that for their children (cgroup-v1/cpusets.rst)
    freeze    freezer.state: THAWED → FREEZING → FROZEN; nothing tells when, so it is asked again (freezer-subsystem.rst)
"""

from __future__ import annotations

import os
import time

from gorae.cgroup import files
from gorae.cgroup.layout import Hierarchy
from gorae.errors import Unavailable


def make(hierarchy: Hierarchy, directory: str, parent: bool = False) -> bool:
    """Make the directory, with its parents; False when it was there. `parent`: others are going to be made in it."""
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return False
    except FileNotFoundError:
        above = os.path.dirname(directory)
        if not above.startswith(hierarchy.directory + "/"):
            raise
        make(hierarchy, above, parent=True)
        return make(hierarchy, directory, parent)
    if "cpuset" in hierarchy.controllers:
        _fill_cpuset(directory, parent)
    return True


def _fill_cpuset(directory: str, parent: bool) -> None:
    above = os.path.dirname(directory)
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not files.read(f"{directory}/{name}").strip():
            files.write(f"{directory}/{name}", files.read(f"{above}/{name}").strip())
    if parent:
        files.write(f"{directory}/cgroup.clone_children", "1")


def set_frozen(directory: str, frozen: bool, patience: float) -> None:
    """Raises `Unavailable`, with all thawed again, when the processes cannot be frozen within `patience` seconds."""
    path = f"{directory}/freezer.state"
    if not frozen:
        files.write(path, "THAWED")
        return
    deadline = time.monotonic() + patience
    pause = 0.0
    while True:
        # A process that was being born escapes the first order, so it is repeated.
        files.write(path, "FROZEN")
        if files.read(path).strip() == "FROZEN":
            return
        if time.monotonic() >= deadline:
            files.write(path, "THAWED")
            raise Unavailable(f"{directory}: cannot be frozen: a process there stays in an uninterruptible call")
        time.sleep(pause)
        pause = min(pause + 0.0005, 0.01)


def is_frozen(directory: str) -> bool:
    return files.read_or_empty(f"{directory}/freezer.state").strip() in ("FROZEN", "FREEZING")
