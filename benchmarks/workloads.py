"""What is measured: each function does one unit of work on one engine and returns one value."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from tests import census

from benchmarks.engines import Contender, Dockerd, Gorae, docker
from gorae.client.engine import Engine

CONFIG = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
LINES = 1_000_000
MILLISECONDS = 1000


def timed(work: object, *arguments: object) -> float:
    begun = time.perf_counter()
    work(*arguments)  # type: ignore[operator]
    return (time.perf_counter() - begun) * MILLISECONDS


def run_cli(engine: Contender) -> float:
    return timed(docker, engine, "run", "--rm", "--network", "none", "busybox", "true")


def exec_cli(engine: Contender) -> float:
    return timed(docker, engine, "exec", sleeper(engine), "true")


def run_api(engine: Contender) -> float:
    return timed(one_container, engine.client)


def one_container(client: Engine) -> None:
    identity = client.create(CONFIG)["Id"]
    client.start(identity)
    client.call("POST", f"/containers/{identity}/wait")
    client.remove(identity)


def exec_api(engine: Contender) -> float:
    container = sleeper(engine)

    def work() -> None:
        identity = engine.client.exec_create(container, {"Cmd": ["true"], "AttachStdout": True})
        response = engine.client.exec_start(identity, tty=False)
        while response.connection.socket.recv(4096):
            pass
        response.connection.close()

    return timed(work)


def birth_and_death(engine: Contender) -> float:
    """From the supervisor's receipt of `start` to its exit event, as its own clock tells in the birth record."""
    client = engine.client
    identity = client.create(CONFIG)["Id"]
    client.start(identity, explain=True)
    client.call("POST", f"/containers/{identity}/wait")
    birth = client.birth(identity)
    client.remove(identity)
    return float(birth["Nanoseconds"] + birth.get("DeathNanoseconds", 0)) / 1e6


def daemon_start(engine: Contender) -> float:
    engine.restart()
    SLEEPERS.pop(engine.name, None)
    return engine.starts[-1] * MILLISECONDS


def version_cli(engine: Contender) -> float:
    if isinstance(engine, Dockerd):
        return timed(docker, engine, "version")
    command = [sys.executable, "-I", "-m", "gorae.cli.main", "version"]
    return timed(lambda: subprocess.run(command, env=engine.environment, check=True, stdout=subprocess.DEVNULL))


SLEEPERS: dict[str, str] = {}


def sleeper(engine: Contender) -> str:
    if engine.name not in SLEEPERS:
        SLEEPERS[engine.name] = engine.client.create(CONFIG | {"Cmd": ["sleep", "100000"]})["Id"]
        engine.client.start(SLEEPERS[engine.name])
    return SLEEPERS[engine.name]


def fifty_sleepers(engine: Contender) -> float:
    client = engine.client
    identities = [client.create(CONFIG | {"Cmd": ["sleep", "100000"]})["Id"] for _ in range(50)]
    for identity in identities:
        client.start(identity)
    total = sum(census.resident(pid) for pid in engine.processes())
    for identity in identities:
        client.remove(identity, force=True)
    return total / (1 << 20)


LOGGED: dict[str, str] = {}


def log_write(engine: Contender) -> float:
    if engine.name in LOGGED:
        engine.client.remove(LOGGED[engine.name], force=True)
    script = f"yes 'a line of sixty bytes, as a program writes them all day lo' | head -n {LINES}"
    options = {"max-size": "200m", "max-file": "2"}
    host = {
        "NetworkMode": "none",
        "LogConfig": {"Type": "json-file" if isinstance(engine, Dockerd) else "local", "Config": options},
    }
    begun = time.perf_counter()
    LOGGED[engine.name] = engine.client.create(CONFIG | {"Cmd": ["sh", "-c", script], "HostConfig": host})["Id"]
    engine.client.start(LOGGED[engine.name])
    engine.client.call("POST", f"/containers/{LOGGED[engine.name]}/wait")
    return time.perf_counter() - begun


def log_read(engine: Contender) -> float:
    begun = time.perf_counter()
    response = engine.client.logs(LOGGED[engine.name], {"stdout": True})
    count = sum(chunk.count(b"\n") for chunk in response.chunks())
    response.connection.close()
    taken = time.perf_counter() - begun
    # The length byte of a frame is 60 + 1, never a line end, so each is a line.
    if count != LINES:
        raise RuntimeError(f"{engine.name}: {count} lines came back of {LINES}")
    return taken


def sustained(engine: Contender) -> float:
    """Containers per second over whole lives, refill of every pool included."""
    count = 400 if isinstance(engine, Gorae) else 24

    def worker(_: int) -> None:
        with Engine(engine.client.endpoint) as client:
            for _ in range(count // 8):
                one_container(client)

    begun = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(worker, range(8)))
    return count / (time.perf_counter() - begun)


@cache
def large_tar() -> bytes:
    """231 MB in 14,836 entries: a few large files and many small ones, the shape of a language image."""
    source = random.Random(1)
    block = source.randbytes(1 << 20)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in range(836):
            info = tarfile.TarInfo(f"usr/lib/{folder}")
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for number in range(14_000):
            size = 1_000_000 if number < 90 else source.randrange(1000, 16_000)
            info = tarfile.TarInfo(f"usr/lib/{number % 836}/file{number}")
            info.size, info.mode = size, 0o644
            tar.addfile(info, io.BytesIO(block[:size]))
    return buffer.getvalue()


def import_large(engine: Contender) -> float:
    data = large_tar()
    begun = time.perf_counter()
    response = engine.client.stream(
        "POST",
        "/images/create",
        {"fromSrc": "-", "repo": "large"},
        (data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)),
    )
    identity = json.loads(list(response.lines())[-1])["status"]
    taken = time.perf_counter() - begun
    response.connection.close()
    engine.client.remove_image(identity, force=True)
    return taken
