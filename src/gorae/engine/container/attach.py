"""Attach: the ends of a socket pair, one kept here, one for the supervisor.

before the start   the supervisor's end waits in the entry and goes with `start`, so that not a byte is missed
while it runs      `attach`; the answered position in the log is where the live bytes begin, and where a replay ends
with `logs` only   nothing live
"""

from __future__ import annotations

import asyncio
import socket

from gorae import errors
from gorae.engine.container import logs
from gorae.engine.container.entries import Entry
from gorae.engine.container.model import Attachment, AttachRequest, LogRequest
from gorae.engine.container.supervision import Supervision
from gorae.supervisor.protocol import Streams

BUFFER = 1 << 20


def pair() -> tuple[socket.socket, socket.socket]:
    """(ours, the supervisor's); ours does not block."""
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise errors.Unavailable(f"no socket for the streams: {error.strerror}") from error
    ours.setblocking(False)
    return ours, theirs


async def attach(entry: Entry, request: AttachRequest, supervision: Supervision) -> Attachment:
    """Waits for a start that is under way. Conflict for a paused container and one that is being removed."""
    tty = entry.container.config.tty
    wanted = LogRequest(stdout=request.stdout, stderr=request.stderr)
    if not request.stream:
        return Attachment(tty=tty, socket=None, replay=logs.read(entry, wanted) if request.logs else None)
    streams = Streams(stdin=request.stdin and entry.container.config.open_stdin, stdout=request.stdout, stderr=request.stderr)
    ours, theirs = pair()
    try:
        async with entry.lock:
            if entry.status == "paused":
                raise errors.Conflict(f"container {entry.id} is paused, unpause the container before attach")
            if entry.status == "removing" or entry.gone.is_set():
                raise errors.Conflict(f"container {entry.id} is being removed")
            replay = None
            if entry.status == "running":
                client = await supervision.client()
                try:
                    position = await client.attach(entry.id, theirs.fileno(), streams)
                except errors.NotFound:
                    position = None  # it has just ended: our end meets end-of-file at once
                if request.logs and entry.container.log_driver != "none":
                    end = (position.generation, position.offset) if position is not None else None
                    replay = logs.read(entry, wanted, end=end)
            else:
                entry.pending.append((streams, theirs.dup()))
                if request.logs and entry.container.log_driver != "none":
                    replay = logs.read(entry, wanted)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Attachment(tty=tty, socket=ours, replay=replay)


async def resize(entry: Entry, supervision: Supervision, height: int, width: int, exec: str | None = None) -> None:
    if not (0 <= height <= 65535 and 0 <= width <= 65535):
        raise errors.InvalidArgument(f"invalid terminal size {height}×{width}: each is from 0 to 65535")
    if not entry.container.state.running and not entry.starting:
        raise errors.Conflict(f"container {entry.id} is not running")
    async with entry.lock:  # a resize often comes while the start is under way
        if not entry.container.state.running:
            return
        client = await supervision.client()
        try:
            await asyncio.wait_for(client.resize(entry.id, height, width, exec), 5)
        except errors.NotFound:
            raise errors.Conflict(f"container {entry.id} is not running") from None
