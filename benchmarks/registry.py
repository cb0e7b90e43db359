"""The registry beside Debian's docker-registry, on the same disk, in the same run: .venv/bin/python -m benchmarks.registry
[--quick]

    in      HEAD, POST, PATCH, PUT a blob, as Docker's client pushes          blobs a second, 32 clients
    out     GET a blob                                                         blobs a second, 32 clients
    memory  the server's peak resident memory (VmHWM) while 32 clients push and pull large blobs

Clients are threads with bare sockets and requests made beforehand, in a process of their own. The servers take turns, A B A B, and
each figure is the median of its rounds. docker-registry has its defaults, but no log and no redirect, and deletes enabled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

CLIENTS = 32
PATIENCE = 20.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: *([^\r]+)", re.IGNORECASE)


class Server:
    """A registry under measurement; `name`, `port`, `process`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"),
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit(f"{self.name} did not start: {(folder / 'log').read_text()[-2000:]}") from None
                time.sleep(0.01)

    def command(self) -> list[str]:
        raise NotImplementedError

    def peak(self) -> float:
        """MiB."""
        return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0]) / 1024

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


class Gorae(Server):
    def command(self) -> list[str]:
        words = [sys.executable, "-I", "-m", "gorae.cli.main", "registry", "serve"]
        return [*words, "--address", f"127.0.0.1:{self.port}", "--storage", str(self.folder / "storage")]


class DockerRegistry(Server):
    def command(self) -> list[str]:
        settings = self.folder / "config.yml"
        settings.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "error", "accesslog": {"disabled": True}},
                    "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}, "delete": {"enabled": True}},
                    "http": {"addr": f"127.0.0.1:{self.port}"},
                }
            )
        )
        return ["docker-registry", "serve", str(settings)]


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(1 << 20)

    def ask(self, head: str, body: bytes = b"", expect: bytes = b"2") -> bytes:
        """The answer's head; its body is read and dropped."""
        self.socket.sendall(f"{head} HTTP/1.1\r\nHost: registry\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            received = self.socket.recv_into(self.buffer)
            if not received:
                raise ConnectionError("the server has closed the connection")
            answer += self.buffer[:received]
        told = answer[:end]
        length = _LENGTH.search(told)
        left = (int(length[1]) if length and not head.startswith("HEAD") else 0) - (len(answer) - end - 4)
        while left > 0:
            received = self.socket.recv_into(self.buffer)
            if not received:
                raise ConnectionError("the server has closed the connection")
            left -= received
        if not told[9:10] == expect:
            raise ConnectionError(told.decode(errors="replace"))
        return told

    def push(self, name: str, data: bytes, digest: str) -> None:
        self.ask(f"HEAD /v2/{name}/blobs/{digest}", expect=b"4")
        place = _place(self.ask(f"POST /v2/{name}/blobs/uploads/"))
        place = _place(self.ask(f"PATCH {place}", data))
        self.ask(f"PUT {place}{'&' if '?' in place else '?'}digest={digest}")

    def pull(self, name: str, digest: str) -> None:
        self.ask(f"GET /v2/{name}/blobs/{digest}")


def _place(head: bytes) -> str:
    found = _LOCATION.search(head)
    assert found
    return re.sub(r"^https?://[^/]+", "", found[1].decode())


def storm(port: int, work: Callable[[Client, int], None], clients: int) -> float:
    """Seconds until all clients have done their work."""
    failures: list[BaseException] = []
    ready = threading.Barrier(clients + 1)

    def run(number: int) -> None:
        try:
            client = Client(port)
            ready.wait()
            work(client, number)
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.monotonic()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - begun


def measure(port: int, size: int, count: int, seed: str) -> tuple[float, float]:
    """(blobs a second in, out); every blob is another one."""
    blobs = []
    for number in range(CLIENTS * count):
        data = hashlib.shake_128(f"{seed}-{number}".encode()).digest(min(size, 4096)) * max(1, size // 4096)
        blobs.append((data, f"sha256:{hashlib.sha256(data).hexdigest()}"))

    def push(client: Client, number: int) -> None:
        for data, digest in blobs[number::CLIENTS]:
            client.push("bench/image", data, digest)

    def pull(client: Client, number: int) -> None:
        for _ in range(PULLS):
            for _, digest in blobs[number::CLIENTS]:
                client.pull("bench/image", digest)

    pushed = len(blobs) / storm(port, push, CLIENTS)
    return pushed, PULLS * len(blobs) / storm(port, pull, CLIENTS)


PULLS = 4


def in_another_process(function: Callable[..., tuple[float, float]], *arguments: object) -> tuple[float, float]:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, fewer blobs")
    given = parser.parse_args()
    rounds = 1 if given.quick else 3
    sizes = [("4 KiB", 4 << 10, 10 if given.quick else 30), ("1 MiB", 1 << 20, 2 if given.quick else 6), ("64 MiB", 64 << 20, 1)]
    kinds: list[type[Server]] = [Gorae]
    if shutil.which("docker-registry"):
        kinds.append(DockerRegistry)
    else:
        print("docker-registry is not installed (apt-get install docker-registry): ours alone", file=sys.stderr)
    values: dict[tuple[str, str, str], list[float]] = {}
    folder = Path(tempfile.mkdtemp(prefix="registry-bench-", dir=os.environ.get("BENCH_DIRECTORY")))
    try:
        for turn in range(rounds):
            for kind in kinds:
                server = kind(kind.__name__, folder / f"{kind.__name__}-{turn}")
                try:
                    for label, size, count in sizes:
                        inward, outward = in_another_process(measure, server.port, size, count, f"{turn}-{label}")
                        values.setdefault((label, "in", server.name), []).append(inward)
                        values.setdefault((label, "out", server.name), []).append(outward)
                    values.setdefault(("peak memory", "MiB", server.name), []).append(server.peak())
                finally:
                    server.close()
                    shutil.rmtree(server.folder)
    finally:
        shutil.rmtree(folder)
    show(values, [kind.__name__ for kind in kinds])


def show(values: dict[tuple[str, str, str], list[float]], names: list[str]) -> None:
    table = Table(title=f"{CLIENTS} clients, blobs a second (memory: MiB)")
    for head in ("blob", "way", *names, "ratio"):
        table.add_column(head, justify="left" if head in ("blob", "way") else "right")
    for label, way in dict.fromkeys((label, way) for label, way, _ in values):
        medians = [statistics.median(values[label, way, name]) for name in names]
        ratio = f"{medians[0] / medians[1]:.2f}" if len(medians) > 1 else "—"
        table.add_row(label, way, *(f"{median:.1f}" for median in medians), ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
