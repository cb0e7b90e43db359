"""A directory tree that behaves like a cgroup2 mount, as far as `gorae.cgroup` looks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gorae.cgroup import files
from gorae.cgroup.layout import Hierarchy, Layout

CONTROLLERS = {
    "cpu": ("cpu.weight", "cpu.max"),
    "cpuset": ("cpuset.cpus", "cpuset.mems"),
    "memory": ("memory.max", "memory.swap.max", "memory.current", "memory.events", "memory.low"),
    "pids": ("pids.max", "pids.current"),
}
CORE = ("cgroup.procs", "cgroup.freeze", "cgroup.kill", "cgroup.events", "cgroup.subtree_control", "cgroup.controllers")


class Unified:
    """Controllers appear in a directory when its parent enables them; `busy` directories refuse to, as those with processes do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.busy: set[str] = set()
        self.stuck = False
        self.written: list[tuple[str, str]] = []
        self._mkdir, self._rmdir = os.mkdir, os.rmdir
        root.mkdir()
        self._fill(str(root), set(CONTROLLERS))

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "mkdir", self.mkdir)
        patch.setattr(os, "rmdir", self.rmdir)
        patch.setattr(files, "write", self.write)

    def layout(self) -> Layout:
        names = frozenset({name for group in CONTROLLERS.values() for name in group} | set(CORE))
        return Layout("v2", (Hierarchy(2, str(self.root), "/", tuple(sorted(CONTROLLERS))),), names)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._mkdir(path, mode)
        self._fill(path, set(Path(path).parent.joinpath("cgroup.subtree_control").read_text().split()))

    def rmdir(self, path: str) -> None:
        if any(entry.is_dir() for entry in Path(path).iterdir()) or Path(path, "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        for entry in Path(path).iterdir():
            entry.unlink()
        self._rmdir(path)

    def write(self, path: str, value: str) -> None:
        place = Path(path)
        self.written.append((str(place.relative_to(self.root)), value))
        if not place.exists():
            raise FileNotFoundError(errno.ENOENT, "open: No such file or directory", path)
        if place.name == "cgroup.subtree_control":
            self._enable(place, value)
        elif place.name == "cgroup.freeze":
            place.write_text(value + "\n")
            if not self.stuck:
                place.with_name("cgroup.events").write_text(f"populated 1\nfrozen {value}\n")
        else:
            place.write_text(value + "\n")

    def _enable(self, place: Path, value: str) -> None:
        if str(place.parent.relative_to(self.root)) in self.busy:
            raise OSError(errno.EBUSY, "write: Device or resource busy", str(place))
        if value[1:] not in place.with_name("cgroup.controllers").read_text().split():
            raise FileNotFoundError(errno.ENOENT, "write: No such file or directory", str(place))
        place.write_text(" ".join(sorted({*place.read_text().split(), value[1:]})))
        for below in place.parent.iterdir():
            if below.is_dir():
                self._fill(str(below), {value[1:]})

    def _fill(self, path: str, controllers: set[str]) -> None:
        have = set(Path(path, "cgroup.controllers").read_text().split()) if Path(path, "cgroup.controllers").exists() else set()
        for name in (*CORE, *(file for each in controllers for file in CONTROLLERS[each])):
            if not Path(path, name).exists():
                Path(path, name).write_text("")
        Path(path, "cgroup.controllers").write_text(" ".join(sorted(have | controllers)))
        Path(path, "cgroup.events").write_text("populated 0\nfrozen 0\n")
