"""What the upper directory of an overlay changes in the trees below it, as `docker diff` tells it.

    upper                               below             told as
    ─────────────────────────────       ───────────       ────────────────────────────────────────
    character device 0:0                anything          deleted
    anything                            nothing           added
    directory, its mode, owner or       directory         modified; so are all directories above a
    time another, or something in it                      change
    opaque directory                    directory         deleted, and what is in it added
    anything else                       anything          modified

`own` are paths at which the engine itself made empty places to mount on: they are no change, nor are the times of the directories
that they are in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from gorae.errors import CorruptData
from gorae.linux import path
from gorae.storage.archive.pack import LIST, is_opaque, open_inside

MODIFIED, ADDED, DELETED = 0, 1, 2
DEEPEST = 400  # directories inside one another: each keeps two frames of ours
Change = tuple[bytes, int]


class Comparison:
    """`changes(upper, below)`: two directory descriptors, the second one of the tree without the upper directory."""

    def __init__(self, own: frozenset[bytes]) -> None:
        self._own = own
        self._around = {place[:index] for place in own for index, byte in enumerate(place) if byte == 0x2F}
        self._found: list[Change] = []

    def changes(self, upper: int, below: int | None) -> list[Change]:
        """Sorted by path, without the leading slash."""
        self._walk(upper, below, b"", 0, new=False)
        return sorted(self._found)

    def _walk(self, upper: int, below: int | None, place: bytes, depth: int, *, new: bool) -> bool:
        """Whether anything in this directory was told. `new`: nothing below is seen through it."""
        if depth > DEEPEST:
            raise CorruptData(f"directories are nested deeper than {DEEPEST}")
        told = False
        for name in _names(upper):
            where = place + b"/" + name if place else name
            found = os.lstat(name, dir_fd=upper)
            if where in self._own and _is_empty(upper, name, found):
                continue
            told = self._one(upper, below, name, where, found, depth, new=new) or told
        return told

    def _one(
        self, upper: int, below: int | None, name: bytes, where: bytes, found: os.stat_result, depth: int, *, new: bool
    ) -> bool:
        if stat.S_ISCHR(found.st_mode) and not found.st_rdev:
            self._found.append((where, DELETED))
            return True
        before = None if new else _before(below, where)
        if not stat.S_ISDIR(found.st_mode):
            self._found.append((where, ADDED if before is None else MODIFIED))
            return True
        descriptor = open_inside(upper, name, LIST)
        try:
            if before is not None and stat.S_ISDIR(before.st_mode) and is_opaque(descriptor):
                self._found.append((where, DELETED))
                self._walk(descriptor, below, where, depth + 1, new=True)
                return True
            fresh = before is None or not stat.S_ISDIR(before.st_mode)
            inside = self._walk(descriptor, below, where, depth + 1, new=new or fresh)
            if before is None:
                self._found.append((where, ADDED))
                return True
            if inside or fresh or self._differs(found, before, where):
                self._found.append((where, MODIFIED))
                return True
            return False
        finally:
            os.close(descriptor)

    def _differs(self, found: os.stat_result, before: os.stat_result, where: bytes) -> bool:
        if (found.st_mode, found.st_uid, found.st_gid) != (before.st_mode, before.st_uid, before.st_gid):
            return True
        return where not in self._around and found.st_mtime_ns != before.st_mtime_ns


def _names(directory: int) -> Iterator[bytes]:
    return iter(sorted(os.fsencode(name) for name in os.listdir(directory)))


def _before(below: int | None, where: bytes) -> os.stat_result | None:
    """What the trees below have there; the directories above it are theirs as well, so no link is followed."""
    if below is None:
        return None
    above, _, last = where.rpartition(b"/")
    try:
        directory = path.open_in_root(below, above or b".", os.O_PATH | os.O_DIRECTORY, resolve=path.RESOLVE_NO_SYMLINKS)
    except OSError:
        return None
    try:
        return os.lstat(last, dir_fd=directory)
    except FileNotFoundError:
        return None
    finally:
        os.close(directory)


def _is_empty(directory: int, name: bytes, found: os.stat_result) -> bool:
    if stat.S_ISREG(found.st_mode):
        return not found.st_size
    if not stat.S_ISDIR(found.st_mode):
        return True
    descriptor = open_inside(directory, name, LIST)
    try:
        return not os.listdir(descriptor)
    finally:
        os.close(descriptor)
