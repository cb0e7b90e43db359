"""What is under way when a process dies: a scenario prepares, does one thing, and keeps a ledger of what was acknowledged.

    prepare ── the place to die at is named ── act ── (somebody dies) ── ledger.check: what was acknowledged holds
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from gorae.client.engine import Engine
from gorae.errors import GoraeError
from gorae.supervisor.client import SupervisorClient
from tests.reliability.serving import Shelf
from tests.running import Daemon, until

NONE = {"NetworkMode": "none"}
SLEEP = ("sleep", "1000")
SETTLED = ("exited", "created")


@dataclass
class Ledger:
    """Promises: each is a name and a question that must become true after the restart, and stay so."""

    promises: list[tuple[str, Callable[[], bool]]] = field(default_factory=list)

    def promise(self, what: str, holds: Callable[[], bool]) -> None:
        self.promises.append((what, holds))

    def check(self) -> None:
        for what, holds in self.promises:
            until(holds, f"acknowledged, but not so: {what}", 10)


class Stage:
    """A daemon with an image `busybox`, and how scenarios talk to it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.ledger = Ledger()

    @property
    def engine(self) -> Engine:
        return self.daemon.engine

    def create(self, name: str, *command: str, **config: Any) -> None:
        host = NONE | config.pop("HostConfig", {})
        self.engine.create({"Image": "busybox", "Cmd": list(command), "HostConfig": host, **config}, name)

    def run(self, name: str, *command: str, **config: Any) -> None:
        self.create(name, *command, **config)
        self.engine.start(name)

    def state(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.engine.inspect(name)["State"]
        except GoraeError:
            return {"Status": "gone", "ExitCode": None}
        return found

    def has(self, name: str) -> bool:
        return self.state(name)["Status"] != "gone"

    def ended(self, name: str, code: int) -> bool:
        state = self.state(name)
        return (state["Status"], state["ExitCode"]) == ("exited", code)

    def image(self, name: str) -> str:
        try:
            return str(self.engine.image(name)["Id"])
        except GoraeError:
            return ""

    def wait_for_end(self, name: str) -> int:
        """Its exit code; OSError when the daemon dies meanwhile."""
        response = self.engine.wait(name)
        with closing(response.connection):
            answer = response.read()
        if not answer.strip():
            raise ConnectionError("the answer was cut")
        return int(json.loads(answer)["StatusCode"])

    def import_image(self, name: str, marker: str) -> None:
        query = {"fromSrc": "-", "repo": name, "tag": "latest"}
        response = self.engine.stream("POST", "/images/create", query, [small_tar(marker)])
        with closing(response.connection):
            answer = response.read()
        if b"sha256:" not in answer:
            raise GoraeError(answer.decode())


def small_tar(marker: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(marker)
        info.size = len(marker)
        tar.addfile(info, io.BytesIO(marker.encode()))
    return buffer.getvalue()


class Scenario:
    def prepare(self, stage: Stage) -> None:
        """Before the place is named."""

    def act(self, stage: Stage) -> None:
        """Dies somewhere in here, with a GoraeError or an OSError for us."""
        raise NotImplementedError


class Create(Scenario):
    def act(self, stage: Stage) -> None:
        stage.create("made", *SLEEP)
        stage.ledger.promise("it was created", lambda: stage.has("made"))


class Start(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.create("sleeper", *SLEEP)

    def act(self, stage: Stage) -> None:
        stage.engine.start("sleeper")
        pid = stage.state("sleeper")["Pid"]
        stage.ledger.promise("it runs", lambda: stage.state("sleeper")["Pid"] == pid and os.path.exists(f"/proc/{pid}"))


class Stillborn(Scenario):
    """A command that is not there."""

    def prepare(self, stage: Stage) -> None:
        stage.create("stillborn", "/nonsense")

    def act(self, stage: Stage) -> None:
        stage.ledger.promise("it is not born", lambda: stage.state("stillborn")["Status"] == "created")
        stage.engine.start("stillborn")


class Exit(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.create("short", "sh", "-c", "exit 7")

    def act(self, stage: Stage) -> None:
        stage.engine.start("short")
        stage.ledger.promise("it ended with 7", lambda: stage.ended("short", 7))
        assert stage.wait_for_end("short") == 7
        stage.engine.ping()


class AutoRemove(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.create("vanishing", "sh", "-c", "exit 7", HostConfig={"AutoRemove": True})

    def act(self, stage: Stage) -> None:
        stage.engine.start("vanishing")
        stage.ledger.promise("it is gone", lambda: not stage.has("vanishing"))
        assert stage.wait_for_end("vanishing") == 7
        until(lambda: not stage.has("vanishing"), "its removal")


class Stop(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.run("stopped", *SLEEP, StopSignal="SIGKILL", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})

    def act(self, stage: Stage) -> None:
        stage.engine.act("stopped", "stop")
        stage.ledger.promise("it stays down", lambda: stage.ended("stopped", 137))


class Restart(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.run("again", *SLEEP, StopSignal="SIGKILL")

    def act(self, stage: Stage) -> None:
        stage.engine.act("again", "restart")
        stage.ledger.promise("it runs", lambda: stage.state("again")["Status"] == "running")


class Pause(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.run("cold", *SLEEP)

    def act(self, stage: Stage) -> None:
        stage.engine.act("cold", "pause")
        stage.ledger.promise("it is paused", lambda: stage.state("cold")["Status"] == "paused")


class Unpause(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.run("thawing", *SLEEP)
        stage.engine.act("thawing", "pause")

    def act(self, stage: Stage) -> None:
        stage.engine.act("thawing", "unpause")
        stage.ledger.promise("it runs", lambda: stage.state("thawing")["Status"] == "running")


class Rename(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.create("before", *SLEEP)

    def act(self, stage: Stage) -> None:
        stage.engine.act("before", "rename", name="after")
        stage.ledger.promise("its name is new", lambda: stage.has("after") and not stage.has("before"))


class Update(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.create("limited", *SLEEP)

    def act(self, stage: Stage) -> None:
        stage.engine.call("POST", "/containers/limited/update", body={"Memory": 64 << 20, "MemorySwap": 64 << 20})
        stage.ledger.promise("its limit is new", lambda: self._memory(stage) == 64 << 20)

    def _memory(self, stage: Stage) -> int:
        limit: int = stage.engine.inspect("limited")["HostConfig"]["Memory"]
        return limit


class Remove(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.create("unwanted", *SLEEP)

    def act(self, stage: Stage) -> None:
        stage.engine.remove("unwanted")
        stage.ledger.promise("it is gone", lambda: not stage.has("unwanted"))
        until(lambda: not stage.daemon.left_behind(0), "its directories go", 2)


class CrashLoop(Scenario):
    """Ends by itself after two restarts."""

    def prepare(self, stage: Stage) -> None:
        stage.create("looping", "sh", "-c", "exit 3", HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})

    def act(self, stage: Stage) -> None:
        stage.engine.start("looping")
        stage.ledger.promise("it gives up after two restarts", lambda: self._gave_up(stage))
        assert stage.wait_for_end("looping") == 3
        until(lambda: self._gave_up(stage), "the last restart", 5)

    def _gave_up(self, stage: Stage) -> bool:
        return stage.ended("looping", 3) and stage.engine.inspect("looping")["RestartCount"] == 2


class Settle(Scenario):
    """`stop` during a back-off."""

    def prepare(self, stage: Stage) -> None:
        stage.create("restless", "sh", "-c", "exit 3", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
        stage.engine.start("restless")
        until(lambda: stage.state("restless")["Status"] == "restarting" and stage.engine.inspect("restless")["RestartCount"] >= 1,
              "a longer back-off")  # fmt: skip

    def act(self, stage: Stage) -> None:
        stage.engine.act("restless", "stop")
        stage.ledger.promise("it stays down", lambda: stage.state("restless")["Status"] == "exited" or not stage.daemon.process)


class Exec(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.run("host-of-exec", *SLEEP)

    def act(self, stage: Stage) -> None:
        pid = stage.state("host-of-exec")["Pid"]
        stage.ledger.promise("the container runs on", lambda: stage.state("host-of-exec")["Pid"] == pid)
        identity = stage.engine.exec_create("host-of-exec", {"Cmd": ["true"]})
        stage.engine.exec_detach(identity)
        until(lambda: not stage.engine.exec_inspect(identity)["Running"], "its end", 3)
        stage.engine.exec_detach(stage.engine.exec_create("host-of-exec", {"Cmd": ["true"]}))


class Logs(Scenario):
    """Enough output for several rotations. Its end is there, and before it only what a dying supervisor had in its hand is missing:
    one chunk.
    """

    TEXT = "".join(f"{number}\n" for number in range(1, 60001)).encode()
    CHUNK = 64 << 10

    def prepare(self, stage: Stage) -> None:
        options = {"Type": "local", "Config": {"max-size": "64k", "max-file": "3"}}
        stage.create("talker", "seq", "1", "60000", HostConfig={"LogConfig": options})

    def act(self, stage: Stage) -> None:
        stage.engine.start("talker")
        stage.ledger.promise("its last lines are there", lambda: self._whole(stage))
        stage.wait_for_end("talker")

    def _whole(self, stage: Stage) -> bool:
        if not stage.ended("talker", 0):
            return False
        found = stage.daemon.docker("logs", "talker").stdout
        common = len(os.path.commonprefix([found[::-1], self.TEXT[::-1]]))  # noqa: RUF071
        before = found[: len(found) - common]
        end = self.TEXT.find(before) + len(before) if before else len(self.TEXT) - common
        return common > 1000 and before in self.TEXT and len(self.TEXT) - common - end <= self.CHUNK


class Import(Scenario):
    def act(self, stage: Stage) -> None:
        stage.import_image("imported", "of-import")
        stage.ledger.promise("the image is there", lambda: bool(stage.image("imported")))


class Load(Scenario):
    """An archive that `save` made, of an image that was removed since."""

    def prepare(self, stage: Stage) -> None:
        stage.import_image("loaded", "of-load")
        self.archive = stage.daemon.docker("save", "loaded").stdout
        stage.engine.remove_image("loaded")

    def act(self, stage: Stage) -> None:
        stage.daemon.docker("load", input=self.archive, check=False)
        stage.engine.ping()
        if stage.image("loaded"):
            stage.ledger.promise("the image is there", lambda: bool(stage.image("loaded")))


class Pull(Scenario):
    def act(self, stage: Stage) -> None:
        with Shelf() as shelf:
            answer = stage.engine.stream("POST", "/images/create", {"fromImage": shelf.name, "tag": "v1"})
            answer.read()
            answer.connection.close()
        stage.engine.ping()
        stage.ledger.promise("the image is there", lambda: bool(stage.image(f"{shelf.name}:v1")))


class Tag(Scenario):
    def act(self, stage: Stage) -> None:
        stage.engine.tag("busybox", "other", "name")
        stage.ledger.promise("the name is there", lambda: stage.image("other:name") == stage.image("busybox"))


class Untag(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.engine.tag("busybox", "second", "name")

    def act(self, stage: Stage) -> None:
        stage.engine.remove_image("second:name")
        stage.ledger.promise("the name is gone", lambda: not stage.image("second:name") and bool(stage.image("busybox")))


class RemoveImage(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.import_image("surplus", "of-removal")

    def act(self, stage: Stage) -> None:
        stage.engine.remove_image("surplus")
        stage.ledger.promise("it is gone", lambda: not stage.image("surplus"))


class Adopt(Scenario):
    """The supervisor dies, and the next one dies at taking over."""

    def prepare(self, stage: Stage) -> None:
        stage.run("orphan", "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); usleep 2000; done")
        self.pid = stage.state("orphan")["Pid"]
        self.supervisor = stage.daemon.supervisor_pid()

    def act(self, stage: Stage) -> None:
        os.kill(self.supervisor, signal.SIGKILL)
        stage.ledger.promise("it runs on", lambda: stage.state("orphan")["Pid"] == self.pid and os.path.exists(f"/proc/{self.pid}"))
        until(lambda: stage.daemon.supervisor_pid() not in (0, self.supervisor), "another supervisor")


class Upgrade(Scenario):
    def prepare(self, stage: Stage) -> None:
        stage.run("upgraded", *SLEEP)
        self.pid = stage.state("upgraded")["Pid"]

    def act(self, stage: Stage) -> None:
        stage.ledger.promise("it runs on", lambda: stage.state("upgraded")["Pid"] == self.pid)
        asyncio.run(self._upgrade(stage))

    async def _upgrade(self, stage: Stage) -> None:
        client = await SupervisorClient.connect(str(stage.daemon.exec_root / "supervisor" / "supervisor.sock"))
        try:
            await client.upgrade()
        finally:
            await client.aclose()


EVERYTHING_WRITTEN = (
    Create, Start, Exit, AutoRemove, Stop, Restart, Pause, Unpause, Rename, Update, Remove, CrashLoop, Settle,
    Import, Load, Tag, Untag, RemoveImage,
)  # fmt: skip

# Which scenarios reach a place, by the beginning of its name; the longest that fits counts.
REACHED_BY: dict[str, tuple[type[Scenario], ...]] = {
    "container.create.": (Create,),
    "container.start.": (Start, Restart, AutoRemove),
    "container.exit.": (Exit, Stop),
    "container.exit.before-runtime-directory": (Exit, AutoRemove, Remove),
    "container.exit.after-runtime-directory": (Exit, AutoRemove, Remove),
    "container.stop.": (Stop, Restart),
    "container.restart.": (Restart,),
    "container.created.": (Stillborn,),
    "container.running.": (Start, Restart, Stop, Unpause),
    "container.paused.": (Pause,),
    "container.restarting.": (CrashLoop,),
    "container.exited.": (Exit, Stop, CrashLoop, Settle),
    "container.rename.": (Rename,),
    "container.update.": (Update,),
    "container.remove.": (Remove, AutoRemove),
    "exec.": (Exec,),
    "image.add.": (Import, Load),
    "image.tag.": (Tag,),
    "image.untag.": (Untag,),
    "image.remove.": (RemoveImage,),
    "layer.unpack.": (Import, Load),
    "layer.import.": (Import,),
    "layer.load.": (Load,),
    "layer.pull.": (Pull,),
    "garbage.": (RemoveImage,),
    "content.ingest.": (Import, Load),
    "content.commit.": (Import, Load),
    "content.remove.": (RemoveImage,),
    "lease.": (Import,),
    "database.": EVERYTHING_WRITTEN,
    "snapshot.prepare.": (Create, Import),
    "snapshot.commit.": (Import, Load),
    "snapshot.remove.": (Remove,),
    "trash.": (Remove, RemoveImage),
    "supervisor.start.": (Start,),
    "supervisor.birth.": (Start, Exec, AutoRemove),
    "supervisor.exit.": (Exit, Stop, AutoRemove),
    "supervisor.forget.before": (Exit,),
    "supervisor.forget.after": (Exit, Exec),
    "supervisor.adopt.": (Adopt,),
    "supervisor.upgrade.": (Upgrade,),
    "log.rotate.": (Logs,),
}


def that_reach(point: str) -> tuple[type[Scenario], ...]:
    fitting = [beginning for beginning in REACHED_BY if point.startswith(beginning)]
    return REACHED_BY[max(fitting, key=len)] if fitting else ()
