"""The engine: opens everything in order and closes it in the opposite one.

    lock of the data root → database → content, snapshots, images → supervisor → restore → ready
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from gorae.engine.config import Config
from gorae.engine.container.containers import Containers
from gorae.engine.events import Events
from gorae.engine.system import System


class Engine:
    """Open one with `await Engine.open(config)`, or `async with Engine(config) as engine`.

    `containers`, `images` (`engine.image.images.Images`), `events` and `system` are the library. `aclose()` leaves containers running; when none
    is, the supervisor is asked to leave as well.
    """

    config: Config
    containers: Containers
    events: Events
    system: System

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    async def open(cls, config: Config) -> Self:
        """Raises Conflict when another daemon holds the data root, StorageFull when it cannot be written."""
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
