"""A library of images over a data root of the test's own, and registries that misbehave."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.engine.remote.faulty import Faulty
from tests.registry.conftest import certificate  # noqa: F401 (a fixture)

from gorae.engine.image.images import Images
from gorae.engine.image.model import ImageEvent, Progress, Pulled
from gorae.engine.remote.registries import Registries
from gorae.engine.remote.rules import Patience, Rules
from gorae.storage.root import DataRoot

QUICK = Patience(connect=5, stall=0.5, attempts=5, pause=0.001, longest_pause=5)


class Library:
    def __init__(self, root: DataRoot, images: Images, events: list[ImageEvent]) -> None:
        self.root = root
        self.images = images
        self.events = events

    async def pull(self, name: str, **given: Any) -> list[Progress | Pulled]:
        return [step async for step in self.images.pull(name, **given)]

    def left(self) -> dict[str, Any]:
        """What lies there besides the built-in image."""
        builtin = {image.id for image in self.images.list() if image.builtin}
        rows = self.root.database.read(
            lambda connection: {
                "leases": connection.execute("SELECT count(*) FROM leases").fetchone()[0],
                "snapshots": connection.execute("SELECT count(*) FROM snapshots WHERE key LIKE '%:%'").fetchone()[0],
                "active": connection.execute("SELECT count(*) FROM snapshots WHERE kind = 'active'").fetchone()[0],
            }
        )
        content = Path(self.root.path) / "content"
        rows["ingest"] = len(os.listdir(content / "ingest"))
        rows["blobs"] = len([blob for blob in self.root.content.walk() if blob.digest not in builtin])
        rows["images"] = len([image for image in self.images.list() if not image.builtin])
        return rows

    async def content(self, name: str) -> dict[str, bytes]:
        """The files of an image, as its layers put them."""
        key = await self.images.rootfs(name)
        temporary = "test-view"
        await self.root.snapshots.prepare(temporary, key)
        try:
            found: dict[str, bytes] = {}
            for lower in reversed(self.root.snapshots.lowers(temporary)):
                found |= files(Path(lower))
            return found
        finally:
            await self.root.snapshots.remove(temporary)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


EMPTY = {"leases": 0, "snapshots": 0, "active": 0, "ingest": 0, "blobs": 0, "images": 0}
OpenLibrary = Callable[..., Awaitable[Library]]


@pytest.fixture
async def libraries(tmp_path: Path) -> AsyncIterator[OpenLibrary]:
    async with AsyncExitStack() as stack:
        count = 0

        async def start(patience: Patience = QUICK, **rules: Any) -> Library:
            nonlocal count
            count += 1
            root = await DataRoot.open(tmp_path / f"data{count}")
            stack.push_async_callback(root.aclose)
            events: list[ImageEvent] = []
            images = await Images.open(root, publish=events.append, registries=Registries(Rules(**rules), patience))
            return Library(root, images, events)

        yield start


@pytest.fixture
async def library(libraries: OpenLibrary) -> Library:
    return await libraries()


@pytest.fixture
async def registry() -> AsyncIterator[Faulty]:
    made = Faulty()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def other() -> AsyncIterator[Faulty]:
    made = Faulty()
    await made.start()
    yield made
    await made.stop()
