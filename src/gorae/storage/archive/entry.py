"""One member of a tar archive, and how much of one is believed.

Names are bytes: a file name on Linux is bytes without "/" and NUL, in whatever encoding its maker liked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """The typeflag of ustar (POSIX pax, "ustar Interchange Format")."""

    FILE = b"0"
    LINK = b"1"
    SYMLINK = b"2"
    CHARACTER = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(slots=True)
class Entry:
    """`name` and `link` are as they stand in the archive: hostile. `size` is that of the file, holes included."""

    name: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0  # nanoseconds since the epoch
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    extents: tuple[tuple[int, int], ...] | None = None  # (offset, length) of what is stored of a sparse file


@dataclass(frozen=True, slots=True)
class Limits:
    """What goes beyond is refused as `CorruptData` (CVE-2017-14992, CVE-2023-25153)."""

    entries: int = 2_000_000
    size: int = 1 << 40  # of all files together
    header: int = 1 << 20  # extended headers and sparse maps before one member
    path: int = 4096  # PATH_MAX
