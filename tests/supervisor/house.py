"""What the supervisor's tests need: a running one, and the other ends of its sockets."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gorae.supervisor.client import SupervisorClient
from gorae.supervisor.protocol import (
    Context,
    Event,
    ExecExited,
    ExecRequest,
    Exit,
    Exited,
    Log,
    Started,
    StartRequest,
    Stdio,
    Streams,
)

FAKE = str(Path(__file__).with_name("fake.py"))
REAL = str(Path(__file__).resolve().parents[2] / "src/gorae/supervisor/main.py")


class House:
    """A supervisor in a directory of its own, with the log of what it said on stderr."""

    def __init__(self, program: str = FAKE) -> None:
        self.root = tempfile.mkdtemp(prefix="gorae-test-")
        self.directory = f"{self.root}/supervisor"
        self.argv = [sys.executable, "-I", "-S", program, "--directory", self.directory]
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[SupervisorClient] = []
        self._pids: set[int] = set()

    @property
    def socket(self) -> str:
        return f"{self.directory}/supervisor.sock"

    def begin(self) -> None:
        reading, writing = os.pipe()
        with open(f"{self.root}/stderr", "ab") as log:
            self.process = subprocess.Popen(
                [*self.argv, "--ready", str(writing)], pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        os.close(writing)
        with open(reading, "rb") as ready:
            assert ready.read() == b"\n", self.words()

    def words(self) -> str:
        return Path(f"{self.root}/stderr").read_text()

    async def client(self) -> SupervisorClient:
        client = await SupervisorClient.connect(self.socket)
        self.clients.append(client)
        return client

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def descriptors(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def record(self, container: str) -> str:
        return Path(f"{self.root}/{container}/exit.json").read_text()

    def peak(self) -> int:
        """The most memory it ever had, in KiB."""
        assert self.process is not None
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    def children(self) -> list[int]:
        assert self.process is not None
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(word) for word in file.read().split()]

    def log(self, container: str) -> str:
        os.makedirs(f"{self.root}/{container}", exist_ok=True)
        return f"{self.root}/{container}/log"

    def request(self, container: str, *args: str, log: bool = True, attach: tuple[Streams, ...] = (), **more: Any) -> StartRequest:
        path = self.log(container)
        stdio = Stdio(**{key: more.pop(key) for key in ("tty", "stdin", "stdin_once", "height", "width") if key in more})
        return StartRequest(
            container,
            f"{self.root}/{container}",
            more.pop("spec", {"process": {"args": [*args]}}),
            more.pop("context", Context()),
            stdio,
            Log("local", path, **more) if log else Log("none"),
            attach,
        )

    def exec_request(self, container: str, name: str, *args: str, attach: tuple[Streams, ...] = (), **stdio: bool) -> ExecRequest:
        return ExecRequest(container, name, {"args": [*args], "cwd": "/"}, "", Stdio(**stdio), attach)

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()
        if self.process is not None:
            for pid in self.children() if self.process.poll() is None else ():
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        for pid in self._pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.root)

    def orphan(self, pid: int) -> None:
        """Killed at the end, if it is still there."""
        self._pids.add(pid)


class Peer:
    """The engine's end of an attach socket."""

    def __init__(self) -> None:
        self.mine, self.theirs = socket.socketpair()
        self.mine.setblocking(False)
        self.buffer = b""

    @property
    def number(self) -> int:
        return self.theirs.fileno()

    def given(self) -> None:
        self.theirs.close()

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.mine, data)

    def half_close(self) -> None:
        self.mine.shutdown(socket.SHUT_WR)

    async def read_some(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.mine, 1 << 20), 20)

    async def read_until(self, wanted: bytes) -> bytes:
        while wanted not in self.buffer:
            data = await self.read_some()
            assert data, f"the end came, but no {wanted!r}: {self.buffer[-200:]!r}"
            self.buffer += data
        return self.buffer

    async def read_all(self) -> bytes:
        while data := await self.read_some():
            self.buffer += data
        return self.buffer

    def close(self) -> None:
        self.mine.close()
        self.theirs.close()


def frames(data: bytes) -> dict[int, bytes]:
    """What each stream carried."""
    streams = {1: b"", 2: b""}
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        assert data[at + 1 : at + 4] == b"\0\0\0"
        assert at + 8 + length <= len(data)
        streams[data[at]] += data[at + 8 : at + 8 + length]
        at += 8 + length
    return streams


async def until(client: SupervisorClient, wanted: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(30):
        async for event in client.events():
            if wanted(event):
                return event
    raise AssertionError("unreachable")


async def exit_of(client: SupervisorClient, container: str) -> Exit:
    event = await until(client, lambda event: isinstance(event, Exited) and event.container == container)
    assert isinstance(event, Exited)
    return event.exit


async def exec_exit_of(client: SupervisorClient, name: str) -> Exit:
    event = await until(client, lambda event: isinstance(event, ExecExited) and event.exec == name)
    assert isinstance(event, ExecExited)
    return event.exit


async def run(client: SupervisorClient, request: StartRequest, peers: tuple[Peer, ...] = ()) -> Started:
    started = await client.start(request, [peer.number for peer in peers])
    for peer in peers:
        peer.given()
    return started


async def eventually(true: Callable[[], bool]) -> None:
    """A bounded poll, for what tells nobody when it changes (the number of descriptors)."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
