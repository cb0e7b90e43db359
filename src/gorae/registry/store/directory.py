"""A store in a directory.

    <root>/                     0700, made when it is not there
      scratch/                  half-written objects, emptied of what a killed instance left after a day
      blobs/… repositories/…    an object is a file at its key

    write     scratch file ─▶ fdatasync ─▶ rename ─▶ fsync of the directory
    create    scratch file ─▶ link(2), which has one winner
    append    flock ─▶ the file grows; its size is the truth, whoever was killed
    commit    hash (kept up while appending, else read again) ─▶ fdatasync ─▶ link(2) ─▶ fsync of the directory

A committed file must never grow again: an append refuses a file with a second name, and one whose name has gone (checked under the
lock).

Several instances of one machine, or of a file system with flock(2) and link(2) over the network, may share it. Looking things up
happens in the event loop, because a stat of a warm directory is cheaper than a thread's wake-up; whatever waits for a disk happens
in threads.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import IO, Any

from gorae.errors import CorruptData, GoraeError, StorageFull, Unavailable
from gorae.oci.digest import Digest
from gorae.registry.store.seam import Entry, OutOfOrder, UnknownUpload

PIECE = 256 << 10
READ = 1 << 20
INLINE = 64 << 10
"""What is hashed and written at once without a thread."""
MOST_HASHES = 1024
SCRATCH = "scratch"
SCRATCH_AGE = 86400.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class File:
    """A blob in a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file: IO[bytes] | None = file
        self.size = size
        self._number = file.fileno()

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        while start < stop:
            data = await asyncio.to_thread(os.pread, self._number, min(READ, stop - start), start)
            if not data:
                raise CorruptData("a blob's file is shorter than it was")
            start += len(data)
            yield data

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


