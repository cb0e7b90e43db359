"""The engines that are compared: ours and dockerd, each with directories of its own, started and stopped here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import census, peers
from tests.running import DOCKER, Daemon

from gorae.client.endpoint import Endpoint
from gorae.client.engine import Engine
from gorae.errors import Unavailable

PATIENCE = 30.0


class Gorae:
    """goraed under measurement."""

    name = "gorae"

    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon(folder)
        self.client = self.daemon.engine
        self.starts: list[float] = []

    def start(self) -> None:
        self.starts.append(self.daemon.start())
        self.daemon.before = self.daemon.count()

    def restart(self) -> None:
        self.daemon.stop()
        self.starts.append(self.daemon.start())

    def close(self) -> None:
        self.daemon.__exit__(None, None, None)

    @property
    def environment(self) -> dict[str, str]:
        return self.daemon.environment

    def processes(self) -> list[int]:
        assert self.daemon.process
        return [self.daemon.process.pid, self.daemon.supervisor_pid()]


class Dockerd:
    """Debian's dockerd with its containerd, on the same disk, without a bridge and without rules in the host's firewall."""

    name = "dockerd"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = Path(tempfile.mkdtemp(prefix="dockerd-", dir="/run"))
        self.client = Engine(Endpoint(socket_path=str(self.run / "docker.sock")))
        self.starts: list[float] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [
            "/usr/sbin/dockerd",
            "--data-root",
            str(self.folder / "docker"),
            "--exec-root",
            str(self.run / "exec"),
            "--pidfile",
            str(self.run / "pid"),
            "--host",
            f"unix://{self.run}/docker.sock",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--config-file",
            str(self.folder / "dockerd.json"),
        ]
        (self.folder / "dockerd.json").write_text("{}")
        begun = time.monotonic()
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        while time.monotonic() < begun + PATIENCE:
            try:
                self.client.ping(timeout=PATIENCE)
                self.starts.append(time.monotonic() - begun)
                return
            except Unavailable:
                self.client.close()
                time.sleep(0.005)
        raise RuntimeError(f"dockerd did not start: {(self.folder / 'dockerd.log').read_text()[-2000:]}")

    def restart(self) -> None:
        self._stop()
        self.start()

    def close(self) -> None:
        for container in self.client.containers({"all": True}):
            self.client.remove(container["Id"], force=True)
        self._stop()
        for line in reversed(census.mounts()):
            target = line.split()[4]
            if target.startswith((str(self.run), str(self.folder))):
                subprocess.run(["umount", "-l", target], check=False)
        shutil.rmtree(self.run, ignore_errors=True)

    def _stop(self) -> None:
        self.client.close()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    @property
    def environment(self) -> dict[str, str]:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        return {**plain, "DOCKER_HOST": f"unix://{self.run}/docker.sock", "DOCKER_CONFIG": str(self.folder / "docker-config")}

    def processes(self) -> list[int]:
        """dockerd, its containerd and every shim: whatever carries our directory in its command line."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    command = Path(f"/proc/{entry}/cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.run).encode() in command and int(entry) != os.getpid():
                    found.append(int(entry))
        return found


Contender = Gorae | Dockerd


def docker(engine: Contender, *words: str, input: bytes | None = None) -> None:
    """The stock CLI against an engine; raises when it fails."""
    done = subprocess.run(
        [DOCKER, *words], env=engine.environment, input=input or b"", capture_output=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{engine.name}: docker {' '.join(words)}: {done.stderr.decode()}")


def contenders(folder: Path) -> list[Contender]:
    """Ours, and dockerd where it can be had; both with the image `busybox`."""
    engines: list[Contender] = [Gorae(folder_of(folder, "gorae"))]
    if peers.installed("dockerd", "docker.io") and os.path.exists("/usr/sbin/dockerd"):
        engines.append(Dockerd(folder_of(folder, "dockerd")))
    else:
        print("dockerd is not here: only our own figures", file=sys.stderr)
    for engine in engines:
        engine.start()
        docker(engine, "import", "--change", 'CMD ["sh"]', "-", "busybox", input=peers.busybox_tar())
    return engines


def folder_of(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
