"""Work that goes on in several tasks, told as one stream.

    tasks ── tell(step) ──▶ queue ──▶ async for step in told(work)

Leaving the stream cancels the work and waits until it is gone. Steps of a mere transfer are dropped when nobody reads them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from gorae.engine.image.model import Progress

T = TypeVar("T")
MOST_WAITING = 512
INTERVAL = 0.1  # seconds between two steps of one transfer


async def told(work: Callable[[Callable[[T], None]], Awaitable[None]]) -> AsyncGenerator[T, None]:
    queue: asyncio.Queue[T | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(queue.put_nowait)
        finally:
            queue.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while (step := await queue.get()) is not None:
            if isinstance(step, Progress) and step.total and queue.qsize() > MOST_WAITING:
                continue
            yield step
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        task.cancelled() or task.exception()


class Meter:
    """Tells how far a transfer is, now and then."""

    def __init__(self, tell: Callable[[Progress], None], id: str, status: str, total: int) -> None:
        self._tell = tell
        self._id = id
        self._status = status
        self._total = total
        self._last = 0.0

    def at(self, current: int) -> None:
        now = time.monotonic()
        if now - self._last >= INTERVAL:
            self._last = now
            self._tell(Progress(status=self._status, id=self._id, current=current, total=self._total))
