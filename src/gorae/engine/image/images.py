"""The library of images.

    content    configuration ──▶ layer blobs           kept alive by the row in `images`
    snapshots  chain id ◀── chain id ◀── …              one for each unpacked layer
    names      "busybox:latest" ──▶ id                  many names, one image
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from gorae.engine.image.model import Deleted, HistoryItem, Image, ImageEvent, ImageSummary, Loaded, Progress, Pruned, Untagged

if TYPE_CHECKING:
    from gorae.storage.root import DataRoot

InUse = Callable[[str], Sequence[tuple[str, bool]]]
"""Which containers use this image id: (container id, is it running)."""


class Images:
    """Open with `await Images.open(root)`, close with `await aclose()`."""

    @classmethod
    async def open(cls, root: DataRoot, *, in_use: InUse = lambda image: (), publish: Callable[[ImageEvent], None] = lambda event: None,
                   hidden: Iterable[str] = ()) -> Images:
        """`hidden` are paths that the built-in image `host` never shows (data root, runtime directory)."""
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def list(self, *, all: bool = False) -> tuple[ImageSummary, ...]:
        """Newest first. Filters are the caller's: they are pure functions over summaries."""
        raise NotImplementedError

    def get(self, reference: str) -> Image:
        """By name, id or unique prefix of an id. Raises `NotFound("No such image: …")`, `InvalidArgument`."""
        raise NotImplementedError

    def history(self, reference: str) -> tuple[HistoryItem, ...]:
        raise NotImplementedError

    async def rootfs(self, reference: str) -> str:
        """The snapshot key to `prepare` a container's tree on. Unpacks what is not unpacked (any more)."""
        raise NotImplementedError

    async def import_(self, stream: AsyncIterator[bytes], *, repository: str = "", tag: str = "", message: str = "", changes: Sequence[str] = (),
                      platform: str = "") -> Image:
        raise NotImplementedError

    def load(self, stream: AsyncIterator[bytes]) -> AsyncIterator[Progress | Loaded]:
        raise NotImplementedError

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def tag(self, reference: str, repository: str, tag: str = "") -> None:
        raise NotImplementedError

    async def remove(self, reference: str, *, force: bool = False, prune: bool = True) -> tuple[Untagged | Deleted, ...]:
        """Raises `Conflict` when a container or a second name holds it (Docker's words)."""
        raise NotImplementedError

    async def prune(self, *, dangling: bool = True, keep: Callable[[ImageSummary], bool] = lambda image: False) -> Pruned:
        raise NotImplementedError
