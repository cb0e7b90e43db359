"""What every command needs: where the containers are, where to complain, how this machine's control groups lie."""

from __future__ import annotations

import os
from argparse import Namespace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gorae.cgroup.group import Cgroup
from gorae.cgroup.layout import Layout, detect
from gorae.errors import Conflict, InvalidArgument
from gorae.runtime.cli.log import Log
from gorae.runtime.state import Entry, Status, Store, default_root, oci_state

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec

DEFAULT_CGROUP = "/gorae"


class Session:
    def __init__(self, arguments: Namespace, log: Log, inherited: frozenset[int]) -> None:
        self.store = Store(arguments.root or default_root())
        self.log = log
        self.systemd_cgroup: bool = arguments.systemd_cgroup
        self.inherited = inherited

    @cached_property
    def layout(self) -> Layout:
        return detect()

    def cgroup_path(self, spec: Spec, identifier: str) -> str | None:
        """The container's cgroup; None when this machine has none. A relative path is below ours, as runtimes may."""
        if not self.layout.hierarchies:
            return None
        wanted = spec.linux.cgroupsPath if spec.linux is not None else None
        if wanted and ":" in wanted and not wanted.startswith("/"):
            raise InvalidArgument(
                f'cgroupsPath "{wanted}" is a name for systemd, which this runtime does not use: set the engine\'s cgroup driver to'
                " cgroupfs"
            )
        if self.systemd_cgroup:
            self.log.warning("--systemd-cgroup has no effect: cgroups are made without systemd")
        if not wanted:
            return f"{DEFAULT_CGROUP}/{identifier}"
        parts = [part for part in wanted.split("/") if part not in ("", ".")]
        if ".." in parts or not parts:
            raise InvalidArgument(f'cgroupsPath "{wanted}": must name a cgroup below the root, without ".."')
        return "/".join(["" if wanted.startswith("/") else DEFAULT_CGROUP, *parts])

    def preserved(self, count: int) -> tuple[int, ...]:
        """Descriptors 3 to 2 + `count`. One that the caller did not give us would be a file of our own by now."""
        wanted = tuple(range(3, 3 + max(count, 0)))
        missing = [descriptor for descriptor in wanted if descriptor not in self.inherited]
        if missing:
            raise InvalidArgument(f"--preserve-fds {count}: descriptor {missing[0]} is not open")
        return wanted

    def cgroup(self, entry: Entry) -> Cgroup:
        """The cgroup of a container; `Conflict` when it has none."""
        if entry.record.cgroup is None:
            raise Conflict(f'container "{entry.record.id}" has no cgroup: this machine had none when it was created')
        return self.layout.place(entry.record.cgroup)

    def status(self, entry: Entry) -> Status:
        """The status, with `paused` told from `running`."""
        status = entry.status()
        if status == "running" and entry.record.cgroup is not None and self.layout.place(entry.record.cgroup).frozen():
            return "paused"
        return status

    def run_hooks(self, kind: str, config: dict[str, Any], entry: Entry, status: Status) -> None:
        """poststart and poststop: one that fails is told of and the others run (runtime.md, "Lifecycle", 9 and 13)."""
        if not (config.get("hooks") or {}).get(kind):
            return
        from gorae.oci import runtimespec
        from gorae.runtime import hooks

        for warning in hooks.run_all(getattr(runtimespec.decode(config).hooks, kind), oci_state(entry.record, status)):
            self.log.warning(warning)


def write_pid_file(path: str, pid: int) -> None:
    """Complete or not at all: the engine reads it as soon as it is there."""
    if not path:
        return
    directory, name = os.path.split(os.path.abspath(path))
    fresh = os.path.join(directory, f".{name}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, str(pid).encode())
    finally:
        os.close(descriptor)
    os.rename(fresh, path)
