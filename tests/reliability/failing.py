"""A goraed in which the n-th call to the operating system or to SQLite fails: `failing.py ARMED goraed's arguments`.

The file ARMED says `N ERRNO` from when on to count, and what then happens once; `done` when it has happened. Nothing of this is in
goraed itself: the functions of `os` are replaced around it.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = (
    "open", "mkdir", "rmdir", "rename", "replace", "unlink", "chmod", "fchmod", "chown", "write", "fsync", "truncate", "ftruncate",
    "posix_fallocate", "scandir", "listdir", "pipe2", "symlink", "link",
)  # fmt: skip


class Counter:
    def __init__(self, armed: Path) -> None:
        self._path = str(armed)
        self._stat, self._open, self._read, self._write = os.stat, os.open, os.read, os.write
        self._close = os.close
        self._lock = threading.Lock()
        self._wanted = ""
        self._left = 0

    def fails(self) -> int:
        """The errno, when this is the call."""
        with self._lock:
            wanted = self._text()
            if wanted in ("", "done"):
                self._wanted = ""
                return 0
            if wanted != self._wanted:
                self._wanted, self._left = wanted, int(wanted.split()[0])
            self._left -= 1
            if self._left:
                return 0
            self._tell(b"done")
            return int(getattr(errno, wanted.split()[1]))

    def _text(self) -> str:
        try:
            descriptor = self._open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return ""
        try:
            return self._read(descriptor, 100).decode()
        finally:
            self._close(descriptor)

    def _tell(self, text: bytes) -> None:
        descriptor = self._open(self._path, os.O_WRONLY | os.O_TRUNC)
        try:
            self._write(descriptor, text)
        finally:
            self._close(descriptor)


def replaced(counter: Counter, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def instead(*arguments: Any, **more: Any) -> Any:
        if number := counter.fails():
            raise OSError(number, os.strerror(number), arguments[0] if arguments and isinstance(arguments[0], str) else None)
        return call(*arguments, **more)

    return instead


def failing_connection(counter: Counter) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            if arguments[0].split()[0] not in ("ROLLBACK", "RELEASE") and (number := counter.fails()):
                error = sqlite3.OperationalError(f"as if {os.strerror(number)}")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL if number == errno.ENOSPC else sqlite3.SQLITE_IOERR
                raise error
            return super().execute(*arguments)

    return Connection


def main() -> int:
    counter = Counter(Path(sys.argv[1]))
    for name in CALLS:
        setattr(os, name, replaced(counter, getattr(os, name)))
    socket.socketpair = replaced(counter, socket.socketpair)
    connect = sqlite3.connect
    factory = failing_connection(counter)
    sqlite3.connect = functools.partial(connect, factory=factory)  # type: ignore[assignment]
    from gorae.daemon import main as daemon

    return daemon.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
