"""Out-of-memory events: a descriptor to poll, and how often the killer came.

    v1   an eventfd, registered with `<eventfd> <fd of memory.oom_control>` in cgroup.event_control (cgroup-v1/memory.rst §9);
         it also fires when the cgroup is removed
    v2   inotify on memory.events: the kernel reports a modification for each change (cgroup-v2.rst)

A wake-up says "look": whether something was killed is told by `Cgroup.oom_kills`.
"""

from __future__ import annotations

import os
from types import TracebackType

from gorae.linux.inotify import IN_MODIFY, Inotify


class OOMWatch:
    """Readable after an event; `drain` makes it quiet again. Owns its descriptor until `close`."""

    def __init__(self, source: int | Inotify) -> None:
        self._source = source

    def fileno(self) -> int:
        return self._source if isinstance(self._source, int) else self._source.fileno()

    def drain(self) -> bool:
        """True when there was an event."""
        if isinstance(self._source, Inotify):
            return bool(self._source.read())
        try:
            return os.eventfd_read(self._source) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        if isinstance(self._source, Inotify):
            self._source.close()
        elif self._source >= 0:
            os.close(self._source)
            self._source = -1

    def __enter__(self) -> OOMWatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def watch_v1(directory: str) -> OOMWatch:
    """The kernel keeps the eventfd, not the descriptor of the control file."""
    watch = OOMWatch(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            event_control = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(event_control, b"%d %d" % (watch.fileno(), control))
            finally:
                os.close(event_control)
        finally:
            os.close(control)
    except OSError:
        watch.close()
        raise
    return watch


def watch_v2(directory: str) -> OOMWatch:
    inotify = Inotify()
    try:
        inotify.add(f"{directory}/memory.events", IN_MODIFY)
    except OSError:
        inotify.close()
        raise
    return OOMWatch(inotify)
