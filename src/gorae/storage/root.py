"""The data root.

    /var/lib/gorae      0710
      lock              flock(2) by the one daemon
      gorae.db          records (db/)
      content/          blobs (content/)
      snapshots/        layers and containers' own files (snapshot/)
      containers/<id>/  logs, hosts, hostname, resolv.conf (engine/container)
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gorae.storage.content.store import Store
    from gorae.storage.db.database import Database
    from gorae.storage.snapshot.overlay import OverlaySnapshotter


class DataRoot:
    path: str
    database: Database
    content: Store
    snapshots: OverlaySnapshotter

    @classmethod
    async def open(cls, path: str | PathLike[str]) -> DataRoot:
        """Lock, open, and sweep away what a killed predecessor left half-made. `Conflict` when another daemon holds it."""
        raise NotImplementedError

    async def collect_garbage(self) -> int:
        """Free what neither an image, a container nor a lease reaches. Answers the bytes."""
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
