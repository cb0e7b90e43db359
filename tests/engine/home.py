"""A place for an engine of the test's own: directories, cgroup parent, and the proof that nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests import census

from gorae import errors
from gorae.cgroup.layout import detect
from gorae.engine.config import Config
from gorae.engine.container.model import Attachment, AttachRequest, ContainerConfig, LogRequest
from gorae.engine.engine import Engine

PATIENCE = 20.0


class Home:
    """`open` an engine as often as wanted; `leave` removes all and checks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        name = f"gorae-test-{secrets.token_hex(4)}"
        # Short, for the sake of unix socket paths.
        self.config = Config(data_root=folder / "data", exec_root=Path("/run") / name, cgroup_parent=f"/{name}")
        self.engine: Engine | None = None
        self.before: census.Census | None = None

    async def open(self) -> Engine:
        assert self.engine is None
        self.engine = await Engine.open(self.config)
        if self.before is None:
            self.before = self.count()
        return self.engine

    def count(self) -> census.Census:
        return census.take(self.config.data_root, self.config.exec_root, self.config.cgroup_parent)

    async def close(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.aclose()

    async def leave(self) -> None:
        try:
            engine = self.engine or await self.open()
            for container in await engine.containers.list(all=True):
                await engine.containers.remove(container.id, force=True)
            await self.close()
            assert self.before is not None
            assert not self.before.differences(self.count())
            # It says yes to `shutdown` and is gone a moment later.
            await until(lambda: not self.is_ours(self.supervisor_pid()), "the supervisor leaves when nothing lives")
        finally:
            self.kill_all()
            with contextlib.suppress(errors.GoraeError, OSError):
                detect().place(self.config.cgroup_parent).remove()
            shutil.rmtree(self.config.exec_root, ignore_errors=True)

    def supervisor_pid(self) -> int:
        try:
            return int((self.config.exec_root / "supervisor" / "supervisor.pid").read_text() or 0)
        except FileNotFoundError:
            return 0

    def is_ours(self, pid: int) -> bool:
        if not pid:
            return False
        try:
            return str(self.config.exec_root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def kill_all(self) -> None:
        pids = {pid for each in census.cgroup_directories(self.config.cgroup_parent) for pid in census.members(each)}
        pid = self.supervisor_pid()
        if self.is_ours(pid):
            pids.add(pid)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def wish(*command: str, image: str = "host", network_mode: str = "none", **fields: Any) -> ContainerConfig:
    return ContainerConfig(image=image, command=command, network_mode=network_mode, **fields)


async def drain(attachment: Attachment) -> bytes:
    """Everything until end-of-file; closes it."""
    assert attachment.socket is not None
    loop = asyncio.get_running_loop()
    received = b""
    try:
        while data := await asyncio.wait_for(loop.sock_recv(attachment.socket, 65536), PATIENCE):
            received += data
    finally:
        attachment.close()
    return received


def unframed(data: bytes) -> dict[int, bytes]:
    """Docker's 8-byte frames to streams."""
    streams = {1: b"", 2: b""}
    while data:
        size = int.from_bytes(data[4:8], "big")
        streams[data[0]] += data[8 : 8 + size]
        data = data[8 + size :]
    return streams


async def run(engine: Engine, config: ContainerConfig, name: str = "") -> tuple[str, int, bytes, bytes]:
    """Create, attach, start, wait: (id, exit code, stdout, stderr)."""
    created = await engine.containers.create(config, name=name)
    attachment = await engine.containers.attach(created.id, AttachRequest(stdout=True, stderr=True))
    waiting = engine.containers.wait(created.id, "removed" if config.auto_remove else "next-exit")
    await engine.containers.start(created.id)
    received = await drain(attachment)
    streams = {1: received, 2: b""} if config.tty else unframed(received)
    result = await asyncio.wait_for(waiting.result(), PATIENCE)
    return created.id, result.exit_code, streams[1], streams[2]


async def started(engine: Engine, config: ContainerConfig, name: str = "") -> str:
    created = await engine.containers.create(config, name=name)
    await engine.containers.start(created.id)
    return created.id


async def logged(engine: Engine, reference: str, **fields: Any) -> bytes:
    return b"".join([block.data async for blocks in engine.containers.logs(reference, LogRequest(**fields)) for block in blocks])


async def until(condition: Callable[[], Any] | Callable[[], Awaitable[Any]], what: str) -> Any:
    """Polls (bounded); the first true value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {PATIENCE} s: {what}")
