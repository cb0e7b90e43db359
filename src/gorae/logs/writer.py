"""Appends output to a log, whole chunks at a time, and rotates it.

    write ── fits ──────────────► writev(header, chunk, trailer)
      │
      ├── would pass max_size ──► create <path>.new, <path>.1 → <path>.2, …, <path> → <path>.1, .new → <path>
      │
      └── no space, I/O error ──► cut back to the last whole record, count the bytes; the next write that works
                                  begins with a LOST record

The container must never wait for a disk that is full or broken, so `write` neither blocks on purpose nor raises. One writer a log:
the supervisor holds a lock on its directory. Nothing is fsynced: Docker's log drivers do not either.
"""

from __future__ import annotations

import errno
import os
import time

from gorae import crashpoints
from gorae.logs import files
from gorae.logs.copy import Copy
from gorae.logs.record import BEGIN_SIZE, LOST, MAX_PAYLOAD, NUMBER, OVERHEAD, begin, encode, frame

DEFAULT_MAX_SIZE = 10_000_000
DEFAULT_MAX_FILE = 5
RETRY_ROTATION = 64 << 10


class Writer:
    """An open log. Raises `OSError` when it cannot be opened, and never again after that."""

    def __init__(self, path: str, max_size: int = DEFAULT_MAX_SIZE, max_file: int = DEFAULT_MAX_FILE) -> None:
        self.path = path
        self.copy: Copy | None = None
        self.max_size = max_size
        self.max_file = max(1, max_file)
        self.lost = 0
        self.generation = 0
        self._fd = -1
        self._offset = 0
        self._rotate_at = max_size
        self._open()

    @property
    def position(self) -> tuple[int, int]:
        """(generation, offset) of the next record."""
        return self.generation, self._offset

    def write(self, kind: int, data: bytes | memoryview, now: int | None = None) -> None:
        """Appends one chunk; what cannot be written is counted instead."""
        if not data:
            return
        if now is None:
            now = time.time_ns()
        if len(data) > MAX_PAYLOAD:
            view = memoryview(data)
            for start in range(0, len(view), MAX_PAYLOAD):
                self.write(kind, view[start : start + MAX_PAYLOAD], now)
            return
        if self._offset + len(data) + OVERHEAD > self._rotate_at and self._offset > BEGIN_SIZE:
            self._rotate(now)
        before, behind = frame(kind, now, data)
        if self.lost:
            before = encode(LOST, now, NUMBER.pack(self.lost)) + before
        if self._append((before, data, behind)):
            self.lost = 0
        else:
            self.lost += len(data)

    def close(self) -> None:
        """Writes down what was lost, if it can. Idempotent."""
        if self._fd < 0:
            return
        if self.lost and self._append((encode(LOST, time.time_ns(), NUMBER.pack(self.lost)),)):
            self.lost = 0
        os.close(self._fd)
        self._fd = -1

    def _append(self, parts: tuple[bytes | memoryview, ...]) -> bool:
        size = sum(len(part) for part in parts)
        try:
            written = os.writev(self._fd, parts)
        except OSError:
            return False  # ENOSPC, EDQUOT, EIO, EROFS, EFBIG: whatever it is, the container runs on
        if written == size:
            self._offset += size
            return True
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError:
            self._offset += written  # readers pass over the torn record
        return False

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)
        try:
            size = os.fstat(self._fd).st_size
            generation = files.generation_at(self._fd) if size else None
            end = files.whole_end(self._fd, size) if generation is not None else 0
            if generation is None:
                # New, or the machine died before its first record: the other files tell the count.
                self.generation = max(files.generations(self.path), default=-1) + 1
                os.ftruncate(self._fd, 0)
                self._offset = 0
                self._begin(time.time_ns())
                return
            self.generation = generation
            if end is not None and end != size:
                os.ftruncate(self._fd, end)  # the tail torn by a kill -9: followers read its place anew
            self._offset = size if end is None else end
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _begin(self, now: int) -> None:
        head = begin(self.generation, now)
        if os.write(self._fd, head) != len(head):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self._offset = len(head)

    def _rotate(self, now: int) -> None:
        """Begins the next file. A crash between two renames leaves files that are all found again by their generations."""
        fresh = f"{self.path}.new"
        head = begin(self.generation + 1, now)
        fd = -1
        try:
            if os.path.lexists(fresh):
                os.unlink(fresh)
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            if os.write(fd, head) != len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), fresh)
            crashpoints.hit("log.rotate.before-shift")
            self._shift()
            crashpoints.hit("log.rotate.after-shift")
            os.rename(fresh, self.path)
            crashpoints.hit("log.rotate.after-rename")
        except OSError:
            # No space for a new file, perhaps: go on in the old one, past its size, and try again later.
            if fd >= 0:
                os.close(fd)
            self._rotate_at = self._offset + RETRY_ROTATION
            return
        os.close(self._fd)
        self._fd = fd
        self._offset = len(head)
        self.generation += 1
        self._rotate_at = self.max_size

    def _shift(self) -> None:
        """Makes room for one more file: moves what stands before the first free number; the oldest goes when none is free."""
        free = 1
        while free < self.max_file - 1 and os.path.lexists(f"{self.path}.{free}"):
            free += 1
        for number in range(free, 0, -1):
            if self.max_file > 1:
                os.rename(f"{self.path}.{number - 1}" if number > 1 else self.path, f"{self.path}.{number}")
