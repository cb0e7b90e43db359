"""goraed as a process: how it starts, refuses to, and ends. Each has directories of its own; no container is started."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

PATIENCE = 20.0


class Goraed:
    """One daemon's directories, and the processes started on them."""

    def __init__(self, folder: Path) -> None:
        self.data_root = folder / "data"
        self.exec_root = Path(f"/run/gorae-test-{secrets.token_hex(4)}")
        self.socket = self.exec_root / "docker.sock"
        self.pid_file = self.exec_root / "goraed.pid"
        self.config = folder / "daemon.json"
        self.config.write_text("{}")
        self.folder = folder
        self.prefix: list[str] = []
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *more: str, **roots: Path) -> subprocess.Popen[str]:
        chosen = {"data-root": self.data_root, "exec-root": self.exec_root, "config-file": self.config}
        chosen |= {name.replace("_", "-"): path for name, path in roots.items()}
        words = [word for name, path in chosen.items() for word in (f"--{name}", str(path))]
        words += ["--cgroup-parent", f"/{self.exec_root.name}"]
        command = [*self.prefix, sys.executable, "-I", "-m", "gorae.daemon.main", *words, *more]
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def ready(self, path: Path | None = None) -> float:
        """Waits for the first answer; when it came, on the monotonic clock."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.ping(path or self.socket):
                return time.monotonic()
            assert self.started[-1].poll() is None, self.started[-1].communicate()[1]
            time.sleep(0.002)
        raise AssertionError("no answer")

    def ping(self, path: Path) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(str(path))
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
                return client.recv(1000).startswith(b"HTTP/1.1 200")
            except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
                return False

    def refused(self, *more: str, **roots: Path) -> str:
        """Starts one that must fail with status 1 and one line; the line."""
        process = self.start(*more, **roots)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, said
        assert "Traceback" not in said
        last: str = said.splitlines()[-1]
        assert last.startswith("goraed: ")
        return last


@pytest.fixture
def goraed(tmp_path: Path) -> Iterator[Goraed]:
    running = Goraed(tmp_path)
    yield running
    for process in running.started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=PATIENCE)
    supervisor = running.exec_root / "supervisor.pid"
    if supervisor.exists() and str(running.exec_root) in Path(f"/proc/{supervisor.read_text().strip()}/cmdline").read_text():
        os.kill(int(supervisor.read_text()), signal.SIGKILL)
    subprocess.run(["rm", "-rf", "--one-file-system", str(running.exec_root)], check=True)


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    process.send_signal(number)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_from_start_to_end(goraed: Goraed, number: signal.Signals) -> None:
    process = goraed.start()
    goraed.ready()
    assert goraed.pid_file.read_text() == f"{process.pid}\n"
    mode = goraed.socket.stat()
    assert stat.S_IMODE(mode.st_mode) & 0o117 == 0
    assert mode.st_uid == 0
    assert stat.S_IMODE(goraed.data_root.stat().st_mode) == 0o710
    assert stat.S_IMODE(goraed.exec_root.stat().st_mode) == 0o711
    process.send_signal(signal.SIGHUP)
    assert goraed.ping(goraed.socket)
    said = stop(process, number)
    assert "is ready after" in said
    assert "SIGHUP" in said
    assert not goraed.socket.exists()
    assert not goraed.pid_file.exists()


def test_the_first_answer_comes_soon(goraed: Goraed) -> None:
    """SPECIFICATION: daemon start to first ping ≤ 0.3 s.

    The best of five, ahead of all other processes, since the machine is not ours alone; the first start also makes the data root.
    """
    goraed.prefix = ["chrt", "--rr", "1"]
    times = []
    for _ in range(6):
        begun = time.monotonic()
        process = goraed.start()
        times.append(goraed.ready() - begun)
        stop(process)
    print("start to first ping:", *(f"{value:.3f}" for value in times))
    assert min(times[1:]) <= 0.3


def test_a_second_daemon_is_refused_at_once(goraed: Goraed, tmp_path: Path) -> None:
    process = goraed.start()
    goraed.ready()
    said = goraed.refused()
    assert f"another goraed (pid {process.pid})" in said
    other = Path(f"{goraed.exec_root}-other")
    try:
        assert "another daemon uses the data root" in goraed.refused(exec_root=other)
        assert not (other / "docker.sock").exists()
        said = goraed.refused("--host", f"unix://{goraed.socket}", exec_root=other, data_root=tmp_path / "other")
        assert f"socket {goraed.socket} is in use" in said
        assert not (other / "goraed.pid").exists()
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(other)], check=True)
    assert goraed.ping(goraed.socket)


def test_after_kill_9_the_next_one_starts(goraed: Goraed) -> None:
    process = goraed.start()
    goraed.ready()
    process.kill()
    process.communicate()
    assert goraed.socket.exists()
    process = goraed.start()
    goraed.ready()
    assert goraed.pid_file.read_text() == f"{process.pid}\n"


def test_several_sockets(goraed: Goraed, tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    process = goraed.start(*(word for path in paths for word in ("-H", f"unix://{path}")))
    for path in paths:
        goraed.ready(path)
    assert not goraed.socket.exists()
    stop(process)
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"data-rot": "/x"}, "unknown key 'data-rot'; did you mean 'data-root'?"),
        ({"debug": "yes"}, "`debug`"),
        ({"hosts": ["tcp://0.0.0.0:2375"]}, "--insecure"),
        ({"hosts": ["tcp://x:y"]}, "tcp://ADDRESS:PORT"),
        ({"log-driver": "fluentd"}, "log-driver 'fluentd'"),
        ([], "an object is expected"),
    ],
)
def test_bad_configuration(goraed: Goraed, config: object, words: str) -> None:
    goraed.config.write_text(json.dumps(config))
    assert words in goraed.refused()
    assert not goraed.data_root.exists()


def test_missing_and_broken_configuration(goraed: Goraed, tmp_path: Path) -> None:
    goraed.config.write_text("{")
    assert str(goraed.config) in goraed.refused()
    assert "there is no configuration file" in goraed.refused(config_file=tmp_path / "nowhere")


@pytest.mark.parametrize("options", ["ro", "size=64k,nr_inodes=16"])
def test_a_data_root_that_cannot_be_written(goraed: Goraed, tmp_path: Path, options: str) -> None:
    """Read-only, and full: a refusal in words, and nothing half-made (no socket, no pid file, no supervisor)."""
    mount = tmp_path / "mount"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "gorae-test", str(mount)], check=True)
    try:
        if options != "ro":
            subprocess.run(["dd", "if=/dev/zero", f"of={mount}/ballast"], stderr=subprocess.DEVNULL, check=False)
        said = goraed.refused(data_root=mount / "data")
        assert str(mount) in said
        assert ("read-only" if options == "ro" else "no space left") in said.lower(), said
        assert not goraed.socket.exists()
        assert not goraed.pid_file.exists()
        assert not (goraed.exec_root / "supervisor.pid").exists()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_host_file_that_is_no_socket(goraed: Goraed, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    assert "not a socket" in goraed.refused("-H", f"unix://{tmp_path / 'precious'}")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not goraed.pid_file.exists()


def test_without_a_plugin_that_was_asked_for_nothing_is_served(goraed: Goraed) -> None:
    assert "plugin 'nobody-has-this' not found" in goraed.refused("--authorization-plugin", "nobody-has-this")
    goraed.config.write_text(json.dumps({"authorization-plugins": ["../x"]}))
    assert "letters, digits" in goraed.refused()
    assert not goraed.data_root.exists()
    assert not goraed.socket.exists()


def test_no_descriptor_is_inherited(goraed: Goraed) -> None:
    """What the starter left open is not the daemon's: all but the first three are its own, and close on exec."""
    process = goraed.start()
    goraed.ready()
    flags = {}
    for name in os.listdir(f"/proc/{process.pid}/fd"):
        information = Path(f"/proc/{process.pid}/fdinfo/{name}")
        if int(name) > 2:
            try:
                info = information.read_text()
            except FileNotFoundError:
                continue  # a connection that has ended meanwhile
            flags[name] = int(next(line for line in info.splitlines() if line.startswith("flags:")).split()[1], 8)
    assert flags
    assert all(value & os.O_CLOEXEC for value in flags.values())
