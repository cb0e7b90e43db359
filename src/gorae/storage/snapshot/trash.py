"""Directories that are on their way out.

    snapshots/<number> ──rename──▶ snapshots/trash/<token> ──thread──▶ nothing

The rename is what counts; the deletion may take minutes, may be interrupted, and goes on at the next start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import threading

from gorae import crashpoints
from gorae.linux.tree import remove_tree

log = logging.getLogger(__name__)


class Trash:
    """`close()` it; it has a thread."""

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory
        self._queue: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._stopping = False
        for name in os.listdir(directory):
            self._queue.put(name)
        self._thread = threading.Thread(target=self._empty, name="gorae-trash", daemon=True)
        self._thread.start()

    def throw(self, path: str) -> None:
        """`path`, which lies on the same file system, is gone at once. What is not there is gone already; what the disk does not
        let go is swept at the next start, because nothing refers to it.
        """
        name = secrets.token_hex(16)
        try:
            os.rename(path, os.path.join(self._directory, name))
            crashpoints.hit("trash.after-rename")
            self._queue.put(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.error("%s was left behind: %s", path, error.strerror)

    def finish(self) -> None:
        """Wait until all that has been thrown is deleted: for those who want the space back."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()

    def close(self) -> None:
        """Finish the tree at hand, leave the rest to the next start. Again: does nothing."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join()

    def _empty(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while (entry := self._queue.get()) is not None:
                if isinstance(entry, threading.Event):
                    entry.set()
                elif not self._stopping:
                    # What cannot be deleted now (immutable, or somebody has mounted something there) is tried again at the
                    # next start.
                    with contextlib.suppress(OSError):
                        remove_tree(descriptor, entry, missing_ok=True)
                    crashpoints.hit("trash.after-deletion")
        finally:
            os.close(descriptor)
