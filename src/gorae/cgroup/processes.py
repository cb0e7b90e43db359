"""Who is in a cgroup's directory and below, and waiting for their deaths without sleeping."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack

from gorae.cgroup import files


def directories_below(directory: str) -> Iterator[str]:
    """Deepest first, without `directory` itself; what goes away meanwhile is passed over."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in names:
        yield from directories_below(name)
        yield name


def processes_below(directory: str) -> tuple[int, ...]:
    """As this process's pid namespace numbers them (those outside of it are left out); () without such a directory."""
    found: dict[int, None] = {}
    for place in (directory, *directories_below(directory)):
        # A threaded directory of v2 answers EOPNOTSUPP: its processes are listed by the domain above it.
        found.update((int(word), None) for word in files.read_or_empty(f"{place}/cgroup.procs").split() if word != "0")
    return tuple(found)


def wait_for_deaths(pids: tuple[int, ...], patience: float) -> bool:
    """True when all have died within `patience` seconds. Reaping them is up to their parents."""
    deadline = time.monotonic() + patience
    with ExitStack() as stack:
        poll = select.poll()
        waiting = 0
        for pid in pids[:256]:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
            waiting += 1
        while waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for descriptor, _ in poll.poll(left * 1000):
                poll.unregister(descriptor)
                waiting -= 1
    return True


def some(pids: tuple[int, ...]) -> str:
    """For a message."""
    return ", ".join(map(str, pids[:8])) + (", …" if len(pids) > 8 else "")
