"""Images that are traps: a link, a FIFO or a device at every path that the engine or the runtime touches.

Each start ends within a moment, in success or in words; nothing of the machine changes; `inspect`, `ps` and `rm` do not care.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containment import inside
from tests.containment.traps import DIRECTORIES, FILES, image, trap
from tests.running import Daemon
from tests.storage.tars import member

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

SECOND = 1.0
START = 5.0  # with the stock CLI's own time, on a busy machine
# What cannot be done without, or would deceive: refused, in words.
REFUSED = {
    **{(kind, name): f"/{name}" for kind in ("link", "link up") for name in ("proc", "sys", "dev")},
    **{(kind, name): "unable to find user" for kind in ("link", "link up") for name in ("etc", "etc/passwd")},
    **{
        (kind, name): f"/{name}"
        for kind in ("fifo", "device")
        for name in ("dev", "proc", "sys", "etc", "work", "bound", "t", "etc/passwd", "etc/group")
    },
}


def start(daemon: Daemon, name: str, data: bytes, *flags: str) -> subprocess.CompletedProcess[bytes]:
    configured = ("--change", "WORKDIR /work", "--change", "VOLUME /vol")
    daemon.docker("import", *configured, "-", "hostile", input=data)
    began = time.monotonic()
    done = daemon.docker("run", "--name", name, *inside.USR, *flags, "hostile", "echo", "fine", check=False, timeout=30)
    assert time.monotonic() - began < START
    return done


@pytest.fixture(autouse=True)
def no_image_stays(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.docker("rmi", "-f", "hostile", check=False)


def housekeeping(daemon: Daemon, name: str) -> None:
    """None of these touches the container's files, so none is slower or fails for them."""
    for deed in (
        lambda: daemon.engine.inspect(name),
        lambda: daemon.engine.containers({"all": True}),
        lambda: daemon.engine.remove(name, force=True),
    ):
        began = time.monotonic()
        deed()
        assert time.monotonic() - began < SECOND


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for kind in ("link", "fifo", "device") for name in (*DIRECTORIES, *FILES)),
        *(("link up", name) for name in ("dev", "proc", "sys", "work", "bound", "dev/null", "etc/passwd")),
    ],
)
def test_a_trap_at_every_path(daemon: Daemon, canary: Path, kind: str, name: str) -> None:
    """CVE-2019-19921, CVE-2021-30465, CVE-2023-27561, CVE-2024-5154, CVE-2025-31133, CVE-2025-52565, CVE-2026-41579, their kin."""
    flags = ("-u", "user", "-t", "-v", "/var/tmp:/bound:ro", "--tmpfs", "/t")
    done = start(daemon, "trapped", image(trap(kind, name, canary)), *flags)
    housekeeping(daemon, "trapped")
    if (kind, name) in REFUSED:
        assert done.returncode in (125, 126, 127), done
        assert b"unexpected" not in done.stderr
        assert REFUSED[kind, name].encode() in done.stderr, done.stderr
    else:
        assert done.stdout.strip() == b"fine", done


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
def test_a_line_of_forty_megabytes(daemon: Daemon, name: str) -> None:
    """CVE-2026-47262. dockerd took 25 s over it."""
    done = start(daemon, "long", image(member(name, b"root:x:0:0:" + b"x" * (40 << 20), mode=0o644)), "-u", "user")
    housekeeping(daemon, "long")
    assert done.returncode == 125
    assert b"/" + name.encode() in done.stderr


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_an_exec_into_a_container_that_has_changed_its_files(daemon: Daemon, canary: Path, kind: str) -> None:
    """What was harmless at birth need not be at exec."""
    container = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.decode().strip()
    change = f"ln -sf {canary}/file /etc/passwd" if kind == "link" else "rm /etc/passwd; busybox mkfifo /etc/passwd"
    daemon.docker("exec", container, "sh", "-c", change)
    began = time.monotonic()
    done = daemon.docker("exec", "-u", "user", container, "true", check=False)
    assert time.monotonic() - began < START
    assert done.returncode != 0
    housekeeping(daemon, container)


def test_its_own_null_device_stays_the_machines(daemon: Daemon) -> None:
    """Masked files and an empty standard input are the machine's /dev/null: a container's root must not be able to change it."""
    script = "; ".join(f"touch -c -d @1 {path}; chmod 0666 {path}; chown 0 {path}" for path in ("/proc/keys", "/proc/self/fd/0"))
    before = Path("/dev/null").stat()
    container = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.decode().strip()
    run = daemon.docker("run", "--rm", "busybox", "sh", "-c", f"{script}; true").stderr
    second = daemon.docker("exec", container, "sh", "-c", f"{script}; true").stderr
    daemon.docker("rm", "-f", container)
    after = Path("/dev/null").stat()
    assert (after.st_ctime_ns, after.st_mode, after.st_uid) == (before.st_ctime_ns, before.st_mode, before.st_uid)
    assert run.count(b"Read-only file system") == second.count(b"Read-only file system") == 6
