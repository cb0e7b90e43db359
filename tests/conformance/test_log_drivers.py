"""Log drivers through the docker CLI: what others find on disk and on sockets, and what `docker logs` still tells."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from tests.running import DOCKER, Daemon, until

pytestmark = [pytest.mark.kernel, pytest.mark.peer]


def start(daemon: Daemon, *words: str) -> str:
    return daemon.docker("run", "-d", "--network", "none", *words).stdout.decode().strip()


def test_json_file(daemon: Daemon) -> None:
    words = ("--log-driver", "json-file", "--log-opt", "labels=app", "--label", "app=web")
    identity = start(daemon, *words, "busybox", "sh", "-c", "echo out; echo err >&2")
    daemon.docker("wait", identity)
    try:
        path = Path(daemon.docker("inspect", "-f", "{{.LogPath}}", identity).stdout.decode().strip())
        assert path.name == f"{identity}-json.log"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        told = sorted((line["stream"], line["log"], line["attrs"]["app"]) for line in lines)
        assert told == [("stderr", "err\n", "web"), ("stdout", "out\n", "web")]
        assert daemon.docker("logs", identity).stdout == b"out\n"
        assert daemon.docker("inspect", "-f", "{{.HostConfig.LogConfig.Type}}", identity).stdout == b"json-file\n"
    finally:
        daemon.docker("rm", "-f", identity)


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_follow_survives_rotation(daemon: Daemon, driver: str) -> None:
    options = ("--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=3")
    script = "read go; i=0; while test $i -lt 3000; do echo line $i; i=$((i+1)); done; echo done"
    identity = start(daemon, "-i", *options, "busybox", "sh", "-c", script)
    try:
        follower = subprocess.Popen([DOCKER, "logs", "-f", identity], env=daemon.environment, stdout=subprocess.PIPE)
        daemon.docker("attach", identity, input=b"go\n")
        output, _ = follower.communicate(timeout=60)
        lines = output.decode().splitlines()
        assert lines[-1] == "done"
        assert lines[0] == "line 0"
        assert lines == [f"line {number}" for number in range(3000)] + ["done"]
        directory = daemon.data_root / "containers" / identity
        name = f"{identity}-json.log" if driver == "json-file" else "output.log"
        rotated = sorted(path.name for path in directory.glob(f"{name}*"))
        assert rotated[:2] == [name, f"{name}.1"]
        assert len(rotated) <= 3
    finally:
        daemon.docker("rm", "-f", identity)


def test_syslog(daemon: Daemon, tmp_path: Path) -> None:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "log"))
    receiver.settimeout(20)
    options = ("--log-driver", "syslog", "--log-opt", f"syslog-address=unixgram://{tmp_path}/log", "--log-opt", "tag={{.Name}}")
    identity = start(daemon, "--name", "sayer", *options, "busybox", "echo", "to syslog")
    try:
        message = receiver.recv(4096)
        assert b" sayer[" in message
        assert message.endswith(b"to syslog")
        until(lambda: daemon.docker("logs", identity).stdout == b"to syslog\n", "docker logs tells it too")
    finally:
        daemon.docker("rm", "-f", identity)
        receiver.close()


def test_drivers_that_cannot_be(daemon: Daemon) -> None:
    done = daemon.docker("run", "--log-driver", "syslog", "busybox", "true", check=False)
    assert done.returncode == 125 or os.path.exists("/dev/log")
    done = daemon.docker("run", "--log-driver", "journald", "busybox", "true", check=False)
    assert b"journald is not enabled on this host" in done.stderr or os.path.exists("/run/systemd/journal/socket")
    done = daemon.docker("run", "--log-driver", "fluentd", "busybox", "true", check=False)
    assert b"no log driver named 'fluentd' is registered" in done.stderr


def test_none(daemon: Daemon) -> None:
    identity = start(daemon, "--log-driver", "none", "busybox", "echo", "hidden")
    daemon.docker("wait", identity)
    assert b"does not support reading" in daemon.docker("logs", identity, check=False).stderr
    daemon.docker("rm", identity)
