"""What `gorae-runtime` remembers of its containers between two calls.

    <root>/                 0711, --root, else /run/gorae-runtime or $XDG_RUNTIME_DIR/gorae-runtime
      <id>/                 0711: the child in a user namespace must get to its fifo, and to nothing else (files are 0600)
        lock                flock(2), held while a command changes the container
        state.json          Record: written beside, flushed, renamed
        config.json         the bundle's as `create` read it: later changes of the bundle have no effect (runtime.md, "Lifecycle")
        exec.fifo           while the program has not been started: the child waits at it

    found                                                     status (runtime.md, "State")
    ------------------------------------------------------    ----------------------------
    no pid recorded, and somebody holds the lock              creating
    no pid recorded (whoever created it was killed)           stopped
    the pid is gone, a zombie, or another process now         stopped
    exec.fifo exists                                          created
    the cgroup is frozen                                      paused (runc's word, not the specification's)
    else                                                      running

Nothing is cached: the status is what the kernel says at this moment. A kill -9 at any instruction leaves something that
`delete` can remove.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from gorae.errors import Conflict, CorruptData, InvalidArgument, NotFound
from gorae.oci.json import read_json

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec

Status = Literal["creating", "created", "running", "paused", "stopped"]

_ID = re.compile(r"[\w+.-]+", re.ASCII)  # runc's
_LONGEST_ID = 255  # a file name


@dataclass(frozen=True)
class Record:
    """state.json. `pid` is the container's PID 1 as we see it, 0 before it exists; `start_time` tells it from a later process."""

    id: str
    bundle: str
    oci_version: str
    created: str
    cgroup: str | None
    rootfs: str
    pid: int = 0
    start_time: int = 0
    owner: int = 0
    annotations: dict[str, str] = field(default_factory=dict)


