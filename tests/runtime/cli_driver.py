"""Drives `gorae-runtime` as an engine does: one process a command, its own root, its own cgroup parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runtime import stage

COMMAND = [sys.executable, "-m", "gorae.runtime.cli.main"]


class Runtime:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "state"
        self.log = directory / "log.json"
        self.parent = f"/gorae-test-{os.getpid()}"
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        stage.make_rootfs(self.bundle / "rootfs")

    def write(self, *args: str, change: Callable[[dict[str, Any]], None] | None = None, **process: Any) -> None:
        """The bundle's config.json; `change` edits it before it is written."""
        document = stage.config("rootfs", *args, **process)
        document["linux"]["cgroupsPath"] = f"{self.parent}/{self.directory.name}"
        if change is not None:
            change(document)
        (self.bundle / "config.json").write_text(json.dumps(document))

    def words(self, *words: str) -> list[str]:
        return [*COMMAND, "--root", str(self.root), "--log", str(self.log), "--log-format", "json", *words]

    def __call__(self, *words: str, stdin: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(*words), input=stdin, capture_output=True, text=True, check=False, timeout=60, **options)

    def ok(self, *words: str, stdin: str = "") -> str:
        done = self(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *words: str) -> str:
        """The message, which must stand on stderr and at the end of the log alike."""
        done = self(*words)
        assert done.returncode == (255 if words[0] == "exec" else 1), done
        message = done.stderr.strip().splitlines()[-1]
        last = json.loads(self.log.read_text().splitlines()[-1])
        assert last["level"] == "error"
        assert last["msg"].splitlines()[-1] == message
        return message

    def create(self, identifier: str, *options: str) -> int:
        """A created container, without pipes of ours that it would keep open; its pid."""
        assert self.silently("create", "--bundle", str(self.bundle), *options, identifier) == 0, self.log.read_text()
        return int(self.state(identifier)["pid"])

    def silently(self, *words: str) -> int:
        """The exit status; what it starts may live on, so it gets no pipe of which we would wait for the end."""
        null = subprocess.DEVNULL
        return subprocess.run(self.words(*words), stdin=null, stdout=null, stderr=null, check=False, timeout=60).returncode

    def state(self, identifier: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.ok("state", identifier))
        return state

    def status(self, identifier: str) -> str:
        return str(self.state(identifier)["status"])

    def until(self, identifier: str, status: str) -> None:
        wait_for(lambda: self.status(identifier) == status)

    def cgroup_directories(self) -> list[str]:
        places = stage.layout().place(f"{self.parent}/{self.directory.name}").paths().values()
        return [directory for directory in places if os.path.isdir(directory)]

    def left(self) -> list[str]:
        """What should not be there once all containers are deleted."""
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.directory) in line]
        return [*os.listdir(self.root), *self.cgroup_directories(), *mounts]

    def clean_up(self) -> None:
        if self.root.exists():
            for identifier in os.listdir(self.root):
                self("delete", "--force", identifier)
        stage.layout().place(f"{self.parent}/{self.directory.name}").remove()
        stage.layout().place(self.parent).remove()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
