"""What a file system's refusal means, and making a change of a directory durable."""

from __future__ import annotations

import errno
import os

from gorae.errors import GoraeError, StorageFull, Unavailable


def disk_error(error: OSError, doing: str) -> GoraeError:
    """`doing` completes "cannot …": "write a layer"."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"cannot {doing}: {_where(error)}no space left on device; free some space (`gorae system prune`)")
    if error.errno == errno.EROFS:
        return StorageFull(f"cannot {doing}: {_where(error)}read-only file system; make the data root writable")
    return Unavailable(f"cannot {doing}: {_where(error)}{error.strerror or error}")


def _where(error: OSError) -> str:
    return f"{error.filename}: " if isinstance(error.filename, str) else ""


def sync_directory(path: str) -> None:
    """After this, names made or removed in `path` outlive a power loss (fsync(2): the file's own fsync does not cover its name)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
