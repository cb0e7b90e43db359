"""`logs`: the files that the supervisor writes, read without stopping the loop.

The reader is synchronous and bounded (about 1 MiB a step); each step runs in a thread. Following waits for inotify in the loop,
or for the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from gorae import errors
from gorae.engine.container.entries import Entry
from gorae.engine.container.model import LogRequest
from gorae.logs.lines import Block
from gorae.logs.reader import Position, Reader


def read(entry: Entry, request: LogRequest, *, end: Position | None = None) -> AsyncIterator[Sequence[Block]]:
    """Batches of blocks; up to `end`, or (with `follow`) until the container has ended. Unsupported for a container without log."""
    if entry.container.log_driver == "none":
        raise errors.Unsupported("configured logging driver does not support reading")
    if not (request.stdout or request.stderr):
        raise errors.InvalidArgument("Bad parameters: you must choose at least one stream")
    return _blocks(entry, request, end)


async def _blocks(entry: Entry, request: LogRequest, end: Position | None) -> AsyncIterator[Sequence[Block]]:
    follow = request.follow and end is None
    try:
        reader = await asyncio.to_thread(
            Reader,
            entry.container.records_path or entry.container.log_path,
            tail=request.tail,
            since=request.since or None,
            until=request.until or None,
            end=end,
            follow=follow,
            stdout=request.stdout,
            stderr=request.stderr,
        )
    except FileNotFoundError:
        return
    growth = _Growth(reader) if follow else None
    finishing = False
    try:
        while not reader.finished:
            blocks = await asyncio.to_thread(reader.read_available)
            if blocks:
                yield blocks
            elif growth is not None and not finishing:
                await growth.or_set(entry.ended)
                if entry.ended.is_set():
                    # The exit event comes after the last byte was written: what is there now is all.
                    reader.finish()
                    finishing = True
    finally:
        if growth is not None:
            growth.close()
        reader.close()


class _Growth:
    """Waits until the log may have grown.

    The reader's descriptor stays readable until a thread has read it, so we look once a wait.
    """

    def __init__(self, reader: Reader) -> None:
        self._descriptor = reader.fileno()
        self._loop = asyncio.get_running_loop()

    async def or_set(self, event: asyncio.Event) -> None:
        grown: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._once, grown)
        ended = self._loop.create_task(event.wait())
        try:
            await asyncio.wait((grown, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_reader(self._descriptor)
            ended.cancel()

    def _once(self, grown: asyncio.Future[None]) -> None:
        self._loop.remove_reader(self._descriptor)
        if not grown.done():
            grown.set_result(None)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
