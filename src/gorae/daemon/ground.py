"""The ground a daemon stands on: its directories, its pid file, its limits. Checked before anything else is touched.

    EXEC-ROOT              0711
    EXEC-ROOT/goraed.pid   our pid; locked (flock(2)) as long as we live, so that a second daemon is refused whatever the file says

The data root's lock is the engine's (`storage.root`); this one keeps two daemons with different data roots off one supervisor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gorae.errors import Conflict, StorageFull


def prepare(exec_root: Path) -> None:
    """The directory, and a process that neither keeps a directory busy nor runs out of descriptors."""
    os.umask(0o022)
    os.chdir("/")
    try:
        exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
        exec_root.chmod(0o711)
    except OSError as error:
        raise _unusable(error, exec_root) from error
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def look_at_data_root(path: Path) -> None:
    """Refuse at once what the engine would refuse a quarter of a second later: another daemon on this data root. Makes nothing."""
    try:
        number = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # not there yet, or not to be written: the engine says what is wrong
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"another daemon uses the data root {path}: stop it, or give this one a --data-root of its own") from None
    finally:
        os.close(number)


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Ours within this; removed afterwards. Conflict when another daemon holds it."""
    number = _locked(path)
    try:
        os.ftruncate(number, 0)
        os.write(number, f"{os.getpid()}\n".encode())
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise _unusable(error, path) from error
        raise
    finally:
        path.unlink(missing_ok=True)
        os.close(number)


def _locked(path: Path) -> int:
    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise _unusable(error, path) from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file may have been removed by a daemon that ended between our open and our lock.
            if os.path.exists(path) and os.path.samestat(os.fstat(number), os.stat(path)):
                return number
        except BlockingIOError:
            owner = os.read(number, 32).decode(errors="replace").strip() or "unknown"
            os.close(number)
            raise Conflict(
                f"another goraed (pid {owner}) holds {path}: stop it, or give this one an --exec-root and a --data-root of its own"
            ) from None
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _unusable(error: OSError, path: Path) -> StorageFull:
    return StorageFull(f"cannot write {path}: {os.strerror(error.errno or errno.EIO)}: give a place that can be written")
