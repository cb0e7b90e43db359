"""Space that is kept back, so that on a full disk an end, a stop and a removal can still be recorded.

    <data root>/reserve    16 MiB, allocated

    the database is refused ─▶ lend: 1 MiB less here ─▶ allocated to the database's write-ahead log ─▶ the same write again

The space is free for an instant only: a container that fills the disk with its output does not get it. SQLite
overwrites its log from the beginning after each checkpoint and does not mind what lies behind its last frame (zeros are no frame:
https://sqlite.org/walformat.html). The reserve is filled up again when there is plenty of space.
"""

from __future__ import annotations

import os
from io import BufferedRandom

SIZE = 16 << 20
PORTION = 1 << 20
PLENTY = 4 * SIZE


class Reserve:
    """Never raises: without a reserve there is none, and the write fails as it would have."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.left = 0
        try:
            self.left = os.stat(path, follow_symlinks=False).st_blocks * 512
        except OSError:
            pass

    def fill(self) -> None:
        """To its full size, if that leaves plenty."""
        if self.left >= SIZE:
            return
        try:
            found = os.statvfs(os.path.dirname(self._path))
            if found.f_bavail * found.f_frsize < PLENTY:
                return
            with _opened(self._path) as file:
                os.posix_fallocate(file.fileno(), 0, SIZE)
            self.left = SIZE
        except OSError:
            pass

    def lend(self, path: str) -> bool:
        """Make `path` longer at our expense, as often as it takes. False when nothing is left."""
        while self.free():
            try:
                with _opened(path) as borrower:
                    # Half of it: the file system's own bookkeeping takes some, and somebody else may have been quicker.
                    os.posix_fallocate(borrower.fileno(), os.fstat(borrower.fileno()).st_size, PORTION // 2)
                    return True
            except OSError:
                continue
        return False

    def make_room(self) -> None:
        """Before a database is opened: SQLite maps the index of its log into memory, and a page of that without a block on the disk
        is SIGBUS (where blocks are smaller than pages, its own precaution does not help).
        """
        for _ in range(SIZE // PORTION):
            try:
                found = os.statvfs(os.path.dirname(self._path))
            except OSError:
                return
            if found.f_bavail * found.f_frsize >= PORTION // 2 or not self.free():
                return

    def free(self) -> bool:
        """Give a portion to whoever takes it."""
        if self.left <= 0:
            return False
        try:
            self.left = max(0, self.left - PORTION)
            os.truncate(self._path, self.left)
        except OSError:
            return False
        return True


def _opened(path: str) -> BufferedRandom:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b")
