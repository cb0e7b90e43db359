"""Asking a worker process to unpack an archive into a directory.

    async with unpacking(archive, target) as work:      the worker runs
        work.grown(1 << 20)                             … the archive has so many bytes by now (only with follow)
        result = await work.result()                    the archive is complete; what became of it

The worker is bounded in memory, time and rights (`worker.py`). Leaving the block kills it, if it still runs; what it has made
so far is then to be thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

from msgspec import Struct

from gorae.errors import CorruptData, GoraeError, StorageFull, Unavailable
from gorae.storage.archive.entry import Limits
from gorae.storage.disk import disk_error

PATIENCE = 60.0  # seconds for the end, and one more for every 10 MB of archive
RESERVE = 64 << 20  # bytes of the file system that no archive gets
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Unpacked(Struct, frozen=True, kw_only=True):
    entries: int
    size: int  # of all regular files together
    digest: str = ""  # of the uncompressed archive, if it was asked for
    ignored: int = 0


class Work:
    def __init__(self, process: asyncio.subprocess.Process, archive: int, free: int) -> None:
        self._process = process
        self._free = free  # bytes, when that is what limits the size
        self._archive = archive
        self._stderr = asyncio.ensure_future(_bounded(process.stderr))

    def grown(self, length: int) -> None:
        """The archive has `length` bytes by now. From any thread: a pipe write of 8 bytes is atomic."""
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                # A full pipe means that the worker has more to read than it can; the last length is told by `result`. A closed
                # one (ValueError) means that it has ended already, and `result` says why.
                os.write(stdin.transport.get_extra_info("pipe").fileno(), struct.pack("<Q", length))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def failed(self) -> bool:
        """It has ended already: no use in going on. `result` says why."""
        return self._process.returncode is not None

    async def result(self) -> Unpacked:
        """Wait for the end. Raises `CorruptData`, `StorageFull`, `Unavailable`."""
        length = os.fstat(self._archive).st_size
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            async with asyncio.timeout(PATIENCE + length / 10e6):
                with contextlib.suppress(ConnectionError):
                    stdin.write(struct.pack("<Q", length))
                    await stdin.drain()
                stdin.close()
                answer = await stdout.readline()
                code = await self._process.wait()
        except TimeoutError:
            raise CorruptData(f"unpacking {length} bytes takes longer than allowed") from None
        if not answer.endswith(b"\n"):
            words = (await self._stderr).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise Unavailable(f"the unpacking process died (status {code}){': ' + words if words else ''}")
        try:
            return _understood(json.loads(answer))
        except CorruptData as error:
            if self._free and str(self._free) in str(error):
                raise StorageFull(f"cannot unpack: the files are larger than the {self._free} bytes that are free") from error
            raise


@asynccontextmanager
async def unpacking(
    archive: int,
    target: str,
    *,
    lowers: Sequence[str] = (),
    hash: str = "sha256",
    hash_plain: bool = True,
    follow: bool = False,
    sync: bool = True,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> AsyncIterator[Work]:
    """`archive` is a descriptor to be read from its beginning, `target` a directory that nobody else uses, `lowers` those of
    the layers below, the nearest first. With `follow` the archive is still being written. `hash` names the digest of the
    uncompressed bytes that is wanted, "" for none; without `hash_plain`, not if they are the archive's own. `sync` makes the
    files durable."""
    with contextlib.ExitStack() as stack:

        def opened(path: str) -> int:
            descriptor = os.open(path, DIRECTORY)
            stack.callback(os.close, descriptor)
            return descriptor

        try:
            root = opened(target)
            below = [opened(path) for path in lowers]
            space = os.fstatvfs(root)
        except OSError as error:
            raise disk_error(error, "unpack") from error
        free = max(space.f_bavail * space.f_frsize - RESERVE, 0)
        tight = free if free < limits.size else 0
        limits = Limits(limits.entries, min(limits.size, free), limits.header, limits.path)
        descriptors = {"archive": archive, "target": root, "lowers": below}
        wishes = {"hash": hash, "hash_plain": hash_plain, "follow": follow, "sync": sync, "limits": asdict(limits)}
        line = json.dumps({**descriptors, **wishes}).encode() + b"\n"
        process = await _start((archive, root, *below))
        assert process.stdin is not None
        work = Work(process, archive, tight)
        try:
            process.stdin.write(line)
            yield work
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
            work._stderr.cancel()


async def _start(descriptors: tuple[int, ...]) -> asyncio.subprocess.Process:
    """Isolated: nothing in the environment or the directory of this process has a say in what it imports."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "gorae.storage.archive.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        env={"MALLOC_ARENA_MAX": "1"},  # each arena takes 64 MiB of address space
        cwd="/",
    )


def _understood(answer: dict[str, object]) -> Unpacked:
    kind = answer.get("error")
    message = str(answer.get("message", ""))
    if kind is None:
        return Unpacked(
            entries=int(str(answer["entries"])),
            size=int(str(answer["size"])),
            digest=str(answer["digest"]),
            ignored=int(str(answer["ignored"])),
        )
    if kind == "CorruptData":
        raise CorruptData(message)
    if kind == "OSError":
        raise disk_error(OSError(int(str(answer["errno"])), message), "unpack")
    raise GoraeError(message)


async def _bounded(stream: asyncio.StreamReader | None) -> bytes:
    """The last words, however many were said."""
    last = b""
    while stream is not None and (piece := await stream.read(1 << 16)):
        last = (last + piece)[-4096:]
    return last
