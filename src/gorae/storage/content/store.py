"""Blobs by digest.

    content/blobs/<algorithm>/<hex>      complete and verified, mode 0600, never changed; has a row in `content`
    content/ingest/<token>               being written; swept at the next start
    content/ingest/named-<hex>           the same, resumable: sha256 of its reference; swept when untouched for a day

A file without a row is what a crash left between rename and commit: the start removes it. A row without a file does not
happen, because the row of a blob goes first and its file afterwards, both on the database's writer thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Iterator

from msgspec import Struct

from gorae import crashpoints
from gorae.errors import Conflict, CorruptData, InvalidArgument, NotFound
from gorae.storage.content.ingest import PORTION, Ingest
from gorae.storage.db.database import Database
from gorae.storage.disk import disk_error, sync_directory

ALGORITHMS = {"sha256": 64, "sha512": 128}
DIGEST = re.compile("|".join(f"{name}:[0-9a-f]{{{length}}}" for name, length in ALGORITHMS.items()))
KEPT_FOR = 24 * 3600  # seconds that an interrupted, named ingest waits to be resumed


class BlobInfo(Struct, frozen=True, kw_only=True):
    digest: str
    size: int
    media_type: str = ""
    uncompressed: str = ""  # the diff id, when it is a layer
    created: int = 0


class Store:
    """`await Store.open(directory, database)`."""

    def __init__(self, directory: str, database: Database) -> None:
        self.directory = directory
        self.database = database
        self._named: set[str] = set()

    @classmethod
    async def open(cls, directory: str, database: Database) -> Store:
        """Make the directories and sweep away what a killed predecessor left half-made."""
        store = cls(directory, database)
        try:
            for algorithm in ALGORITHMS:
                os.makedirs(os.path.join(directory, "blobs", algorithm), mode=0o700, exist_ok=True)
            os.makedirs(os.path.join(directory, "ingest"), mode=0o700, exist_ok=True)
        except OSError as error:
            raise disk_error(error, "make the content store") from error
        await database.write(store._sweep)
        return store

    async def writer(self, *, lease: str, expected: str = "", size: int | None = None, reference: str = "") -> Ingest:
        """A new blob, of digest `expected` and `size` if known. `lease` protects it from the moment that it is visible.

        `reference` names a resumable ingest: a later writer with it goes on at `ingest.offset`. `Conflict` while another has it.
        """
        if expected:
            self.path(expected)
        name = f"named-{hashlib.sha256(reference.encode()).hexdigest()}" if reference else secrets.token_hex(16)
        if reference in self._named:
            raise Conflict(f"{reference} is being written already")
        path = os.path.join(self.directory, "ingest", name)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise disk_error(error, "write content") from error
        if reference:
            self._named.add(reference)
        ingest = Ingest(self, path, descriptor, lease=lease, expected=expected, size=size, reference=reference)
        if reference:
            try:
                await ingest.resume()
            except BaseException:
                await ingest.abort()
                raise
        return ingest

    async def add(
        self, data: bytes, *, lease: str, expected: str = "", media_type: str = "", children: Iterable[str] = ()
    ) -> BlobInfo:
        """A small blob in one go."""
        async with await self.writer(lease=lease, expected=expected, size=len(data)) as ingest:
            await ingest.write(data)
            return await ingest.commit(media_type=media_type, children=children)

    def path(self, digest: str) -> str:
        """Where the blob lies, if it does. Raises `InvalidArgument` for what is no digest: it becomes a path nowhere else."""
        if not DIGEST.fullmatch(digest):
            raise InvalidArgument(f"invalid digest {digest[:160]!a}: sha256: and 64 (or sha512: and 128) hex digits are expected")
        algorithm, _, hexadecimal = digest.partition(":")
        return os.path.join(self.directory, "blobs", algorithm, hexadecimal)

    def info(self, digest: str) -> BlobInfo:
        """Raises `NotFound`."""
        self.path(digest)
        info = self.database.read(lambda connection: _info(connection, digest))
        if info is None:
            raise NotFound(f"no content {digest}")
        return info

    def find_uncompressed(self, diff_id: str) -> BlobInfo | None:
        """A blob whose uncompressed bytes have this digest: itself, or a compressed one."""
        query = f"SELECT {COLUMNS} FROM content WHERE digest = ?1 OR uncompressed = ?1 ORDER BY digest = ?1 DESC LIMIT 1"
        row = self.database.read(lambda connection: connection.execute(query, (diff_id,)).fetchone())
        return None if row is None else _blob(row)

    def walk(self) -> tuple[BlobInfo, ...]:
        """All of them, by digest."""
        query = f"SELECT {COLUMNS} FROM content ORDER BY digest"
        return self.database.read(lambda connection: tuple(_blob(row) for row in connection.execute(query)))

    def open_blob(self, digest: str) -> int:
        """A read-only descriptor, owned by the caller; it stays good when the blob is deleted meanwhile."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound(f"no content {digest}") from None
        except OSError as error:
            raise disk_error(error, f"read {digest}") from error

    @contextlib.contextmanager
    def opened(self, digest: str) -> Iterator[int]:
        """The same for a with statement."""
        descriptor = self.open_blob(digest)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob, compared with its digest once more: a flipped bit on the disk is not believed."""
        descriptor = self.open_blob(digest)
        with open(descriptor, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise CorruptData(f"{digest} has more than {limit} bytes")
        algorithm, _, hexadecimal = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != hexadecimal:
            raise CorruptData(f"{self.path(digest)} does not match its name any more: the disk or somebody has changed it")
        return data

    async def stream(self, digest: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The blob's bytes in portions."""
        with os.fdopen(self.open_blob(digest), "rb", buffering=0) as file:
            file.seek(offset)
            left = -1 if length is None else length
            while left:
                portion = await asyncio.to_thread(file.read, PORTION if left < 0 else min(PORTION, left))
                if not portion:
                    return
                if left > 0:
                    left -= len(portion)
                yield portion

    async def know_uncompressed(self, digest: str, diff_id: str) -> None:
        """Remember the digest of a layer's uncompressed bytes, found while it was unpacked."""
        statement = "UPDATE content SET uncompressed = ? WHERE digest = ?"
        await self.database.write(lambda connection: connection.execute(statement, (diff_id, digest)).rowcount)

    async def know_media_type(self, digest: str, media_type: str) -> None:
        """For a blob of which nothing was said when it came."""
        statement = "UPDATE content SET media_type = ? WHERE digest = ? AND media_type = ''"
        await self.database.write(lambda connection: connection.execute(statement, (media_type, digest)).rowcount)

    async def depend(self, digest: str, children: Iterable[str]) -> None:
        """`digest` needs `children`: they live as long as it does."""
        pairs = [(digest, child) for child in children]
        statement = "INSERT OR IGNORE INTO content_children VALUES (?, ?)"
        await self.database.write(lambda connection: connection.executemany(statement, pairs).rowcount)

    async def delete(self, digests: Iterable[str]) -> int:
        """Forget the rows, then unlink the files (unless somebody has brought them again meanwhile). Answers the bytes freed."""
        victims = [(digest,) for digest in digests]

        def forget(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM content WHERE digest = ?", victims)

        await self.database.write(forget, essential=True)
        return await self.unlink_forgotten(digest for (digest,) in victims)

    # For the ingest and the garbage collector, which run these on the writer thread

    def record(
        self,
        connection: sqlite3.Connection,
        ingest: Ingest,
        digest: str,
        media_type: str,
        uncompressed: str,
        children: tuple[str, ...],
        lease: str,
    ) -> BlobInfo:
        """The ingest's file becomes the blob. When the row is there already, the first one stays."""
        statement = "INSERT OR REPLACE INTO lease_holds SELECT id, 'content', ? FROM leases WHERE id = ?"
        held = connection.execute(statement, (digest, lease))
        if held.rowcount == 0:
            raise NotFound(f"no lease {lease}")
        known = _info(connection, digest)
        if known is None:
            path = self.path(digest)
            crashpoints.hit("content.commit.before-rename")
            os.rename(ingest.path, path)
            crashpoints.hit("content.commit.after-rename")
            sync_directory(os.path.dirname(path))
            crashpoints.hit("content.commit.before-row")
            known = BlobInfo(
                digest=digest, size=ingest.offset, media_type=media_type, uncompressed=uncompressed, created=time.time_ns()
            )
            connection.execute(f"INSERT INTO content ({COLUMNS}) VALUES (?, ?, ?, ?, ?)", _row(known))
        else:
            os.unlink(ingest.path)
            if uncompressed and not known.uncompressed:
                connection.execute("UPDATE content SET uncompressed = ? WHERE digest = ?", (uncompressed, digest))
        connection.executemany("INSERT OR IGNORE INTO content_children VALUES (?, ?)", [(digest, child) for child in children])
        return known

    async def unlink_forgotten(self, digests: Iterable[str]) -> int:
        """The second half of deletion: files whose rows are gone."""
        candidates = list(digests)

        def unlink(connection: sqlite3.Connection) -> int:
            freed = 0
            for digest in candidates:
                if _info(connection, digest) is None:
                    with contextlib.suppress(OSError):  # what stays is swept at the next start
                        freed += os.lstat(self.path(digest)).st_blocks * 512
                        crashpoints.hit("content.remove.before-unlink")
                        os.unlink(self.path(digest))
                        crashpoints.hit("content.remove.after-unlink")
            return freed

        return await self.database.write(unlink, essential=True)

    def finished(self, reference: str) -> None:
        self._named.discard(reference)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        for algorithm in ALGORITHMS:
            directory = os.path.join(self.directory, "blobs", algorithm)
            query = "SELECT substr(digest, ?) FROM content WHERE digest LIKE ?"
            rows = connection.execute(query, (len(algorithm) + 2, f"{algorithm}:%"))
            known = {hexadecimal for (hexadecimal,) in rows}
            found = set(os.listdir(directory))
            for orphan in found - known:
                os.unlink(os.path.join(directory, orphan))
            for lost in known - found:
                connection.execute("DELETE FROM content WHERE digest = ?", (f"{algorithm}:{lost}",))
        for entry in os.scandir(os.path.join(self.directory, "ingest")):
            if not entry.name.startswith("named-") or time.time() - entry.stat(follow_symlinks=False).st_mtime > KEPT_FOR:
                os.unlink(entry.path)


COLUMNS = "digest, size, media_type, uncompressed, created"


def _info(connection: sqlite3.Connection, digest: str) -> BlobInfo | None:
    row = connection.execute(f"SELECT {COLUMNS} FROM content WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _blob(row)


def _blob(row: tuple[str, int, str, str, int]) -> BlobInfo:
    return BlobInfo(digest=row[0], size=row[1], media_type=row[2], uncompressed=row[3], created=row[4])


def _row(info: BlobInfo) -> tuple[str, int, str, str, int]:
    return (info.digest, info.size, info.media_type, info.uncompressed, info.created)
