"""A container swaps a directory and a link in a shared volume, as fast as it can, while others start that mount on it, work in it
or make directories below it (CVE-2021-30465, CVE-2019-16884, CVE-2024-45310, CVE-2025-31133 were won this way).

    shared/target   ⇄   shared/other          renameat2(RENAME_EXCHANGE), by the attacker in an endless loop
    a directory         a link to a place of the machine (the canary), by absolute path and by "../../.."
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gorae.client.engine import Engine
from gorae.errors import GoraeError
from tests import census
from tests.containment import inside

SWAP = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
one, other = b"/shared/target", b"/shared/other"
print("ready", flush=True)
while True:
    libc.renameat2(-100, one, -100, other, 2)
"""
KINDS = ("bind", "tmpfs", "workdir", "masked", "exec")


@dataclass
class Result:
    """What became of the tries, and what reached the machine (nothing, one hopes)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    escapes: list[str] = field(default_factory=list)


def prepare(folder: Path) -> tuple[Path, Path, Path]:
    """(shared directory, canary, a directory to bind)"""
    shared, canary, source = folder / "shared", folder / "canary", folder / "source"
    for each in (shared, canary, source, shared / "target"):
        each.mkdir(parents=True)
    (canary / "file").write_text("untouched")
    (source / "mark").write_text("mark")
    (shared / "other").symlink_to("../" * 12 + str(canary).lstrip("/"))
    return shared, canary, source


def attacker(engine: Engine, shared: Path) -> str:
    """The id of the container that swaps; it has begun."""
    identity: str = engine.create(
        {
            "Image": inside.IMAGE,
            "Cmd": [inside.PYTHON, "-I", "-S", "-c", SWAP],
            "HostConfig": {"Binds": ["/usr:/usr:ro", f"{shared}:/shared"], "NetworkMode": "none"},
        }
    )["Id"]
    engine.start(identity)
    return identity


def wish(kind: str, shared: Path, source: Path) -> dict[str, object]:
    """A container that the swap is meant for."""
    binds = [f"{shared}:/shared"]
    host: dict[str, object] = {"NetworkMode": "none"}
    config: dict[str, object] = {"Image": "busybox", "Cmd": ["true"]}
    if kind == "bind":
        binds.append(f"{source}:/shared/target/deeper")
    elif kind == "tmpfs":
        host["Tmpfs"] = {"/shared/target": ""}
    elif kind == "workdir":
        config["WorkingDir"] = "/shared/target/made/here"
    elif kind == "masked":
        host["MaskedPaths"] = ["/proc/keys", "/shared/target", "/shared/target/file"]
        host["ReadonlyPaths"] = ["/proc/sys", "/shared/target"]
    return {**config, "HostConfig": {**host, "Binds": binds}}


def once(engine: Engine, kind: str, shared: Path, source: Path) -> str:
    """One try: "started", or the kind of words it failed with."""
    identity = engine.create(wish(kind, shared, source))["Id"]
    try:
        engine.start(identity)
        engine.wait(identity).read()
        return "started"
    except GoraeError as error:
        return f"refused: {str(error).split(' ')[0]}"
    finally:
        engine.remove(identity, force=True)


def once_exec(engine: Engine, container: str) -> str:
    """The working directory of an exec, in a container that lives on."""
    try:
        identity = engine.exec_create(container, {"Cmd": ["true"], "WorkingDir": "/shared/target", "AttachStdout": True})
        engine.exec_start(identity, tty=False).read()
        return "started"
    except GoraeError as error:
        return f"refused: {str(error).split(' ')[0]}"


def harm(canary: Path, mounts: list[str], folder: Path) -> list[str]:
    found = [str(path) for path in canary.rglob("*") if path.name != "file"]
    if (canary / "file").read_text() != "untouched":
        found.append("the canary's file")
    return found + [line for line in census.mounts() if str(folder) in line and line not in mounts]


def race(engine: Engine, kind: str, folder: Path, tries: int) -> Result:
    """The images `busybox` and `probe` are there."""
    shared, canary, source = prepare(folder)
    before = census.mounts()
    result = Result()
    containers = [attacker(engine, shared)]
    try:
        if kind == "exec":
            victim = engine.create({**wish("exec", shared, source), "Cmd": ["sleep", "100000"]})
            containers.append(victim["Id"])
            engine.start(victim["Id"])
        for number in range(tries):
            result.outcomes[once_exec(engine, containers[-1]) if kind == "exec" else once(engine, kind, shared, source)] += 1
            if number % 50 == 0 or number == tries - 1:
                result.escapes += harm(canary, before, folder)
                if result.escapes:
                    break
    finally:
        for container in containers:
            engine.remove(container, force=True)
    return result
