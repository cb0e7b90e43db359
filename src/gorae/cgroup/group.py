"""One control group: the same path in every hierarchy of this machine.

    create ─▶ apply, restrict_devices ─▶ enter (open_unified + entrances, or attach) … freeze ⇄ thaw … kill ─▶ remove

    /sys/fs/cgroup/memory/gorae/<id>      v1, one directory a hierarchy
    /sys/fs/cgroup/unified/gorae/<id>     hybrid: processes are tracked, frozen and killed here
    /sys/fs/cgroup/gorae/<id>             v2

A `Cgroup` holds no descriptor and no state but its path: it may be made anew at any time for a cgroup that lives. Under a
layout without hierarchies nothing is limited and nothing is done, and `apply` says so in warnings.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gorae.cgroup import devices, events, files, stats, v1, v2
from gorae.cgroup.layout import Hierarchy, Layout
from gorae.cgroup.limits import Write
from gorae.cgroup.processes import directories_below, processes_below, some, wait_for_deaths
from gorae.cgroup.stats import Stats
from gorae.errors import Conflict, InvalidArgument, NotFound, Unavailable, Unsupported
from gorae.linux import libc

if TYPE_CHECKING:
    from gorae.oci.runtimespec import DeviceRule

# A limit may be refused until another one has moved (memory must stay below memory+swap, a quota within its period and its
# parent's).
_IN_PAIRS = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_", "cpu.rt_", "cpu.max")


class Cgroup:
    """Made by `Layout.place`."""

    def __init__(self, layout: Layout, path: str) -> None:
        self.layout = layout
        self.path = path

    @cached_property
    def _places(self) -> tuple[tuple[Hierarchy, str], ...]:
        return tuple((each, each.directory.rstrip("/") + self.path) for each in self.layout.hierarchies)

    @cached_property
    def _directories(self) -> dict[str, str]:
        """The directory of each controller; "" for the tracking hierarchy, "cgroup" for the unified one (core files)."""
        found = {name: each.directory.rstrip("/") + self.path for name, each in self.layout.controllers.items()}
        for name, hierarchy in (("", self.layout.tracking), ("cgroup", self.layout.unified)):
            if hierarchy is not None:
                found[name] = hierarchy.directory.rstrip("/") + self.path
        return found

    def paths(self) -> dict[str, str]:
        """The absolute directory of each controller (named hierarchies as "name=…"; the unified hierarchy as "")."""
        found = {name: directory for name, directory in self._directories.items() if name not in ("", "cgroup")}
        if "cgroup" in self._directories:
            found[""] = self._directories["cgroup"]
        return found

    def exists(self) -> bool:
        return any(os.path.isdir(directory) for _, directory in self._places)

    def create(self) -> None:
        """Make the directories, with their parents. Undone when it fails; `Conflict` when it exists and holds processes."""
        new = True
        try:
            for hierarchy, directory in self._places:
                made = v2.make(hierarchy, directory) if hierarchy.version == 2 else v1.make(hierarchy, directory)
                new = new and made
            if not new and (pids := self.procs()):
                raise Conflict(f"cgroup {self.path} exists and holds processes {some(pids)}: kill them or choose another path")
        except OSError:
            if new:
                with suppress(Conflict, OSError):  # the first failure is the one to tell
                    self.remove()
            raise

    def apply(self, writes: tuple[Write, ...]) -> tuple[str, ...]:
        """Write limits, in order, and return warnings for those that this kernel turned out not to have.

        `InvalidArgument` for a value that the kernel refuses, `Conflict` for one below what is in use.
        """
        warnings: list[str] = []
        later: list[Write] = []
        for write in writes:
            if not self._write(write, warnings, final=not write.file.startswith(_IN_PAIRS)):
                later.append(write)
        for write in later:
            self._write(write, warnings, final=True)
        return tuple(warnings)

    def _write(self, write: Write, warnings: list[str], final: bool) -> bool:
        """False when it should be tried again after the others."""
        directory = self._directories.get(write.controller)
        if directory is None:
            warnings.append(f"{write.file} is not enforced: this host has no {write.controller} cgroup controller")
            return True
        try:
            if write.unless_above is not None and int(files.read(f"{directory}/{write.unless_above}")) > int(write.value):
                raise Conflict(f"{write.file} cannot be {write.value}: {write.unless_above} is already higher")
            files.write(f"{directory}/{write.file}", write.value)
        except OSError as error:
            if error.errno == errno.EINVAL and not final:
                return False
            if not os.path.isdir(directory):
                raise NotFound(f"cgroup {self.path} does not exist: {directory}") from None
            warnings.append(_refused(write, error))
        return True

    def restrict_devices(self, rules: tuple[DeviceRule, ...]) -> tuple[str, ...]:
        """Allow exactly the devices of the rules (see `devices`); no rules, no change. Returns warnings.

        `Unsupported` when neither v1's controller nor a program can say it.
        """
        if not rules:
            return ()
        hierarchy = self.layout.controllers.get("devices")
        if hierarchy is None and self.layout.unified is None:
            return ("the device rules are not enforced: this host has no devices cgroup controller",)
        if hierarchy is None or hierarchy.version == 2:
            v2.set_device_program(self._directories["cgroup"], devices.program(rules))
            return ()
        try:
            lines = devices.lines(rules)
        except Unsupported:
            if self.layout.unified is None:
                return self._write_devices(devices.lines(rules, lenient=True))
            v2.set_device_program(self._directories["cgroup"], devices.program(rules))
            return ()
        return self._write_devices(lines)

    def _write_devices(self, lines: tuple[Write, ...]) -> tuple[str, ...]:
        """A line a write, but each file is opened only once."""
        warnings: list[str] = []
        with ExitStack() as stack:
            opened: dict[str, int] = {}
            for line in lines:
                path = f"{self._directories['devices']}/{line.file}"
                if path not in opened:
                    opened[path] = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                    stack.callback(os.close, opened[path])
                try:
                    os.write(opened[path], line.value.encode())
                except PermissionError:
                    if line.file != "devices.allow":
                        raise
                    # Less than was asked for, hence safe: the parent (of an engine within a container) does not allow it.
                    warnings.append(f"device rule '{line.value}' has no effect: this host's own rules do not allow it")
        return tuple(warnings)

    def attach(self, pid: int) -> None:
        """Move a process (0: the caller) into the cgroup, in every hierarchy.

        The first such move after a quiet moment waits for an RCU grace period, 5 to 20 ms (cgroup_threadgroup_rwsem): a birth
        enters by `open_unified` and `entrances`, which never wait.
        """
        text = str(pid)
        for _, directory in self._places:
            files.write(f"{directory}/cgroup.procs", text)

    def open_unified(self) -> int:
        """A descriptor for clone3's CLONE_INTO_CGROUP, owned by the caller; -1 when there is no cgroup2 mount."""
        directory = self._directories.get("cgroup")
        return -1 if directory is None else os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def entrances(self, cloned_into: bool) -> tuple[str, ...]:
        """Files into which a process with one thread writes "0" to enter; `cloned_into`: it is in the unified hierarchy already.

        Writing oneself into v1's `tasks` takes no global lock (kernel/cgroup/cgroup.c, cgroup_procs_write_start). The kernel
        looks at who *opened* the file: a child that is to live in a user namespace is given descriptors.
        """
        files_of = {1: "tasks", 2: "cgroup.procs"}
        return tuple(
            f"{directory}/{files_of[hierarchy.version]}"
            for hierarchy, directory in self._places
            if not (cloned_into and hierarchy.version == 2)
        )

    def holds(self, pid: int | Literal["self"]) -> bool:
        """Whether the process is in this cgroup, in every hierarchy (a wrong one was CVE-2023-6476, CVE-2025-47291)."""
        found: dict[tuple[str, ...], str] = {}
        for line in files.read(f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            found[tuple(sorted(controllers.split(",")))] = path
        for hierarchy in self.layout.hierarchies:
            names = tuple(sorted(hierarchy.controllers)) if hierarchy.version == 1 else ("",)
            if found.get(names) != hierarchy.root.rstrip("/") + self.path:
                return False
        return True

    def procs(self) -> tuple[int, ...]:
        """The processes in it and below, as this process's namespace numbers them; () when it does not exist."""
        directory = self._directories.get("")
        return () if directory is None else processes_below(directory)

    def freeze(self, patience: float = 2.0) -> None:
        """Stop all processes at once, and wait until they stand. `Unavailable` (with all thawed) when some don't."""
        self._set_frozen(True, patience)

    def thaw(self, patience: float = 2.0) -> None:
        self._set_frozen(False, patience)

    def frozen(self) -> bool:
        if self._unified_has("cgroup.freeze"):
            return v2.is_frozen(self._directories["cgroup"])
        return "freezer" in self._directories and v1.is_frozen(self._directories["freezer"])

    def _set_frozen(self, frozen: bool, patience: float) -> None:
        if self._unified_has("cgroup.freeze"):
            v2.set_frozen(self._directories["cgroup"], frozen, patience)
        elif "freezer" in self._directories:
            v1.set_frozen(self._directories["freezer"], frozen, patience)
        else:
            raise Unsupported("this host has no freezer cgroup controller: processes cannot be paused")

    def _unified_has(self, file: str) -> bool:
        return self.layout.unified is not None and self.layout.has(file)

    def kill(self) -> None:
        """SIGKILL to everything in it and below, frozen or not. It does not wait for the deaths; `remove` does."""
        if self._unified_has("cgroup.kill"):
            with suppress(FileNotFoundError):
                v2.kill(self._directories["cgroup"])
            return
        # Frozen processes bear no children meanwhile, and their numbers cannot be reused; without a freezer a few rounds must do.
        for _ in range(16):
            if not self.procs():
                return
            with suppress(Unavailable, Unsupported, FileNotFoundError):
                self.freeze(0.1)
            for pid in self.procs():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(Unsupported, FileNotFoundError):
                self.thaw()
            if "freezer" in self._directories or wait_for_deaths(self.procs(), 0.02):
                return

    def remove(self, patience: float = 2.0) -> None:
        """Remove it with all below it. While processes are dying there, wait for them, at most `patience` seconds in all.

        Idempotent. `Conflict`, naming them, when processes are left.
        """
        deadline = time.monotonic() + patience
        for _, directory in self._places:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise libc.named(error, "rmdir", directory) from None
                self._remove_busy(directory, deadline)

    def _remove_busy(self, directory: str, deadline: float) -> None:
        while True:
            for below in directories_below(directory):
                with suppress(OSError):  # EBUSY is seen again at the top, with all that are left
                    os.rmdir(below)
            try:
                os.rmdir(directory)
                return
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise libc.named(error, "rmdir", directory) from None
            pids = processes_below(directory)
            left = deadline - time.monotonic()
            if left <= 0:
                raise Conflict(f"cgroup {directory} cannot be removed: it holds processes {some(pids) or '(none to be seen)'}")
            if pids:
                wait_for_deaths(pids, left)
            else:
                os.sched_yield()  # the last one is on its way out of the kernel

    def stats(self) -> Stats:
        """What it uses now; zeros for what there is no controller for."""

        def read(controller: str, file: str) -> str:
            directory = self._directories.get(controller)
            return "" if directory is None else files.read_or_empty(f"{directory}/{file}")

        return stats.collect(read, self._version)

    def _version(self, controller: str) -> int:
        hierarchy = self.layout.controllers.get(controller)
        return 0 if hierarchy is None else hierarchy.version

    def oom_kills(self) -> int:
        """How many processes in it (on v2 also below) the OOM killer has killed; 0 where v1 cannot tell (before Linux 4.13)."""
        directory = self._directories.get("memory")
        if directory is None:
            return 0
        file = "memory.events" if self._version("memory") == 2 else "memory.oom_control"
        return stats.keyed(files.read_or_empty(f"{directory}/{file}")).get("oom_kill", 0)

    def watch_oom(self) -> events.OOMWatch | None:
        """A descriptor that is readable after an OOM event, owned by the caller; None without the memory controller."""
        directory = self._directories.get("memory")
        if directory is None:
            return None
        return events.watch_v2(directory) if self._version("memory") == 2 else events.watch_v1(directory)


def _refused(write: Write, error: OSError) -> str:
    """The warning for a file that is not there; for a value that the kernel does not take, the error with its meaning."""
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
        return f"{write.file} is not enforced: this host's kernel does not have it"
    words = f"{write.file} cannot be set to '{write.value}': {os.strerror(error.errno or 0).lower()}"
    if error.errno in (errno.EINVAL, errno.ERANGE, errno.ENODEV, errno.ENOSPC):
        raise InvalidArgument(words) from error
    if error.errno == errno.EBUSY:
        raise Conflict(f"{words}: more than that is in use") from error
    raise Unavailable(words) from error
