"""Run a scenario again and again, each time ending the process one step later, and look at what the next start makes of it.

A step is any call into C that may change the disk: SQLite's `execute` and the functions of `os` named below, in whichever thread.
Ending is `os._exit`, so no `finally` runs, as with `kill -9`. Prints {"points": …, "finished": …, "problems": […]}.
"""

# ruff: noqa: ASYNC240 (the test's own files)

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from types import FrameType

from gorae.storage.root import DataRoot
from gorae.storage.snapshot.overlay import UNPACKING

STEPS = {"mkdir", "rename", "unlink", "rmdir", "chmod", "chown", "mknod", "utime", "fsync", "write", "open"}
STEPS |= {"execute", "executemany"}


class Countdown:
    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call" and getattr(argument, "__name__", "") in STEPS:
            with self._lock:
                self._steps -= 1
                if self._steps < 0:
                    os._exit(9)


async def scenario(path: Path, acknowledge: int) -> None:
    def done(what: str) -> None:
        os.write(acknowledge, f"{what}\n".encode())

    root = await DataRoot.open(path)
    lease = await root.leases.take("scenario")
    snapshots = root.snapshots
    blob = await root.content.add(b"blob", lease=lease.id)
    done(f"blob {blob.digest}")
    await lease.promise("snapshot", ["base"])
    await snapshots.prepare(f"{UNPACKING}base")
    Path(snapshots.upper(f"{UNPACKING}base"), "file").write_text("x")
    await snapshots.commit("base", f"{UNPACKING}base")
    done("snapshot base")
    await snapshots.prepare("container", "base")
    done("snapshot container")
    await snapshots.prepare("onhost", await snapshots.host())
    done("snapshot onhost")
    await snapshots.prepare(f"{UNPACKING}other", "base")
    await snapshots.prepare("gone", "base")
    done("removing gone")
    await snapshots.remove("gone")
    done("removed gone")
    done("end")


async def inspect(path: Path, acknowledged: list[str]) -> list[str]:
    problems = []
    async with await DataRoot.open(path) as root:
        root.snapshots.trash.finish()
        infos = root.snapshots.walk()
        keys = {info.key for info in infos}
        numbers = {root.snapshots.upper(key).split("/")[-2] for key in keys}
        entries = set(os.listdir(root.snapshots.directory)) - {"trash"}
        if numbers != entries:
            problems.append(f"rows {sorted(numbers)} but directories {sorted(entries)}")
        problems += [f"{key} was not given up" for key in keys if key.startswith(UNPACKING)]
        if os.listdir(os.path.join(root.snapshots.directory, "trash")):
            problems.append("the trash was not emptied")
        for info in infos:
            if info.kind == "active" and not os.path.isdir(root.snapshots.upper(info.key)):
                problems.append(f"{info.key} has no files")
        for line in acknowledged:
            what, _, key = line.partition(" ")
            if (what == "snapshot" and key not in keys) or (what == "removed" and key in keys):
                problems.append(f"{line} was acknowledged and is not so")
            if what == "blob" and root.content.read(key, 100) != b"blob":
                problems.append("an acknowledged blob is lost")
        blobs = {f"sha256:{name}" for name in os.listdir(os.path.join(root.content.directory, "blobs", "sha256"))}
        if blobs != {info.digest for info in root.content.walk()}:
            problems.append("blobs and their rows differ")
        if os.listdir(os.path.join(root.content.directory, "ingest")):
            problems.append("an ingest was left")
        await root.collect_garbage()
        if root.content.walk():
            problems.append("content that nothing refers to stayed")
        # And it goes on working.
        await root.snapshots.prepare("afterwards", "base" if "base" in {info.key for info in root.snapshots.walk()} else "")
    return problems


def attempt(path: Path, steps: int) -> tuple[bool, list[str]]:
    """One run that ends after `steps`; what was acknowledged before."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        countdown = Countdown(steps)
        threading.setprofile(countdown)
        sys.setprofile(countdown)
        asyncio.run(scenario(path, send))
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as file:
        acknowledged = file.read().splitlines()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 9):
        raise SystemExit(f"the scenario failed by itself after {steps} steps")
    return "end" in acknowledged, acknowledged


def main(directory: Path) -> None:
    problems: list[str] = []
    steps, finished = 0, False
    while not finished:
        path = directory / f"root{steps}"
        finished, acknowledged = attempt(path, steps)
        problems += [f"after {steps} steps: {problem}" for problem in asyncio.run(inspect(path, acknowledged))]
        shutil.rmtree(path, ignore_errors=True)
        steps += 1
    print(json.dumps({"points": steps, "finished": int(finished), "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
