"""Tasks that outlive the request which began them. They belong to an object that is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from gorae import errors

log = logging.getLogger(__name__)
T = TypeVar("T")


class Tasks:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None and not isinstance(failure, errors.GoraeError):
            log.error("a task failed", exc_info=failure)

    async def aclose(self, patience: float) -> None:
        """Wait for what is under way; after `patience` seconds, cancel it."""
        deadline = asyncio.get_running_loop().time() + patience
        while self._tasks:
            remaining = max(0.0, deadline - asyncio.get_running_loop().time())
            _, pending = await asyncio.wait(tuple(self._tasks), timeout=remaining)
            for task in pending:
                task.cancel()
