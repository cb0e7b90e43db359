"""Files into and out of a container: `cp`, `export`, `diff`, and the layer that `commit` keeps.

    running, paused   the visitor joins the container's mount namespace: tmpfs and volumes are what the container sees
    otherwise         it mounts the snapshot and the volumes for itself; the container is locked while it does, and as long as it
                      writes

The visitor (`storage.archive.visitor`) is a process of its own; nothing is mounted on the machine, nothing of the container is
executed, and whatever the container swaps meanwhile, no path leads out of its tree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

import msgspec

from gorae import errors
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.model import Container, Struct
from gorae.engine.container.premises import Premises
from gorae.storage.archive.entry import Limits
from gorae.storage.archive.visit import Bare, Ended, Running, Stopped, Visitor, Way, visiting

# Where every container has mounts: the empty places for them are no change of the user's.
OWN_PLACES = (
    *("etc/hostname", "etc/hosts", "etc/resolv.conf", "proc", "sys", "sys/fs/cgroup", "dev", "dev/pts", "dev/shm", "dev/mqueue"),
    "dev/console",
)
TRIES = 3


class PathStat(Struct, frozen=True):
    """`mode` has Go's bits (io/fs.FileMode), `mtime` nanoseconds; `link_target` the end of the chain, for a link."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""


class Change(Struct, frozen=True):
    path: str
    kind: int  # 0 modified, 1 added, 2 deleted


class Archives:
    def __init__(self, premises: Premises, entries: Entries) -> None:
        self._premises = premises
        self._entries = entries

    async def stat(self, reference: str, path: str) -> PathStat:
        """NotFound: `Could not find the file x in container y`."""
        entry = self._entries.find(reference)
        with _naming(reference):
            async with self._visitor(entry, {"work": "stat", "path": _checked(path)}) as (_, answer):
                return msgspec.convert(answer, PathStat)

    @asynccontextmanager
    async def get(self, reference: str, path: str) -> AsyncIterator[tuple[PathStat, AsyncIterator[bytes]]]:
        """What is at the path (a link as itself, unless it ends in a slash), as tar."""
        entry = self._entries.find(reference)
        with _naming(reference):
            async with self._visitor(entry, {"work": "pack", "path": _checked(path)}) as (visitor, answer):
                yield msgspec.convert(answer, PathStat), visitor.portions()

    async def put(
        self, reference: str, path: str, archive: AsyncIterator[bytes], *, keeps_kinds: bool = False, owned: bool = False
    ) -> None:
        """Unpack into a directory. `keeps_kinds`: a directory is not replaced by a file, nor the other way; `owned`: all belongs to
        the container's user. Forbidden where the volume or the root file system is read-only.
        """
        entry = self._entries.find(reference)
        job = {
            "work": "unpack",
            "path": _checked(path),
            "keeps_kinds": keeps_kinds,
            "owner": entry.container.user if owned else "",
            "limits": asdict(Limits()),
        }
        with _naming(reference):
            if not entry.container.state.running and entry.container.config.read_only and not _in_volume(entry.container, path):
                raise errors.Forbidden("container rootfs is marked read-only")
            async with self._visitor(entry, job, archive=archive):
                pass

    @asynccontextmanager
    async def export(self, reference: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Its root file system, without what is mounted in it."""
        entry = self._entries.find(reference)
        async with self._visitor(entry, {"work": "export"}, volumes=False) as (visitor, _):
            yield visitor.portions()

    async def changes(self, reference: str) -> list[Change]:
        """What differs from its image, sorted by path."""
        entry = self._entries.find(reference)
        upper, lowers, own = self._premises.layers(entry.container)
        job = {"work": "changes", "own": [*OWN_PLACES, *own], "at": str(self._premises.directory(entry.id))}
        async with visiting(Bare(), job, trees={"upper": upper}, below=lowers) as visitor:
            await visitor.answer()
            told = b"".join([portion async for portion in visitor.portions()])
        return [Change(path=f"/{path}", kind=kind) for path, kind in msgspec.json.decode(told)]

    @asynccontextmanager
    async def layer(self, container: Container) -> AsyncIterator[AsyncIterator[bytes]]:
        """Its changes as a layer of an image."""
        upper, _, own = self._premises.layers(container)
        job = {"work": "layer", "own": [*OWN_PLACES, *own]}
        async with visiting(Bare(), job, trees={"upper": upper}) as visitor:
            await visitor.answer()
            yield visitor.portions()

    @asynccontextmanager
    async def _visitor(
        self, entry: Entry, job: dict[str, Any], *, archive: AsyncIterator[bytes] | None = None, volumes: bool = True
    ) -> AsyncIterator[tuple[Visitor, dict[str, Any]]]:
        """One that is there, and its first answer. A container that ends on the way in is visited again as a stopped one."""
        async with AsyncExitStack() as stack:
            for attempt in range(TRIES):
                lock = AsyncExitStack()
                async with lock:
                    await lock.enter_async_context(entry.lock)
                    if entry.gone.is_set():
                        raise errors.NotFound(f"No such container: {entry.id}")
                    way = self._way(entry, volumes)
                    visitor = await stack.enter_async_context(visiting(way, job))
                    if isinstance(way, Running):
                        await lock.aclose()
                    try:
                        if archive is not None:
                            await visitor.feed(archive)
                        answer = await visitor.answer()
                    except Ended:
                        if attempt + 1 == TRIES or archive is not None:
                            raise errors.Conflict(f"container {entry.id} ended meanwhile: try again") from None
                        continue
                yield visitor, answer
                return

    def _way(self, entry: Entry, volumes: bool) -> Way:
        container = entry.container
        if container.state.running:
            if entry.started is None or entry.started.pidfd < 0:
                raise errors.Unavailable(f"container {entry.id} is not in our hands yet: try again")
            return Running(entry.started.pidfd)
        points = [
            (point.source, point.destination, point.read_write)
            for point in sorted(container.mounts, key=lambda point: point.destination.count("/"))
            if point.type != "tmpfs"
        ]
        place = str(self._premises.directory(entry.id))
        return Stopped(self._premises.root_mounts(container), tuple(points if volumes else ()), place)


class _naming:
    """Docker's words for a path that is not there end in the container's name."""

    def __init__(self, reference: str) -> None:
        self._reference = reference

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, errors.NotFound) and str(error).startswith("Could not find the file"):
            raise errors.NotFound(f"{error} in container {self._reference}") from None


def _checked(path: str) -> str:
    if not path:
        raise errors.InvalidArgument("bad parameter: path cannot be empty")
    return path


def _in_volume(container: Container, path: str) -> bool:
    return any(f"/{path.strip('/')}/".startswith(f"{point.destination.rstrip('/')}/") for point in container.mounts)
