from __future__ import annotations

import os
import select
import struct
from pathlib import Path

import pytest

from gorae.linux import inotify


def test_events_in_order(tmp_path: Path) -> None:
    with inotify.Inotify() as watcher:
        assert not os.get_inheritable(watcher.fileno())
        watch = watcher.add(str(tmp_path), inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO)
        assert watcher.read() == ()
        (tmp_path / "ä").touch()
        (tmp_path / "ä").rename(tmp_path / "b")
        (tmp_path / "b").unlink()
        assert select.select([watcher], [], [], 10)[0]
        events = watcher.read()
        assert [(event.mask, event.name) for event in events] == [
            (inotify.IN_CREATE, "ä"), (inotify.IN_MOVED_FROM, "ä"), (inotify.IN_MOVED_TO, "b"), (inotify.IN_DELETE, "b"),
        ]  # fmt: skip
        assert events[1].cookie == events[2].cookie != 0
        assert {event.wd for event in events} == {watch}
        watcher.remove(watch)
        assert [event.mask for event in watcher.read()] == [inotify.IN_IGNORED]
    watcher.close()
    with pytest.raises(OSError, match="read: Bad file descriptor"):
        watcher.read()


def test_what_is_not_there() -> None:
    with inotify.Inotify() as watcher:
        with pytest.raises(FileNotFoundError, match=r"inotify_add_watch: .*'/nonexistent'"):
            watcher.add("/nonexistent", inotify.IN_MODIFY)
        with pytest.raises(OSError, match="inotify_rm_watch: Invalid argument"):
            watcher.remove(99)


def test_padding_and_a_cut_event() -> None:
    one = struct.pack("=iIII", 1, 2, 3, 16) + b"name".ljust(16, b"\0")
    two = struct.pack("=iIII", -1, inotify.IN_Q_OVERFLOW, 0, 0)
    assert inotify.parse(one + two + b"123") == (inotify.Event(1, 2, 3, "name"), inotify.Event(-1, inotify.IN_Q_OVERFLOW, 0, ""))
