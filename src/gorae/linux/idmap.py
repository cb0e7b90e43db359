"""User and group id maps of a user namespace (man 7 user_namespaces).

    /proc/PID/uid_map     inside  outside  count        at most 340 lines, one write, once
    /proc/PID/gid_map     0       100000   65536        setgroups must be denied first when the writer has no CAP_SETGID outside
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from gorae.linux import libc

MOST_LINES = 340
MOST = 0xFFFF_FFFF
"""(uid_t) -1 is "no id" for chown and setresuid, and never mapped."""

Mapping = tuple[int, int, int]
"""(inside, outside, count)"""


def format_map(mappings: Iterable[Mapping]) -> bytes:
    """The bytes for one write; ValueError for a map that the kernel would refuse (empty, overlapping, out of range, too long)."""
    lines = list(mappings)
    if not lines:
        raise ValueError("an id map needs at least one line")
    if len(lines) > MOST_LINES:
        raise ValueError(f"an id map of {len(lines)} lines: the kernel takes {MOST_LINES}")
    for inside, outside, count in lines:
        if count < 1 or inside < 0 or outside < 0 or inside + count > MOST or outside + count > MOST:
            raise ValueError(f"id map line {inside} {outside} {count}: out of range")
    for column, side in ((0, "inside"), (1, "outside")):
        end = -1
        for line in sorted(lines, key=lambda line: line[column]):
            if line[column] < end:
                raise ValueError(f"id map lines overlap {side} at {line[column]}")
            end = line[column] + line[2]
    return b"".join(b"%d %d %d\n" % line for line in lines)


def write_maps(pid: int, uid: Iterable[Mapping], gid: Iterable[Mapping], *, setgroups: bool | None = None) -> None:
    """Write both maps of a process that has just been born in a new user namespace; it then sees its ids change.

    `setgroups=False` denies setgroups(2) there first, `True` says "allow" explicitly, None leaves it.
    """
    uid_map, gid_map = format_map(uid), format_map(gid)
    if setgroups is not None:
        _write(f"/proc/{pid}/setgroups", b"allow" if setgroups else b"deny")
    _write(f"/proc/{pid}/uid_map", uid_map)
    _write(f"/proc/{pid}/gid_map", gid_map)


def _write(path: str, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise libc.named(error, "write", path) from None