class Directory:
    """The store below `root`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(root)
        self._hashes: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        with _explained(f"use the directory {self.root}"):
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            os.makedirs(os.path.join(self.root, SCRATCH), exist_ok=True)
            self._sweep_scratch()

    # Objects.

    async def read(self, key: str) -> bytes | None:
        with _explained(key):
            try:
                with open(self._path(key), "rb") as file:  # noqa: ASYNC230  # see the module's words
                    return file.read()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    async def stat(self, key: str) -> Entry | None:
        with _explained(key):
            try:
                found = os.stat(self._path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Entry(key, found.st_size, found.st_mtime)

    async def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        if durable:
            await asyncio.to_thread(self._write, key, data, True)
        else:
            self._write(key, data, False)

    async def create(self, key: str, data: bytes) -> bool:
        return await asyncio.to_thread(self._create, key, data)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, key)

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        walk = self._walk(prefix)
        while batch := await asyncio.to_thread(_take, walk, 1000):
            for entry in batch:
                yield entry

    async def open(self, key: str) -> File | None:
        with _explained(key):
            try:
                file = open(self._path(key), "rb")  # noqa: ASYNC230, SIM115  # see the module's words; the reader closes it
            except (FileNotFoundError, NotADirectoryError):
                return None
            return File(file, os.fstat(file.fileno()).st_size)

    async def aclose(self) -> None:
        self._hashes.clear()

    # Uploads.

    async def begin(self, upload: str) -> None:
        with _explained(upload):
            path = self._path(upload)
            os.close(_made(path, lambda: os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)))
            self._remember(upload, 0, hashlib.sha256())

    async def offset(self, upload: str) -> int:
        found = await self.stat(upload)
        if found is None:
            raise UnknownUpload("no such upload")
        return found.size

    async def append(self, upload: str, offset: int | None, chunks: AsyncIterator[bytes]) -> int:
        with _explained(upload):
            number = self._hold(upload)
        try:
            found = os.fstat(number)
            size = found.st_size
            if found.st_nlink != 1:
                raise UnknownUpload("the upload is committed already")
            if offset is not None and offset != size:
                raise OutOfOrder(size)
            known = self._hashes.pop(upload, None)
            growth = Growth(number, size, known[1] if known and known[0] == size else None)
            try:
                async for chunk in chunks:
                    await growth.add(chunk)
            finally:
                await growth.flush()
                if growth.hasher is not None:
                    self._remember(upload, growth.size, growth.hasher)
            return growth.size
        finally:
            os.close(number)

    async def commit(self, upload: str, digest: Digest, key: str) -> int:
        with _explained(upload):
            number = self._hold(upload)
        try:
            return await asyncio.to_thread(self._commit, number, upload, digest, key)
        finally:
            os.close(number)

    async def cancel(self, upload: str) -> bool:
        self._hashes.pop(upload, None)
        with _explained(upload):
            try:
                os.unlink(self._path(upload))
            except FileNotFoundError:
                return False
            return True

    # What happens in threads.

    def _write(self, key: str, data: bytes, durable: bool) -> None:
        with _explained(key):
            path = self._path(key)
            scratch = self._scratch(data, durable)
            try:
                _made(path, lambda: os.rename(scratch, path))
            except OSError:
                os.unlink(scratch)
                raise
            if durable:
                _sync_directory(os.path.dirname(path))

    def _create(self, key: str, data: bytes) -> bool:
        with _explained(key):
            path = self._path(key)
            scratch = self._scratch(data, True)
            try:
                _made(path, lambda: os.link(scratch, path))
            except FileExistsError:
                return False
            finally:
                os.unlink(scratch)
            _sync_directory(os.path.dirname(path))
            return True

    def _delete(self, key: str) -> None:
        with _explained(key):
            path = self._path(key)
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                return
            _sync_directory(os.path.dirname(path))

    def _commit(self, number: int, upload: str, digest: Digest, key: str) -> int:
        with _explained(upload):
            size = os.fstat(number).st_size
            known = self._hashes.get(upload)
            if digest.algorithm == "sha256" and known is not None and known[0] == size:
                found = known[1].hexdigest()
            else:
                with open(number, "rb", buffering=0, closefd=False) as file:
                    file.seek(0)
                    found = hashlib.file_digest(file, digest.algorithm).hexdigest()
            if found != digest.hex:
                raise CorruptData(f"the upload's digest is {digest.algorithm}:{found}, not {digest}")
            path = self._path(key)
            if not os.path.exists(path):
                os.fdatasync(number)
                with suppress(FileExistsError):
                    _made(path, lambda: os.link(self._path(upload), path))
            _sync_directory(os.path.dirname(path))
            return size

    def _scratch(self, data: bytes, durable: bool) -> str:
        path = os.path.join(self.root, SCRATCH, secrets.token_hex(16))
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            _write_all(number, data, 0)
            if durable and data:
                os.fdatasync(number)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(number)
        return path

    def _hold(self, upload: str) -> int:
        """A descriptor of the upload's file, locked against every other append and commit of any instance."""
        path = self._path(upload)
        try:
            number = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownUpload("no such upload") from None
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(path).st_ino != os.fstat(number).st_ino:
                raise FileNotFoundError
        except BlockingIOError:
            size = os.fstat(number).st_size
            os.close(number)
            raise OutOfOrder(size) from None
        except FileNotFoundError:
            os.close(number)
            raise UnknownUpload("no such upload") from None
        return number

    def _remember(self, upload: str, size: int, hasher: Any) -> None:
        self._hashes[upload] = (size, hasher)
        while len(self._hashes) > MOST_HASHES:
            self._hashes.popitem(last=False)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        folders = [prefix]
        while folders:
            folder = folders.pop()
            try:
                found_here = list(os.scandir(self._path(folder)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in found_here:
                with suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{folder}/{entry.name}")
                    else:
                        found = entry.stat(follow_symlinks=False)
                        yield Entry(f"{folder}/{entry.name}", found.st_size, found.st_mtime)

    def _sweep_scratch(self) -> None:
        for entry in os.scandir(os.path.join(self.root, SCRATCH)):
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < time.time() - SCRATCH_AGE:
                    os.unlink(entry.path)

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"


class Growth:
    """The end of a growing file: gathers small chunks, writes and hashes in pieces."""

    def __init__(self, number: int, size: int, hasher: Any) -> None:
        self.size = size
        self.hasher = hasher
        self._number = number
        self._waiting: list[bytes] = []
        self._length = 0

    async def add(self, chunk: bytes) -> None:
        self._waiting.append(chunk)
        self._length += len(chunk)
        if self._length >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        if not self._length:
            return
        data = b"".join(self._waiting)
        self._waiting, self._length = [], 0
        with _explained("upload"):
            if len(data) <= INLINE:
                self._put(data)
            else:
                # Shielded: a thread cannot be stopped, and the descriptor must not be closed under it.
                job = asyncio.ensure_future(asyncio.to_thread(self._put, data))
                try:
                    await asyncio.shield(job)
                except asyncio.CancelledError:
                    await asyncio.wait([job])
                    raise

    def _put(self, data: bytes) -> None:
        _write_all(self._number, data, self.size)
        if self.hasher is not None:
            self.hasher.update(data)
        self.size += len(data)


class _explained:  # reads as a word in a with statement
    """Turns an `OSError` into what it means to a registry."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, GoraeError):
            words = f"storage: {error.strerror or error}: {self.what}"
            raise (StorageFull if error.errno in _FULL else Unavailable)(words) from error


def _made(path: str, act: Any) -> Any:
    """`act()`, with the directory of `path` made when it turns out to be missing."""
    try:
        return act()
    except FileNotFoundError:
        folder = os.path.dirname(path)
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for each in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(each, 0o700)
            _sync_directory(os.path.dirname(each))
        return act()


def _sync_directory(path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _write_all(number: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(number, view, offset)
        offset += written
        view = view[written:]


def _take(walk: Iterator[Entry], most: int) -> list[Entry]:
    return [entry for _, entry in zip(range(most), walk, strict=False)]
