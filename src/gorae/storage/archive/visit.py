"""Sending a visitor (`visitor.py`) into a tree.

    async with visiting(way, {"work": "pack", "path": "/etc"}) as visitor:
        stat = await visitor.answer()               its first line; errors are raised
        async for portion in visitor.portions():    the archive (CorruptData when it is cut short)

Leaving the block ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import zstandard
from msgspec import Struct

from gorae import errors
from gorae.errors import CorruptData, GoraeError, Unavailable
from gorae.storage.disk import disk_error
from gorae.storage.snapshot.snapshotter import Mount

PROGRAM = Path(__file__).with_name("visitor.py")
PACKAGES = [os.path.dirname(os.path.dirname(os.path.abspath(zstandard.__file__)))]  # isal lies beside it
PIPE = 1 << 20
LINE = 1 << 20
SILENCE = 60.0  # seconds that whoever sends an archive may be silent
KINDS = {
    name: getattr(errors, name) for name in ("CorruptData", "InvalidArgument", "NotFound", "Forbidden", "Conflict", "Unsupported")
}


class Running(Struct, frozen=True):
    """Into the mount namespace of this process; the descriptor stays the caller's."""

    pidfd: int


class Stopped(Struct, frozen=True):
    """`volumes` are (source, destination, writable); `at` any directory of the engine's, where the tree is mounted for the visitor
    alone."""

    mounts: tuple[Mount, ...]
    volumes: tuple[tuple[str, str, bool], ...]
    at: str


class Bare(Struct, frozen=True):
    """Only directories that are given as `trees`."""


Way = Running | Stopped | Bare


class Ended(GoraeError):
    """The process whose namespace was to be joined is gone."""


class Visitor:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr

    async def answer(self) -> dict[str, Any]:
        """Raises `Ended`, and whatever the visitor found wrong."""
        line = await self._stdout.readline()
        if not line.endswith(b"\n"):
            words = (await self._stderr.read(4096)).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise Unavailable(f"the visitor died (status {await self._process.wait()}){': ' + words if words else ''}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise _error(found)
        return found

    async def portions(self) -> AsyncIterator[bytes]:
        """What follows the first line; raises when it is not whole."""
        while portion := await self._stdout.read(PIPE):
            yield portion
        if await self._process.wait():
            last = (await self._stderr.read(4096)).rpartition(b"\n")[0].rpartition(b"\n")[2]
            try:
                raise _error(json.loads(last))
            except ValueError:
                raise CorruptData("the archive was cut short") from None

    async def feed(self, stream: AsyncIterator[bytes]) -> None:
        """The archive; ends early when the visitor does. Unavailable when nothing comes for a minute."""
        try:
            while True:
                async with asyncio.timeout(SILENCE):
                    chunk = await anext(stream, b"")
                if not chunk:
                    break
                self._stdin.write(chunk)
                await self._stdin.drain()
            self._stdin.close()
        except ConnectionError:
            pass  # its answer says why
        except TimeoutError:
            raise Unavailable(f"the archive stopped arriving: nothing came for {SILENCE:.0f} s") from None


@asynccontextmanager
async def visiting(
    way: Way, job: dict[str, Any], *, trees: dict[str, str] | None = None, below: Sequence[str] = ()
) -> AsyncIterator[Visitor]:
    """`trees` are directories that the job names by descriptor, `below` paths of the layers below."""
    with contextlib.ExitStack() as stack:
        descriptors = []
        for name, directory in (trees or {}).items():
            try:
                opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise disk_error(error, "read a layer") from error
            stack.callback(os.close, opened)
            descriptors.append(opened)
            job = job | {name: opened}
        if isinstance(way, Running):
            descriptors.append(way.pidfd)
        line = {**job, "way": _spelled(way), "packages": PACKAGES, "below": list(below)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(PROGRAM),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=descriptors, env={"MALLOC_ARENA_MAX": "1"}, cwd="/", limit=LINE,
        )  # fmt: skip
    visitor = Visitor(process)
    try:
        _widen(process)
        with contextlib.suppress(ConnectionError):
            visitor._stdin.write(json.dumps(line).encode() + b"\n")
            await visitor._stdin.drain()
        yield visitor
    finally:
        if process.returncode is None:
            # Not process.kill(): that polls first, and takes the exit status away from asyncio's own wait.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def _widen(process: asyncio.subprocess.Process) -> None:
    """A pipe of 1 MiB: fewer turns for a large archive."""
    transport = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(transport.get_extra_info("pipe").fileno(), fcntl.F_SETPIPE_SZ, PIPE)


def _spelled(way: Way) -> dict[str, Any]:
    match way:
        case Running():
            return {"kind": "running", "pidfd": way.pidfd}
        case Stopped():
            mounts = [(each.type, each.source, list(each.options)) for each in way.mounts]
            return {"kind": "stopped", "mounts": mounts, "volumes": [list(each) for each in way.volumes], "at": way.at}
        case Bare():
            return {"kind": "bare"}


def _error(found: dict[str, Any]) -> GoraeError:
    kind, message, number = found.get("error"), str(found.get("message", "")), int(found.get("errno", 0))
    if kind == "OSError":
        if number == 3:  # ESRCH
            return Ended(message)
        return disk_error(OSError(number, message), "copy")
    return KINDS.get(str(kind), GoraeError)(message)  # type: ignore[no-any-return]
