"""An engine that kills itself (-9) at its n-th step: `victim.py DATA_ROOT EXEC_ROOT CGROUP_PARENT N`.

A step is the moment before or after a call that changes something outside this process. What was acknowledged is printed.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gorae.engine.config import Config
from gorae.engine.container.model import ContainerConfig
from gorae.engine.container.premises import Premises
from gorae.engine.engine import Engine
from gorae.storage.db.database import Database
from gorae.storage.snapshot.overlay import OverlaySnapshotter
from gorae.supervisor.client import SupervisorClient

CALLS = (
    (Database, "write"),
    (SupervisorClient, "start"),
    (SupervisorClient, "forget"),
    (OverlaySnapshotter, "prepare"),
    (OverlaySnapshotter, "remove"),
    (Premises, "prepare"),
    (Premises, "clear_runtime"),
    (Premises, "dismantle"),
)


def say(word: str) -> None:
    print(word, flush=True)


class Steps:
    def __init__(self, fatal: int) -> None:
        self.taken = 0
        self.fatal = fatal

    def take(self) -> None:
        self.taken += 1
        if self.taken == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: type, name: str) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(original)
        async def watched(*words: Any, **more: Any) -> Any:
            self.take()
            answer = await original(*words, **more)
            self.take()
            return answer

        setattr(owner, name, watched)


async def main(data_root: str, exec_root: str, cgroup_parent: str, fatal: int) -> None:
    steps = Steps(fatal)
    config = Config(data_root=Path(data_root), exec_root=Path(exec_root), cgroup_parent=cgroup_parent)
    async with await Engine.open(config) as engine:
        for owner, name in CALLS:
            steps.watch(owner, name)
        wish = ContainerConfig(image="host", command=("sh", "-c", "echo said; exit 3"), network_mode="none")
        created = await engine.containers.create(wish, name="victim")
        say("created")
        waiting = engine.containers.wait(created.id, "next-exit")
        await engine.containers.start(created.id)
        say("started")
        await waiting.result()
        say("ended")
        await engine.containers.stop(created.id) if engine.containers.inspect(created.id).state.running else None
        await engine.containers.remove(created.id)
        say("removed")
        taken = steps.taken
    say(f"steps {taken}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
