"""Watching files: one descriptor that becomes readable when something happened.

    struct inotify_event:  s32 wd   u32 mask   u32 cookie   u32 length   char name[length] (NUL-padded)
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from gorae.linux import libc

IN_ACCESS = 0x1
IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_CLOSE_NOWRITE = 0x10
IN_OPEN = 0x20
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_DONT_FOLLOW = 0x2000000
IN_EXCL_UNLINK = 0x4000000
IN_MASK_ADD = 0x20000000
IN_ISDIR = 0x40000000
IN_ONESHOT = 0x80000000

_HEADER = struct.Struct("=iIII")


class Event(NamedTuple):
    wd: int
    """The watch, as `add` returned it; -1 with IN_Q_OVERFLOW."""
    mask: int
    cookie: int
    """Joins the two halves of a rename."""
    name: str
    """Within a watched directory; empty for the watched file itself."""


class Inotify:
    """Owns its descriptor, which is non-blocking and close-on-exec; `close` or a with statement ends it and all its watches."""

    def __init__(self) -> None:
        self._descriptor = libc.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def add(self, path: str | bytes, mask: int) -> int:
        """Watch a path and return the watch; an already watched file gives the same one (and its mask is replaced)."""
        return libc.call("inotify_add_watch", self._descriptor, libc.text(path), mask, path=os.fsdecode(path))

    def remove(self, watch: int) -> None:
        """End a watch; one more event, IN_IGNORED, follows."""
        libc.call("inotify_rm_watch", self._descriptor, watch)

    def read(self) -> tuple[Event, ...]:
        """What has happened, oldest first; empty when nothing has."""
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return ()
        except OSError as error:
            raise libc.named(error, "read", "inotify") from None
        return parse(data)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse(data: bytes) -> tuple[Event, ...]:
    events: list[Event] = []
    position = 0
    while position + _HEADER.size <= len(data):
        wd, mask, cookie, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        name = data[position : position + length].partition(b"\0")[0]
        events.append(Event(wd, mask, cookie, os.fsdecode(name)))
        position += length
    return tuple(events)
