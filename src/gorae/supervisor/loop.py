"""The event loop: one epoll, one heap of deadlines, nothing else. Level-triggered; all descriptors are non-blocking.

A handler gets the event bits. It may watch, change or forget any descriptor, also its own: events that epoll has already given out
for a forgotten descriptor are not delivered, and a handler of a number that was closed and opened anew meanwhile at worst finds
nothing to read. EPOLLHUP and EPOLLERR are always reported: who wants to hear nothing for a while must `forget`.
"""

from __future__ import annotations

import heapq
import select
import sys
import time
from collections.abc import Callable

IN = select.EPOLLIN
OUT = select.EPOLLOUT
HUP = select.EPOLLHUP
ERR = select.EPOLLERR

Handler = Callable[[int], None]
Action = Callable[[], None]


class Timer:
    """A deadline; `cancel` is idempotent."""

    __slots__ = ("_loop", "action", "when")

    def __init__(self, loop: Loop, when: float, action: Action) -> None:
        self._loop = loop
        self.when = when
        self.action: Action | None = action

    def cancel(self) -> None:
        if self.action is not None:
            self.action = None
            self._loop.timer_cancelled()

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Loop:
    def __init__(self) -> None:
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._cancelled = 0
        self._running = False

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Calls `handler` whenever one of `events` holds; for a descriptor already watched both are replaced."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Call it before closing: a duplicate elsewhere would keep the registration alive (man 7 epoll, Q6). Idempotent."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, action: Action) -> Timer:
        timer = Timer(self, time.monotonic() + seconds, action)
        heapq.heappush(self._timers, timer)
        return timer

    def timer_cancelled(self) -> None:
        """Most deadlines are cancelled long before their time: they are cleared out when they are the greater part."""
        self._cancelled += 1
        if self._cancelled > 32 and self._cancelled * 2 > len(self._timers):
            self._timers = [timer for timer in self._timers if timer.action is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
        while self._running:
            self.turn()

    def turn(self, patience: float | None = None) -> None:
        """Waits once, until an event, a deadline or `patience`, and does what is due."""
        if self._timers:
            left = max(0.0, self._timers[0].when - time.monotonic())
            patience = left if patience is None else min(left, patience)
        for descriptor, events in self._epoll.poll(patience):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                guarded(handler, events)
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            timer = heapq.heappop(self._timers)
            action, timer.action = timer.action, None
            if action is None:
                self._cancelled -= 1
            else:
                guarded(lambda _, action=action: action(), 0)  # type: ignore[misc]

    def close(self) -> None:
        self._epoll.close()
        self._handlers.clear()
        self._timers.clear()


def guarded(handler: Handler, events: int) -> None:
    """A fault in one handler must not end the parent of all containers: it is told on stderr (supervisor.log)."""
    try:
        handler(events)
    except Exception:
        complain()


def complain() -> None:
    """The exception at hand, on stderr."""
    import traceback  # half a megabyte that a supervisor without faults does without

    traceback.print_exc(file=sys.stderr)
    sys.stderr.flush()