class Store:
    """All containers below one root."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def fifo(self, identifier: str) -> str:
        check_id(identifier)
        return os.path.join(self.root, identifier, "exec.fifo")

    def create(self, record: Record, config: bytes) -> Entry:
        """Take the name, or `Conflict`; the entry comes back locked, with `record` and `config` on disk."""
        check_id(record.id)
        os.makedirs(self.root, mode=0o711, exist_ok=True)
        directory = os.path.join(self.root, record.id)
        try:
            os.mkdir(directory, 0o711)
        except FileExistsError:
            raise Conflict(f'container with id "{record.id}" exists already; choose another or delete it first') from None
        entry = Entry(directory, record)
        try:
            entry.lock()
            write_file(os.path.join(directory, "config.json"), config)
            entry.save(record)
        except BaseException:
            entry.destroy()
            raise
        return entry

    def open(self, identifier: str, *, lock: bool = False, unreadable: bool = False) -> Entry:
        """The container's entry, `NotFound` in words that containerd looks for; with `lock` alone with it until `close`.

        A state that cannot be read is an error, or with `unreadable` an empty record.
        """
        check_id(identifier)
        entry = Entry(os.path.join(self.root, identifier), None)
        try:
            if lock:
                entry.lock()
            entry.record = entry.load()
        except (InvalidArgument, CorruptData):
            if not unreadable:
                entry.close()
                raise
            entry.record = blank(identifier)
        except FileNotFoundError:
            entry.close()
            raise NotFound(f'container "{identifier}" does not exist') from None
        except BaseException:
            entry.close()
            raise
        return entry

    def identifiers(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.root) if _ID.fullmatch(name))
        except FileNotFoundError:
            return []


class Entry:
    """One container's directory; close it (or use `with`) to give the lock back."""

    def __init__(self, directory: str, record: Record | None) -> None:
        self.directory = directory
        self._record = record
        self._lock = -1

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def record(self) -> Record:
        if self._record is None:
            raise CorruptData(f"{self.directory}: no state was read")
        return self._record

    @record.setter
    def record(self, record: Record) -> None:
        self._record = record

    @property
    def fifo(self) -> str:
        return os.path.join(self.directory, "exec.fifo")

    def lock(self) -> None:
        """Wait for the lock. FileNotFoundError when there is no such container, or no more once the lock was free."""
        path = os.path.join(self.directory, "lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        mine, there = os.fstat(self._lock), os.stat(path, follow_symlinks=False)
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
            raise FileNotFoundError(path)  # deleted, and perhaps made anew

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def load(self) -> Record:
        path = os.path.join(self.directory, "state.json")
        try:
            with open(path, "rb") as file:
                value = read_json(file.read(), path)
        except FileNotFoundError:
            if not os.path.isdir(self.directory):
                raise
            # `create` was killed before it wrote anything: enough to be listed and deleted.
            return blank(os.path.basename(self.directory))
        try:
            return Record(**value)
        except TypeError as error:
            raise CorruptData(f"{path}: {error}; delete the container with --force") from error

    def save(self, record: Record) -> None:
        self.record = record
        write_file(os.path.join(self.directory, "state.json"), json.dumps(asdict(record), indent=1).encode())

    def make_barrier(self, uid: int, gid: int) -> None:
        """The fifo, for the container's root alone (`uid` and `gid` as this machine sees them)."""
        os.mkfifo(self.fifo, 0o600)
        os.chown(self.fifo, uid, gid, follow_symlinks=False)

    def born(self, pid: int) -> None:
        """Record PID 1, whose death cannot be overlooked from here on."""
        self.save(replace(self.record, pid=pid, start_time=start_time(pid)))

    def config(self) -> dict[str, Any]:
        """config.json as `create` found it; {} when that was killed before it had written it."""
        path = os.path.join(self.directory, "config.json")
        try:
            with open(path, "rb") as file:
                value = read_json(file.read(), path)
        except FileNotFoundError:
            return {}
        return value if isinstance(value, dict) else {}

    def spec(self) -> Spec:
        # Imported late: these classes take 20 ms to make, and most commands do not need them.
        from gorae.oci import runtimespec

        return runtimespec.decode(self.config())

    def status(self) -> Status:
        """`creating`, `created`, `running` or `stopped`; who knows the cgroup tells `paused` from `running`."""
        if not self.record.pid:
            return "creating" if self._lock < 0 and self.busy() else "stopped"
        if not lives(self.record.pid, self.record.start_time):
            return "stopped"
        return "created" if os.path.lexists(self.fifo) else "running"

    def busy(self) -> bool:
        """Does another process hold the lock?"""
        try:
            descriptor = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def destroy(self) -> None:
        """Remove the directory. It loses its name first, so that nobody meets half a container; "~" is in no id."""
        root, name = os.path.split(self.directory)
        rubbish = os.path.join(root, f"~{name}")
        remove_flat(rubbish)  # of a `delete` that was killed
        os.rename(self.directory, rubbish)
        remove_flat(rubbish)
        self.close()


def remove_flat(directory: str) -> None:
    """Remove a directory that has only files in it."""
    try:
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
    except FileNotFoundError:
        pass


def blank(identifier: str) -> Record:
    return Record(id=identifier, bundle="", oci_version="", created="", cgroup=None, rootfs="")


def oci_state(record: Record, status: Status) -> dict[str, Any]:
    """The state as runtime.md has it, and as hooks get it on stdin, with runc's `rootfs`, `created` and `owner` behind."""
    state: dict[str, Any] = {"ociVersion": record.oci_version, "id": record.id, "status": status}
    state["pid"] = record.pid if status != "stopped" else 0
    state |= {"bundle": record.bundle, "rootfs": record.rootfs, "created": record.created, "owner": ""}
    if record.annotations:
        state["annotations"] = record.annotations
    return state


def check_id(identifier: str) -> None:
    if not _ID.fullmatch(identifier) or identifier in (".", "..") or len(identifier) > _LONGEST_ID:
        raise InvalidArgument(f"invalid container id {identifier!a}: use letters, digits, _ + - . (at most {_LONGEST_ID})")


def default_root() -> str:
    if os.geteuid() == 0 or not os.environ.get("XDG_RUNTIME_DIR"):
        return "/run/gorae-runtime"
    return os.path.join(os.environ["XDG_RUNTIME_DIR"], "gorae-runtime")


def now() -> str:
    """RFC 3339 with nanoseconds, in UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def write_file(path: str, data: bytes) -> None:
    """Replace the file as a whole or not at all, also when the machine stops now."""
    fresh = path + ".new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(fresh, path)


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since boot: with the pid a name never given twice. 0: there is none, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may contain anything; behind its end come the state (field 3) and so on to starttime (22).
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X", b"x") else int(fields[19])


def lives(pid: int, started: int) -> bool:
    return started != 0 and start_time(pid) == started
