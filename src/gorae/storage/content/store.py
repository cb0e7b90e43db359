"""Blobs by digest.

    content/blobs/<algorithm>/<hex>      complete and verified, mode 0600, never changed
    content/ingest/<token>               being written; its name is private to this process until commit
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import TracebackType

from msgspec import Struct


class BlobInfo(Struct, frozen=True, kw_only=True):
    digest: str
    size: int
    media_type: str = ""
    created: int = 0


class Ingest:
    """One blob on its way in. `async with store.writer(…) as ingest`: left without commit, it is aborted (a referenced one is
    kept for resuming)."""

    offset: int
    path: str

    async def write(self, data: bytes | memoryview) -> None:
        raise NotImplementedError

    async def commit(self, *, size: int | None = None, media_type: str = "", children: Iterable[str] = ()) -> BlobInfo:
        """Verify, fsync, rename, fsync the directory, record. Raises `CorruptData` (and drops the bytes) when digest or size
        differ."""
        raise NotImplementedError

    async def abort(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Ingest:
        raise NotImplementedError

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        raise NotImplementedError


class Store:
    async def writer(self, *, lease: str, expected: str = "", size: int | None = None, reference: str = "") -> Ingest:
        """`reference` names a resumable ingest: a second writer with it goes on at `ingest.offset`."""
        raise NotImplementedError

    async def add(self, data: bytes, *, lease: str, expected: str = "", media_type: str = "", children: Iterable[str] = ()) -> BlobInfo:
        raise NotImplementedError

    def info(self, digest: str) -> BlobInfo:
        raise NotImplementedError

    def open(self, digest: str) -> int:
        """A read-only descriptor, owned by the caller."""
        raise NotImplementedError

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob, checked again against its digest."""
        raise NotImplementedError

    def stream(self, digest: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        raise NotImplementedError
