"""What a registry asks of a store. `tests/registry/test_store.py` holds every store to it.

Keys are `/`-separated words of `[A-Za-z0-9._=-]`, never from outside unchecked. Promises:

- An object is there whole or not at all, whatever is killed when. What was answered survives `kill -9`; with `durable`, power loss
  too.
- `create` has one winner, among all instances of all machines that share the store.
- What one instance was answered, all others see at once.
- An upload grows by appends; its bytes are seen by nobody until `commit`, which checks the digest first. An append that is cut off
  keeps a prefix of what came. At most one append happens at a time; who comes second is refused with `OutOfOrder`.
- No call holds more than a MiB or two of a blob in memory (a bucket: a few parts in the whole process).

The time of an object is when it was written last, by the store's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, Protocol

from gorae.errors import Conflict, NotFound
from gorae.oci.digest import Digest


class UnknownUpload(NotFound):
    """No such upload: never begun, committed, cancelled or collected."""


class OutOfOrder(Conflict):
    """An append that does not begin where the upload ends, or while another append goes on."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload has {offset} bytes: continue there")
        self.offset = offset


@dataclass(frozen=True)
class Entry:
    key: str
    size: int
    modified: float
    """Seconds since the epoch."""


class Content(Protocol):
    """A blob opened for reading; whoever opened it calls `close`. It stays readable when the blob is deleted meanwhile."""

    size: int
    file: IO[bytes] | None
    """A regular file with exactly these bytes, for sendfile; None when there is none."""

    def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `stop`, in pieces of at most a MiB."""

    def close(self) -> None: ...


class Store(Protocol):
    """See the module's words."""

    async def read(self, key: str) -> bytes | None:
        """A small object, or None."""

    async def stat(self, key: str) -> Entry | None: ...

    async def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Replaces what is there; its time is new."""

    async def create(self, key: str, data: bytes) -> bool:
        """Whether it was not there before, and is now."""

    async def delete(self, key: str) -> None:
        """Also when it is not there."""

    def entries(self, prefix: str) -> AsyncIterator[Entry]:
        """Every object below `prefix/`, in any order. What comes and goes meanwhile may be missed or told."""

    async def open(self, key: str) -> Content | None: ...

    async def begin(self, upload: str) -> None:
        """A new, empty upload under this key."""

    async def offset(self, upload: str) -> int:
        """How many bytes it has. `UnknownUpload`."""

    async def append(self, upload: str, offset: int | None, chunks: AsyncIterator[bytes]) -> int:
        """Adds all of `chunks` and answers the new size. `offset` None: wherever it ends. `UnknownUpload`, `OutOfOrder`.

        A failure of `chunks` passes through; a prefix of what came before it is kept."""

    async def commit(self, upload: str, digest: Digest, key: str) -> int:
        """Makes the upload's bytes the object `key` (what is there is left as it is), durably; the upload stays. Answers the size.

        `CorruptData` when the digest is another one: nothing has been made."""

    async def cancel(self, upload: str) -> bool:
        """Removes it; whether it was there."""

    async def aclose(self) -> None: ...
