"""SQLite with one writer.

    await write(f) ─┐
    await write(g) ─┼─▶ queue ─▶ writer thread: BEGIN · f · g · … · COMMIT (fsync) ─▶ each answered after the commit
    await write(h) ─┘
    read(f) ─────────▶ reader connection, in the caller's thread (WAL: sees the last commit, never waits for the writer)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from os import PathLike
from typing import TypeVar

T = TypeVar("T")


class Database:
    @classmethod
    def open(cls, path: str | PathLike[str]) -> Database:
        """Make or migrate the database. Refuses (`CorruptData`) one that a newer version wrote."""
        raise NotImplementedError

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` as one transaction on the writer thread; durable when this returns. An exception undoes this function's changes alone. When the waiting
        task is cancelled the write may or may not have happened."""
        raise NotImplementedError

    def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function`, which only reads, here and now, on one consistent state."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish what is queued, then close. Again: does nothing."""
        raise NotImplementedError
