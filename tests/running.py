"""A goraed of the test's own: its directories, cgroup parent and socket are nobody else's, and nothing of it stays.

with Daemon(tmp_path) as daemon:
    daemon.docker("run", "--rm", "busybox", "true")
    daemon.gorae("ps")
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from gorae.client.endpoint import Endpoint
from gorae.client.engine import Engine
from gorae.errors import GoraeError, Unavailable
from gorae.netlink import link, nftables
from gorae.netlink.conversation import NETLINK_NETFILTER, NETLINK_ROUTE, Conversation
from tests import census, peers

PATIENCE = 20.0
PAUSE = 0.005
DOCKER = next((path for path in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(path)), "docker")


class Daemon:
    """Started by `start` or by entering it. `kill` is kill -9; `stop` is SIGTERM, containers run on; leaving removes all."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any] | None = None,
        variables: dict[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "gorae.daemon.main"),
    ) -> None:
        # Unix socket paths are short: /run/… rather than pytest's deep folders.
        self.folder = folder
        self.data_root = folder / "data"
        self.exec_root = Path(f"/run/gorae-test-{secrets.token_hex(4)}")
        self.cgroup_parent = f"/{self.exec_root.name}"
        self.socket = self.exec_root / "docker.sock"
        self.log = folder / "goraed.log"
        self.bridge = f"gt{secrets.token_hex(4)}"
        self.settings = folder / "daemon.json"
        self.settings.write_text(json.dumps(self.network_settings() | (settings or {})))
        self.program = program
        self.variables = {**os.environ, **(variables or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.engine = Engine(Endpoint(socket_path=str(self.socket)))
        self.before = census.Census()

    def network_settings(self) -> dict[str, Any]:
        """A default bridge and subnets of its own, so that daemons side by side do not meet."""
        block = secrets.randbelow(250)
        return {
            "bridge": self.bridge,
            "bip": f"10.{190 + block // 50}.{block % 50 * 5}.1/24",
            "default-address-pools": [{"base": f"10.{190 + block // 50}.{block % 50 * 5 + 1}.0/24", "size": 27}],
        }

    # Its life.

    def __enter__(self) -> Daemon:
        self.start()
        self.before = self.count()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.remove_everything()
            self.stop()
        finally:
            self.sweep()
        if kind is None:
            left = self.left_behind()
            assert not left, f"left behind: {left}\n{self.log.read_text()[-4000:]}"
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.exec_root)], check=False)

    def start(self) -> float:
        """Starts it and waits for its first answer; seconds from start to ping."""
        arguments = [
            sys.executable,
            "-I",
            *self.program,
            "--data-root",
            str(self.data_root),
            "--exec-root",
            str(self.exec_root),
        ]
        arguments += ["--cgroup-parent", self.cgroup_parent, "--config-file", str(self.settings), "--host", f"unix://{self.socket}"]
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments, env=self.variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.engine.close()
        while time.monotonic() < begun + PATIENCE:
            try:
                self.engine.ping(timeout=PATIENCE)
                return time.monotonic() - begun
            except Unavailable:
                self.engine.close()
            if self.process.poll() is not None:
                break
            time.sleep(PAUSE)
        raise AssertionError(f"goraed did not start ({self.process.poll()}): {self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and its end."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        self.engine.close()
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    # Talking to it.

    @property
    def environment(self) -> dict[str, str]:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        return {**plain, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.folder / "docker-config")}

    def docker(
        self, *words: str, input: bytes | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """The stock docker CLI."""
        return self._client([peers.need(DOCKER, "docker.io"), *words], input, check, timeout)

    def gorae(
        self, *words: str, input: bytes | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Our own CLI."""
        return self._client([sys.executable, "-I", "-m", "gorae.cli.main", *words], input, check, timeout)

    def _client(self, command: list[str], input: bytes | None, check: bool, timeout: float) -> subprocess.CompletedProcess[bytes]:
        given = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=timeout, check=False, **given)  # type: ignore[call-overload]
        if check:
            assert done.returncode == 0, (
                f"{command}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}\n{self.log.read_text()[-4000:]}"
            )
        result: subprocess.CompletedProcess[bytes] = done
        return result

    def import_busybox(self, name: str = "busybox") -> None:
        self.docker("import", "--change", 'CMD ["sh"]', "-", name, input=peers.busybox_tar())
        self.docker("run", "--rm", name, "true")  # what is opened once, for the first network, is open from here on

    def supervisor_pid(self) -> int:
        """Its process id; 0 while it is being replaced."""
        try:
            return int((self.exec_root / "supervisor" / "supervisor.pid").read_text() or 0)
        except FileNotFoundError:
            return 0

    # Its end.

    def count(self) -> census.Census:
        pids = (self.process.pid if self.process is not None else 0, self.supervisor_pid())
        return census.take(self.data_root, self.exec_root, self.cgroup_parent, pids, self.bridge)

    def left_behind(self, patience: float = 2.0) -> list[str]:
        """What there is now and was not before, once what is on its way out has gone (at most `patience` seconds)."""
        deadline = time.monotonic() + patience
        while (found := self.before.differences(self.count())) and time.monotonic() < deadline:
            time.sleep(PAUSE * 4)
        return found

    def remove_everything(self, but: tuple[str, ...] = ()) -> None:
        """All containers, and the images that tests made, `but` some names."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        for container in self.engine.containers({"all": True}):
            try:
                self.engine.remove(container["Id"], force=True, volumes=True)
            except GoraeError as error:
                print(f"cannot remove {container['Id']}: {error}", file=sys.stderr)
        for image in self.engine.images({}):
            for name in image["RepoTags"] or [image["Id"]]:
                if not name.startswith("host") and name not in but:
                    self.engine.remove_image(name, force=True)

    def sweep(self) -> None:
        """Whatever lives on after a failed test: the supervisor by its pid file, containers by their cgroups."""
        pids = {pid for directory in census.cgroup_directories(self.cgroup_parent) for pid in census.members(directory)}
        pid_file = self.exec_root / "supervisor" / "supervisor.pid"
        if pid_file.exists():
            pids |= {int(pid_file.read_text())} & {
                pid for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()) if self._ours(pid)
            }
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._sweep_network()

    def _sweep_network(self) -> None:
        """What a daemon that was killed could not take away: its bridge and its rules."""
        with Conversation(NETLINK_ROUTE) as route:
            route.try_all(link.delete(self.bridge))
        with Conversation(NETLINK_NETFILTER) as netfilter:
            messages = [each for family in ("inet", "bridge") for each in nftables.remove(family, f"gorae-{self.bridge}")]
            netfilter.batch(nftables.BEGIN_BATCH, messages, nftables.END_BATCH)

    def _ours(self, pid: int) -> bool:
        try:
            return str(self.exec_root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False


def until(condition: Any, what: str, seconds: float = PATIENCE) -> Any:
    """Polls a condition (bounded); its first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(PAUSE)
    raise AssertionError(f"not within {seconds} s: {what}")
