"""The snapshotter on overlayfs.

    snapshots/            0700
      <number>/           the row `number` in the table `snapshots`; numbers are never used again
        fs/               the layer's own files; whiteouts are overlayfs's (character device 0:0, trusted.overlay.opaque)
        work/             overlayfs's scratch directory, while active
      new-<token>/        being made: renamed to <number> inside the transaction that adds the row
      trash/              being deleted

    active, parents      overlay   lowerdir=<parent>/fs:<its parent>/fs:…  upperdir=<number>/fs  workdir=<number>/work
    active, no parent    bind      <number>/fs
    view                 the same without upperdir, "ro"

Whatever line a crash hits, the next `open` finds either a row with its directory, or a directory without a row, which it
throws away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterable
from typing import NamedTuple, Self

from gorae import crashpoints
from gorae.errors import Conflict, InvalidArgument, NotFound, Unsupported
from gorae.linux.mount import mountinfo
from gorae.storage.db.database import Database
from gorae.storage.disk import disk_error
from gorae.storage.snapshot.host import hidden_paths, write_masks
from gorae.storage.snapshot.snapshotter import Kind, Mount, SnapshotInfo, Usage
from gorae.storage.snapshot.trash import Trash

MOST_LAYERS = 500  # OVL_MAX_STACK
HOST = "host"
UNPACKING = "unpack:"  # keys that begin so are given up when their process dies
PARAMETERS = "/sys/module/overlay/parameters"


class Layer(NamedTuple):
    number: int
    key: str
    kind: Kind
    created: int
    size: int
    below: str
    hidden: tuple[str, ...]


class OverlaySnapshotter:
    """`await OverlaySnapshotter.open(directory, database)`, then `aclose()`."""

    def __init__(self, directory: str, database: Database) -> None:
        self.directory = directory
        self.database = database
        self._defaults = tuple(_unwanted())
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.trash = Trash(os.path.join(directory, "trash"))

    @classmethod
    async def open(cls, directory: str, database: Database) -> Self:
        """Make the directory and sweep away what a killed predecessor left half-made."""
        if re.search(r"[:,\\\x00-\x1f\"]", directory):
            raise InvalidArgument(f"{directory!a} cannot hold snapshots: overlayfs cannot name ':', ',', quotes and backslashes")
        try:
            snapshots = cls(directory, database)
        except OSError as error:
            raise disk_error(error, "make the snapshots' directory") from error
        await database.write(snapshots._sweep)
        return snapshots

    async def aclose(self) -> None:
        await asyncio.to_thread(self.trash.close)

    # The interface

    async def prepare(self, key: str, parent: str = "") -> tuple[Mount, ...]:
        return await self._make(key, "active", parent)

    async def view(self, key: str, parent: str = "") -> tuple[Mount, ...]:
        return await self._make(key, "view", parent)

    async def commit(self, name: str, key: str, *, size: int = 0) -> None:
        chain = self._chain(key)
        if chain[0].kind != "active":
            raise Conflict(f"snapshot {key} is {chain[0].kind}, not active")
        if chain[-1].below:
            raise Unsupported(f"snapshot {key} stands on this machine's own tree, and cannot become an image")

        def rename(connection: sqlite3.Connection) -> None:
            if _number(connection, name) is not None:
                raise Conflict(f"snapshot {name} exists already")
            statement = "UPDATE snapshots SET key = ?, kind = 'committed', size = ? WHERE number = ? AND kind = 'active'"
            if connection.execute(statement, (name, size, chain[0].number)).rowcount == 0:
                raise NotFound(f"no snapshot {key}")

        crashpoints.hit("snapshot.commit.before-row")
        await self.database.write(rename)
        crashpoints.hit("snapshot.commit.after-row")
        self.trash.throw(self._path(chain[0].number, "work"))

    def mounts(self, key: str) -> tuple[Mount, ...]:
        chain = self._chain(key)
        if chain[0].kind == "committed":
            raise Conflict(f"snapshot {key} is committed: make a view of it, or prepare another on it")
        return self._mounts(chain)

    def upper(self, key: str) -> str:
        return self._path(self._chain(key)[0].number, "fs")

    def lowers(self, key: str) -> tuple[str, ...]:
        return self._lowers(self._chain(key))

    def hidden(self, key: str) -> tuple[str, ...]:
        chain = self._chain(key)
        return chain[-1].hidden if len(chain) > 1 else ()

    def stat(self, key: str) -> SnapshotInfo:
        layer, *parents = self._chain(key)
        parent = parents[0].key if parents else ""
        return SnapshotInfo(key=key, kind=layer.kind, created=layer.created, size=layer.size, parent=parent)

    def walk(self) -> tuple[SnapshotInfo, ...]:
        query = """SELECT one.key, one.kind, one.created, one.size, coalesce(two.key, '') FROM snapshots AS one
                   LEFT JOIN snapshots AS two ON one.parent = two.number ORDER BY one.number"""
        rows = self.database.read(lambda connection: connection.execute(query).fetchall())
        return tuple(
            SnapshotInfo(key=key, kind=kind, created=created, size=size, parent=parent) for key, kind, created, size, parent in rows
        )

    async def usage(self, key: str) -> Usage:
        """A committed one is counted once and remembered."""
        layer = self._chain(key)[0]
        query = "SELECT bytes, inodes FROM snapshots WHERE number = ?"
        row = self.database.read(lambda connection: connection.execute(query, (layer.number,)).fetchone())
        if row is not None and row[0] is not None:
            return Usage(*row)
        usage = await asyncio.to_thread(count, self._path(layer.number, "fs"))
        if layer.kind == "committed":
            statement = "UPDATE snapshots SET bytes = ?, inodes = ? WHERE number = ?"
            values = (usage.bytes, usage.inodes, layer.number)
            await self.database.write(lambda connection: connection.execute(statement, values).rowcount)
        return usage

    async def remove(self, key: str) -> None:
        def forget(connection: sqlite3.Connection) -> int:
            number = _number(connection, key)
            if number is None:
                raise NotFound(f"no snapshot {key}")
            if connection.execute("SELECT 1 FROM snapshots WHERE parent = ?", (number,)).fetchone():
                raise Conflict(f"snapshot {key} has children")
            connection.execute("DELETE FROM snapshots WHERE number = ?", (number,))
            return number

        crashpoints.hit("snapshot.remove.before-row")
        number = await self.database.write(forget, essential=True)
        crashpoints.hit("snapshot.remove.after-row")
        self.discard([number])

    # Beyond the interface

    def exists(self, key: str) -> bool:
        return self.database.read(lambda connection: _number(connection, key)) is not None

    async def host(self, hidden: Iterable[str] = ()) -> str:
        """The key of the machine's own tree, committed for ever; without `hidden` paths, and without this directory."""
        masks = json.dumps(await asyncio.to_thread(_masks, (self.directory, *hidden)))

        def write(connection: sqlite3.Connection) -> None:
            if _number(connection, HOST) is not None:
                connection.execute("UPDATE snapshots SET hidden = ? WHERE key = ?", (masks, HOST))
                return
            fresh = self._fresh()
            self._insert(connection, fresh, HOST, "committed", None, below="/", hidden=masks)

        await self.database.write(write)
        return HOST

    def discard(self, numbers: Iterable[int]) -> None:
        """The second half of removal: directories whose rows are gone."""
        for number in numbers:
            self.trash.throw(self._path(number))

    def measure(self, numbers: Iterable[int]) -> int:
        """The bytes of these directories. For the garbage collector, in a thread."""
        total = 0
        for number in numbers:
            with contextlib.suppress(OSError):  # it is only told
                total += count(self._path(number)).bytes
        return total

    # Parts

    async def _make(self, key: str, kind: Kind, parent: str) -> tuple[Mount, ...]:
        if not key or "\0" in key:
            raise InvalidArgument(f"invalid snapshot key {key!a}")
        chain = self._chain(parent) if parent else ()
        if chain and chain[0].kind != "committed":
            raise Conflict(f"snapshot {parent} is {chain[0].kind}: only a committed one can be a parent")
        if len(chain) >= MOST_LAYERS:
            raise Unsupported(f"snapshot {parent} has {len(chain)} layers: overlayfs takes {MOST_LAYERS} at most")
        try:
            fresh = self._fresh()
        except OSError as error:
            raise disk_error(error, "make a snapshot") from error

        def write(connection: sqlite3.Connection) -> int:
            if _number(connection, key) is not None:
                raise Conflict(f"snapshot {key} exists already")
            if chain and _number(connection, parent) is None:
                raise NotFound(f"no snapshot {parent}")
            return self._insert(connection, fresh, key, kind, chain[0].number if chain else None)

        try:
            crashpoints.hit("snapshot.prepare.after-directory")
            self._shape(os.path.join(fresh, "fs"), chain)
            number = await self.database.write(write)
        except OSError as error:
            raise disk_error(error, "make a snapshot") from error
        finally:
            self.trash.throw(fresh)  # nothing, if it was renamed
        return self._mounts((Layer(number, key, kind, 0, 0, "", ()), *chain))

    def _fresh(self) -> str:
        fresh = os.path.join(self.directory, f"new-{secrets.token_hex(16)}")
        os.mkdir(fresh, 0o700)
        os.mkdir(os.path.join(fresh, "fs"), 0o755)
        os.mkdir(os.path.join(fresh, "work"), 0o711)
        return fresh

    def _shape(self, fs: str, chain: tuple[Layer, ...]) -> None:
        """The root directory that a container sees is this one, so it looks like its parent's."""
        if not chain:
            os.chmod(fs, 0o755)
        elif chain[-1].below:
            write_masks(fs, chain[-1].hidden, chain[-1].below)
        else:
            found = os.stat(self._path(chain[0].number, "fs"))
            os.chown(fs, found.st_uid, found.st_gid)
            os.chmod(fs, stat.S_IMODE(found.st_mode))

    def _insert(
        self,
        connection: sqlite3.Connection,
        fresh: str,
        key: str,
        kind: Kind,
        parent: int | None,
        below: str = "",
        hidden: str = "[]",
    ) -> int:
        statement = "INSERT INTO snapshots (key, kind, parent, created, below, hidden) VALUES (?, ?, ?, ?, ?, ?)"
        number = connection.execute(statement, (key, kind, parent, time.time_ns(), below, hidden)).lastrowid
        assert number is not None
        # A commit that failed after this rename has left its directory under a number that is now given again.
        self.trash.throw(self._path(number))
        crashpoints.hit("snapshot.prepare.before-rename")
        os.rename(fresh, self._path(number))
        crashpoints.hit("snapshot.prepare.after-rename")
        return number

    def _mounts(self, chain: tuple[Layer, ...]) -> tuple[Mount, ...]:
        layer, lowers = chain[0], self._lowers(chain)
        own = self._path(layer.number, "fs")
        mode = "ro" if layer.kind == "view" else "rw"
        if not lowers:
            return (Mount("bind", own, (mode,)),)
        if layer.kind == "view" and not chain[-1].below:
            if len(lowers) == 1:
                return (Mount("bind", lowers[0], (mode,)),)
            return (Mount("overlay", "overlay", (mode, f"lowerdir={':'.join(lowers)}", *self._defaults)),)
        options = (f"lowerdir={':'.join(lowers)}", f"upperdir={own}", f"workdir={self._path(layer.number, 'work')}")
        return (Mount("overlay", "overlay", (mode, *options, *self._defaults)),)

    def _lowers(self, chain: tuple[Layer, ...]) -> tuple[str, ...]:
        return tuple(layer.below or self._path(layer.number, "fs") for layer in chain[1:])

    def _path(self, number: int, part: str = "") -> str:
        return f"{self.directory}/{number}/{part}" if part else f"{self.directory}/{number}"

    def _chain(self, key: str) -> tuple[Layer, ...]:
        """The snapshot and its parents, the nearest first."""
        rows = self.database.read(lambda connection: connection.execute(CHAIN, (key,)).fetchall())
        if not rows:
            raise NotFound(f"no snapshot {key}")
        return tuple(Layer(number, *rest, tuple(json.loads(hidden))) for number, *rest, hidden in rows)  # type: ignore[call-arg]

    def _sweep(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM snapshots WHERE kind != 'committed' AND substr(key, 1, ?) = ?", (len(UNPACKING), UNPACKING))
        numbers = {number for (number,) in connection.execute("SELECT number FROM snapshots")}
        for name in os.listdir(self.directory):
            if name != "trash" and not (name.isdecimal() and int(name) in numbers):
                self.trash.throw(os.path.join(self.directory, name))


CHAIN = """
WITH RECURSIVE chain (depth, number) AS (
    SELECT 0, number FROM snapshots WHERE key = ?
    UNION ALL SELECT depth + 1, parent FROM chain JOIN snapshots USING (number) WHERE parent IS NOT NULL
)
SELECT number, key, kind, created, size, below, hidden FROM chain JOIN snapshots USING (number) ORDER BY depth
"""


def _number(connection: sqlite3.Connection, key: str) -> int | None:
    row = connection.execute("SELECT number FROM snapshots WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _masks(paths: Iterable[str]) -> tuple[str, ...]:
    return hidden_paths([os.path.realpath(path) for path in paths], mountinfo())


def _unwanted() -> Iterable[str]:
    """What some kernels switch on by default and would make an upper directory more than a layer (fs/overlayfs: redirects and files
    without their data cannot be carried elsewhere; an index ties it to one mount). Named only where it is on: old kernels know
    no such words."""
    for name in ("index", "metacopy", "redirect_dir"):
        with contextlib.suppress(OSError), open(f"{PARAMETERS}/{name}", encoding="ascii") as file:
            if file.read().strip() == "Y":
                yield f"{name}=off"


def count(directory: str) -> Usage:
    """du(1) of one tree, without crossing into mounts."""
    total, inodes = 0, 0
    several: set[int] = set()
    pending = [directory]
    while pending:
        path = pending.pop()
        found = os.lstat(path)
        total, inodes = total + found.st_blocks * 512, inodes + 1
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                found = entry.stat(follow_symlinks=False)
                if found.st_nlink > 1:
                    if found.st_ino in several:
                        continue
                    several.add(found.st_ino)
                total, inodes = total + found.st_blocks * 512, inodes + 1
    return Usage(total, inodes)
