"""What a snapshotter is.

    prepare(key, parent) ──▶ active ──commit(name, key)──▶ committed ◀── parent of others
    view(key, parent)    ──▶ view                              │
                              └──────── remove(key) ───────────┘

A *key* names an active snapshot or a view, a *name* a committed one; all live in one namespace and are unique. A parent is always
committed. A snapshot that has children cannot be removed. Nothing is ever mounted: `prepare`, `view` and `mounts` say which
mounts, in order, make the tree, and whoever has a mount namespace makes them there.

tests/storage/test_snapshotter.py holds every implementation to this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

Kind = Literal["active", "view", "committed"]


class Mount(Struct, frozen=True):
    """One mount(2): filesystem type, source, options as in fstab(5) ("lowerdir=…", "ro")."""

    type: str
    source: str
    options: tuple[str, ...] = ()


class Usage(Struct, frozen=True):
    """What this snapshot alone takes, as du(1) counts: allocated bytes (a file with several names once), and inodes."""

    bytes: int
    inodes: int


class SnapshotInfo(Struct, frozen=True, kw_only=True):
    key: str
    kind: Kind
    parent: str = ""
    created: int  # nanoseconds since the epoch
    size: int = 0  # what `commit` was told


class Snapshotter(Protocol):
    """Errors: `NotFound` for a key or parent that is not there, `Conflict` for a key that is or a kind that does not fit."""

    async def prepare(self, key: str, parent: str = "") -> tuple[Mount, ...]:
        """A writable tree over `parent` ("" is the empty tree)."""

    async def view(self, key: str, parent: str = "") -> tuple[Mount, ...]:
        """The tree of `parent`, read-only."""

    async def commit(self, name: str, key: str, *, size: int = 0) -> None:
        """Active `key` becomes the unchanging `name`; its mounts must be gone. `Conflict` when `name` is there already.

        `size` is the sum of its files' sizes, which whoever filled it knows.
        """

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """What `prepare` or `view` answered, again (after a restart)."""

    def upper(self, key: str) -> str:
        """Where a snapshot's own files lie, whiteouts included: what is unpacked into, and what `diff` reads."""

    def lowers(self, key: str) -> tuple[str, ...]:
        """The same for its parents, the nearest first."""

    def hidden(self, key: str) -> tuple[str, ...]:
        """Whiteouts that the snapshotter itself put into `upper`: paths like "var/lib/gorae" that are no change of the user's."""

    def stat(self, key: str) -> SnapshotInfo: ...

    def walk(self) -> Sequence[SnapshotInfo]:
        """All of them, oldest first."""

    async def usage(self, key: str) -> Usage: ...

    async def remove(self, key: str) -> None:
        """Gone when this returns, though its files may still be on their way out. `Conflict` when it has children."""
