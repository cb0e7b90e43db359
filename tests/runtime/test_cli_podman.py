"""Debian's podman and conmon drive `gorae-runtime`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorae.linux.mount import MNT_DETACH, mountinfo, umount2
from tests import peers
from tests.runtime import stage
from tests.runtime.cli_driver import wait_for

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

PARENT = f"/gorae-test-podman-{os.getpid()}"
# Without CAP_SYS_RESOURCE, podman's own default limits cannot be set.
LIMITS = ("--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000")
RUN = ("run", "--network", "none", "--cgroup-parent", PARENT, *LIMITS)


class Podman:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        runtime = directory / "gorae-runtime"
        runtime.write_text(f'#!/bin/sh\nexec {sys.executable} -m gorae.runtime.cli.main "$@"\n')
        runtime.chmod(0o755)
        options = f"""
            --root={directory}/root --runroot={directory}/run --tmpdir={directory}/tmp --storage-driver=vfs
            --cgroup-manager=cgroupfs --events-backend=none --runtime={runtime}
        """
        self.command = [peers.need("podman"), *options.split()]

    def __call__(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self.command, *words], input=stdin, capture_output=True, check=False, timeout=120)

    def ok(self, *words: str, stdin: bytes = b"") -> str:
        done = self(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def close(self) -> None:
        self("rm", "--force", "--all", "--time", "0")
        for mount in reversed(mountinfo()):
            if mount.mount_point.startswith(str(self.directory)):
                umount2(mount.mount_point, MNT_DETACH)
        parent = stage.layout().place(PARENT)
        wait_for(lambda: not parent.procs())  # conmon takes a moment to end
        parent.remove()


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    peers.need("podman")
    engine = Podman(tmp_path_factory.mktemp("podman"))
    engine.ok("import", "-", "box", stdin=peers.busybox_tar())
    yield engine
    engine.close()


def test_run(podman: Podman) -> None:
    assert podman.ok(*RUN, "--rm", "--interactive", "box", "cat", stdin=b"hi\n") == "hi\n"
    assert podman(*RUN, "--rm", "box", "sh", "-c", "exit 7").returncode == 7
    missing = podman(*RUN, "--rm", "box", "nope")
    assert missing.returncode == 127
    assert b"executable file not found in $PATH" in missing.stderr


def test_a_container_that_stays(podman: Podman) -> None:
    podman.ok(*RUN, "--detach", "--name", "box", "box", "sleep", "1000")
    assert podman.ok("exec", "--interactive", "box", "cat", stdin=b"hi\n") == "hi\n"
    assert podman("exec", "box", "sh", "-c", "exit 3").returncode == 3
    assert "/dev/pts/" in podman.ok("exec", "--tty", "box", "tty")
    podman.ok("pause", "box")
    assert podman.ok("inspect", "--format", "{{.State.Status}}", "box") == "paused\n"
    podman.ok("unpause", "box")
    assert "sleep 1000" in podman.ok("top", "box")
    podman.ok("kill", "box")
    assert podman.ok("wait", "box") == "137\n"
    podman.ok("rm", "box")
