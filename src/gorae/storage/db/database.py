"""SQLite with one writer.

    await write(f) ─┐
    await write(g) ─┼─▶ queue ─▶ writer thread: BEGIN · f · g · … · COMMIT (fsync) ─▶ each answered after the commit
    await write(h) ─┘
    read(f) ─────────▶ reader connection, in the caller's thread (WAL: sees the last commit, never waits for the writer)

Writes that wait together share one commit, so a hundred containers created at once cost a few fsyncs. Each runs in a savepoint
of its own: one that fails is undone alone. `f` must not call back into the database, and should be quick: it has the only pen.

On a full disk, writes that are `essential` (they record what has happened, or make space) get space from the reserve (reserve.py).
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

from gorae import crashpoints
from gorae.errors import Conflict, CorruptData, GoraeError, StorageFull, Unavailable
from gorae.storage.db.schema import MIGRATIONS
from gorae.storage.reserve import Reserve

T = TypeVar("T")


class Work(NamedTuple):
    function: Callable[[sqlite3.Connection], Any]
    future: Future[Any]
    essential: bool


TOGETHER = 64  # writes that share a commit at most, so that the first one does not wait for ever


class Database:
    """`Database.open(path)`; close it with `close()` (blocking, short)."""

    def __init__(
        self, path: str, writer: sqlite3.Connection, reader: sqlite3.Connection, reserve: Reserve | None = None
    ) -> None:
        self.path = path
        self._reserve = reserve
        self._writer = writer
        self._reader = reader
        self._reading = threading.Lock()
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write_for_ever, name="gorae-db", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], migrations: Sequence[str] = MIGRATIONS, reserve: Reserve | None = None
    ) -> Database:
        """Make or migrate the database. Refuses (`CorruptData`) one that a newer version wrote."""
        name = os.fspath(path)
        if reserve is not None:
            reserve.make_room()
        while True:
            try:
                writer, reader = _connect_both(name, migrations)
                break
            except sqlite3.Error as error:
                failure = _meaning(error, name)
                # The index of the write-ahead log (32 KiB) is made anew at each start.
                if not isinstance(failure, StorageFull) or reserve is None or not reserve.free():
                    raise failure from error
        os.chmod(name, 0o600)
        return cls(name, writer, reader, reserve)

    async def write(self, function: Callable[[sqlite3.Connection], T], *, essential: bool = False) -> T:
        """Run `function` as one transaction on the writer thread; durable when this returns.

        An exception undoes this function's changes alone and is raised here. When the waiting task is cancelled, the write may
        or may not happen.
        """
        return await asyncio.wrap_future(self.submit(function, essential=essential))

    def submit(self, function: Callable[[sqlite3.Connection], T], *, essential: bool = False) -> Future[T]:
        """`write` for those without an event loop: the future is done after the commit."""
        if self._closed:
            raise Unavailable(f"the database {self.path} is closed")
        future: Future[T] = Future()
        self._queue.put(Work(function, future, essential))
        return future

    def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function`, which only reads, here and now, on one consistent state."""
        with self._reading:
            if self._closed:
                raise Unavailable(f"the database {self.path} is closed")
            try:
                self._reader.execute("BEGIN")
                try:
                    return function(self._reader)
                finally:
                    self._reader.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise _meaning(error, self.path) from error

    def close(self) -> None:
        """Finish what is queued, then close. Again: does nothing."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()

    # The writer thread

    def _write_for_ever(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < TOGETHER and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    last = True
                    break
                batch.append(following)
            self._write_together([work for work in batch if work.future.set_running_or_notify_cancel()])
            if self._reserve is not None:
                self._reserve.fill()
            if last:
                return

    def _write_together(self, batch: list[Work]) -> None:
        answers: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for work in batch:
                answers.append((work.future, *self._run(work.function)))
            crashpoints.hit("database.write.before-commit")
            self._writer.execute("COMMIT")
            crashpoints.hit("database.write.after-commit")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            failure = _meaning(error, self.path)
            again = [work for work in batch if work.essential]
            if not (again and isinstance(failure, StorageFull) and self._borrow()):
                again = []
            for work in batch:
                if work not in again:
                    work.future.set_exception(failure)
            if again:
                self._write_together(again)
            return
        for future, value, problem in answers:
            if problem is None:
                future.set_result(value)
            else:
                future.set_exception(problem)

    def _borrow(self) -> bool:
        return self._reserve is not None and self._reserve.lend(f"{self.path}-wal")

    def _run(self, function: Callable[[sqlite3.Connection], Any]) -> tuple[Any, BaseException | None]:
        self._writer.execute("SAVEPOINT one")
        try:
            value = function(self._writer)
        except BaseException as error:
            if not self._writer.in_transaction:
                raise  # SQLite itself rolled everything back (full disk, I/O error): the whole batch has failed
            self._writer.execute("ROLLBACK TO one")
            self._writer.execute("RELEASE one")
            return None, _meaning(error, self.path) if isinstance(error, sqlite3.Error) else error
        self._writer.execute("RELEASE one")
        return value, None


def _connect_both(path: str, migrations: Sequence[str]) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    writer = _connect(path)
    try:
        _migrate(writer, path, migrations)
        reader = _connect(path)
        reader.execute("PRAGMA query_only = ON")
    except BaseException:
        writer.close()
        raise
    return writer, reader


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: str, migrations: Sequence[str]) -> None:
    """Each step is a transaction together with its version number, so a crash leaves one version or the next."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise CorruptData(
            f"{path} has schema {version}, but this version of gorae knows schemas up to {len(migrations)} only: "
            "a newer gorae wrote it; start that one, or point data-root somewhere else"
        )
    for number, statements in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            with closing(connection.cursor()) as cursor:
                for statement in _statements(statements):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {number:d}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """`executescript` commits what is open before it begins, so the statements are run one by one."""
    statements: list[str] = []
    current = ""
    for piece in script.split(";"):
        current += piece + ";"
        if sqlite3.complete_statement(current):
            if current.strip() != ";":
                statements.append(current)
            current = ""
    return statements


def _meaning(error: sqlite3.Error, path: str) -> GoraeError:
    """The tree of errors instead of SQLite's; https://sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"cannot write {path}: no space left on device; free some space (`gorae system prune`)")
    if code == sqlite3.SQLITE_READONLY:
        return StorageFull(f"cannot write {path}: {error}; make the data root writable")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):
        return StorageFull(f"cannot read or write {path}: {error}; check the file system of the data root")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptData(f"{path} is damaged: {error}; restore it from a backup, or move it away to start empty")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"{path}: {error}")
    return Unavailable(f"{path}: {error}")
