"""An engine without containers: what `gorae.api.engine.Engine` asks, in memory, so that the API's tests need no root.

A program is a coroutine that talks through `Program`: it reads stdin and writes output as the supervisor would (frames, or raw
bytes with a TTY).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from tests.api.fake_files import Files

from gorae.engine.config import Config
from gorae.engine.container import model
from gorae.engine.events import Events
from gorae.engine.image import model as image_model
from gorae.engine.network import model as network_model
from gorae.engine.networks import Joined
from gorae.engine.remote.failure import Refused
from gorae.engine.remote.rules import Credentials
from gorae.engine.system import Info, Version
from gorae.errors import Conflict, CorruptData, Forbidden, InvalidArgument, NotFound, NotModified
from gorae.logs.lines import Block
from gorae.wire import stdcopy

Script = Callable[["Program"], Awaitable[int]]


class Program:
    """The supervisor's and the program's side of an attach socket."""

    def __init__(self, tty: bool) -> None:
        self.tty = tty
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.ours, 65536)

    async def write(self, data: bytes, stream: int = stdcopy.STDOUT) -> None:
        await asyncio.get_running_loop().sock_sendall(self.ours, data if self.tty else stdcopy.frame(stream, data))

    async def run(self, script: Script) -> int:
        try:
            return await script(self)
        except (BrokenPipeError, ConnectionResetError):
            return 141
        finally:
            self.ours.close()


async def cat(program: Program) -> int:
    while data := await program.read():
        await program.write(data)
    return 0


async def hello(program: Program) -> int:
    await program.write(b"out\n")
    await program.write(b"err\n", stdcopy.STDERR)
    return 3


class Waiting:
    def __init__(self, containers: Containers, name: str, condition: str) -> None:
        self._containers = containers
        self._name = name
        self._condition = condition
        self.closed = False

    async def result(self) -> model.WaitResult:
        ended = self._containers.ended[self._name]
        await ended.wait()
        return model.WaitResult(exit_code=self._containers.rows[self._name].state.exit_code)

    def close(self) -> None:
        self.closed = True


class Containers(Files):
    def __init__(self) -> None:
        self.rows: dict[str, model.Container] = {}
        self.ended: dict[str, asyncio.Event] = {}
        self.scripts: dict[str, Script] = {}
        self.script: Script = hello
        self.programs: list[tuple[str, Program]] = []
        self.tasks: set[asyncio.Task[int]] = set()
        self.waits: list[Waiting] = []
        self.equip(self.find)
        self.calls: list[tuple[str, Any]] = []
        self.blocks: list[list[Block]] = []
        self.follow_forever = False
        self.failure: BaseException | None = None
        self.execs: dict[str, model.Exec] = {}
        self.closed_logs = 0
        self.recorded = asyncio.Event()
        self.recorded.set()

    def find(self, reference: str) -> model.Container:
        if self.failure is not None:
            raise self.failure
        name = reference.removeprefix("/")
        for row in self.rows.values():
            if name in (row.name, row.id) or (len(name) >= 4 and row.id.startswith(name)):
                return row
        raise NotFound(f"No such container: {reference}")

    async def create(self, config: model.ContainerConfig, *, name: str = "", platform: str = "") -> model.Created:
        self.calls.append(("create", config))
        if config.image == "missing":
            raise NotFound("No such image: missing:latest")
        name = name or f"container-{len(self.rows)}"
        if len(name) < 2:
            raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        if name in self.rows:
            raise Conflict(f'Conflict. The container name "/{name}" is already in use')
        identity = hashlib.sha256(name.encode()).hexdigest()
        self.rows[name] = model.Container(
            id=identity,
            name=name,
            created_at=1_700_000_000_123_456_789,
            image_id="sha256:" + "a" * 64,
            config=config,
            state=model.State(),
            path=(config.command or ("true",))[0],
            arguments=(config.command or ("true",))[1:],
            command=config.command,
            environment=config.environment,
            hostname=config.hostname or identity[:12],
            labels=config.labels,
            exposed_ports=config.exposed_ports,
        )
        self.ended[name] = asyncio.Event()
        return model.Created(id=identity, warnings=("engine's own",) if config.port_bindings else ())

    def _set(self, row: model.Container, **state: Any) -> None:
        fresh = msgspec.structs.replace(row.state, **state)
        self.rows[row.name] = msgspec.structs.replace(self.rows[row.name], state=fresh)

    async def start(self, reference: str, *, explain: bool = False) -> None:
        row = self.find(reference)
        if row.state.running:
            raise NotModified(f"container {row.name} is already running")
        self.calls.append(("start", explain))
        self._set(row, status="running", pid=42, started_at=time.time_ns())
        task = asyncio.create_task(self._live(row))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _live(self, row: model.Container) -> int:
        programs = [program for name, program in self.programs if name == row.name]
        program = programs[0] if programs else Program(row.config.tty)
        code = await program.run(self.scripts.get(row.name, self.script))
        self._set(row, status="exited", exit_code=code, pid=0, finished_at=time.time_ns())
        self.ended[row.name].set()
        return code

    async def stop(self, reference: str, *, timeout: int | None = None, signal: str = "") -> None:
        row = self.find(reference)
        self.calls.append(("stop", (timeout, signal)))
        if not row.state.running:
            raise NotModified("not running")

    restart = stop

    async def kill(self, reference: str, *, signal: str = "") -> None:
        row = self.find(reference)
        self.calls.append(("kill", signal))
        if not row.state.running:
            raise Conflict(f"cannot kill container: {reference}: container {row.id} is not running")

    async def pause(self, reference: str) -> None:
        self.find(reference)

    unpause = pause

    async def rename(self, reference: str, name: str) -> None:
        row = self.find(reference)
        if name in self.rows:
            raise Conflict("in use")
        self.calls.append(("rename", (row.name, name)))

    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        row = self.find(reference)
        if row.state.running and not force:
            raise Conflict(f"cannot remove container {row.name}: container is running")
        del self.rows[row.name]

    async def resize(self, reference: str, height: int, width: int) -> None:
        self.find(reference)
        self.calls.append(("resize", (height, width)))

    def inspect(self, reference: str) -> model.Container:
        return self.find(reference)

    async def sizes(self, container: model.Container) -> model.Container:
        return msgspec.structs.replace(container, size_rw=1, size_root=2)

    async def list(
        self, *, all: bool = False, limit: int = 0, size: bool = False, filters: Mapping[str, tuple[str, ...]] | None = None
    ) -> Sequence[model.Container]:
        self.calls.append(("list", (all, limit, size, dict(filters or {}))))
        if self.failure is not None:
            raise self.failure
        return [row for row in self.rows.values() if all or row.state.running]

    def wait(self, reference: str, condition: str = "not-running") -> Waiting:
        waiting = Waiting(self, self.find(reference).name, condition)
        self.waits.append(waiting)
        return waiting

    async def attach(self, reference: str, request: model.AttachRequest) -> model.Attachment:
        row = self.find(reference)
        self.calls.append(("attach", request))
        replay = self._batches(False) if request.logs else None
        if not request.stream:
            return model.Attachment(tty=row.config.tty, socket=None, replay=replay)
        program = Program(row.config.tty)
        self.programs.append((row.name, program))
        return model.Attachment(tty=row.config.tty, socket=program.theirs, replay=replay)

    def logs(self, reference: str, request: model.LogRequest) -> AsyncIterator[Sequence[Block]]:
        self.find(reference)
        self.calls.append(("logs", request))
        return self._batches(self.follow_forever)

    async def _batches(self, forever: bool) -> AsyncIterator[Sequence[Block]]:
        try:
            for batch in self.blocks:
                yield batch
            if forever:
                await asyncio.Event().wait()
        finally:
            self.closed_logs += 1

    async def top(self, reference: str) -> Sequence[int]:
        self.find(reference)
        return [os.getpid()]

    def birth(self, reference: str) -> Sequence[Mapping[str, Any]]:
        self.find(reference)
        step = {"arguments": ["/sys/fs/cgroup/x", "", None, {"a": [1, 2]}], "reason": "to count", "nanoseconds": 1000}
        order = (("parent", "mkdir"), ("parent", "clone3"), ("child", "mount"), ("parent", "write"), ("child", "execve"))
        return [{"side": side, "call": call, **step} for side, call in order]

    async def prune(self, filters: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Sequence[str], int]:
        return ["a" * 64], 5

    async def exec_create(self, reference: str, config: model.ExecConfig) -> str:
        row = self.find(reference)
        self.calls.append(("exec_create", config))
        identity = hashlib.sha256(f"exec {len(self.execs)}".encode()).hexdigest()
        self.execs[identity] = model.Exec(id=identity, container=row.id, config=config)
        return identity

    def exec_inspect(self, exec_id: str) -> model.Exec:
        if exec_id not in self.execs:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self.execs[exec_id]

    async def exec_start(
        self, exec_id: str, *, detach: bool = False, tty: bool | None = None, console_size: tuple[int, int] = (0, 0)
    ) -> model.Attachment | None:
        config = self.exec_inspect(exec_id).config
        self.calls.append(("exec_start", (detach, tty, console_size)))
        if self.failure is not None:
            raise self.failure
        if detach:
            return None
        program = Program(config.tty)
        self.execs[exec_id] = msgspec.structs.replace(self.execs[exec_id], running=True)
        task = asyncio.create_task(self._live_exec(exec_id, program))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return model.Attachment(tty=config.tty, socket=program.theirs)

    async def _live_exec(self, exec_id: str, program: Program) -> int:
        """The record follows the end of the output, as it may when a supervisor tells of both."""
        code = await program.run(self.script)
        await self.recorded.wait()
        self.execs[exec_id] = msgspec.structs.replace(self.execs[exec_id], running=False, exit_code=code)
        return code

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        self.exec_inspect(exec_id)
        self.calls.append(("exec_resize", (height, width)))


class Images:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.image = image_model.Image(
            id="sha256:" + "a" * 64,
            repo_tags=("tests/busybox:latest",),
            created=1_700_000_000_000_000_000,
            architecture="amd64",
            config=image_model.ImageConfig(cmd=("sh",), env=("A=b",)),
            size=1234,
            layers=("sha256:" + "b" * 64,),
        )

    def list(self, *, all: bool = False) -> tuple[image_model.ImageSummary, ...]:
        image = self.image
        nameless = image_model.ImageSummary(id="sha256:" + "c" * 64, created=1_600_000_000_000_000_000, size=1, labels={"a": "b"})
        named = image_model.ImageSummary(id=image.id, repo_tags=image.repo_tags, created=image.created or 0, size=image.size)
        return (named, nameless)

    def get(self, reference: str) -> image_model.Image:
        if reference not in (self.image.id, "tests/busybox", "tests/busybox:latest", "busybox:latest"):
            raise NotFound(f"No such image: {reference}")
        return self.image

    def history(self, reference: str) -> tuple[image_model.HistoryItem, ...]:
        self.get(reference)
        return (image_model.HistoryItem(created_by="import"),)

    async def import_(self, stream: AsyncIterator[bytes], **given: Any) -> image_model.Image:
        data = b"".join([part async for part in stream])
        self.calls.append(("import", (len(data), given)))
        if data.startswith(b"garbage"):
            raise CorruptData("not a tar archive")
        return self.image

    async def load(self, stream: AsyncIterator[bytes]) -> AsyncIterator[image_model.Progress | image_model.Loaded]:
        data = b"".join([part async for part in stream])
        if data.startswith(b"garbage"):
            raise CorruptData("neither a docker archive nor an OCI layout")
        yield image_model.Progress(status="Loading layer", id="abc", current=1, total=2)
        if data.startswith(b"half"):
            raise CorruptData("layer abc is cut")
        yield image_model.Loaded(id=self.image.id, name="tests/busybox:latest")

    async def pull(self, name: str, **given: Any) -> AsyncIterator[image_model.Progress | image_model.Pulled]:
        self.calls.append(("pull", (name, given)))
        if "registry.example" not in name or "library/" in name:
            raise InvalidArgument(f"{name} names no registry")
        if "secret" in name:
            raise NotFound(f"pull access denied for {name}")
        yield image_model.Progress(status="Pulling from x", id="latest")
        yield image_model.Progress(status="Downloading", id="abc", current=1, total=2)
        if "half" in name:
            raise CorruptData("layer abc is cut")
        yield image_model.Progress(status="Digest: sha256:d")
        yield image_model.Pulled(id=self.image.id, reference=name, digest="sha256:d", fresh=True)

    async def push(self, name: str, **given: Any) -> AsyncIterator[image_model.Progress | image_model.Pushed]:
        self.calls.append(("push", (name, given)))
        self.get(name)
        yield image_model.Progress(status="Pushed", id="abc")
        yield image_model.Pushed(tag="latest", digest="sha256:d", size=3)

    async def log_in(self, credentials: Credentials) -> None:
        if credentials.password != "word":
            raise Refused(401, "UNAUTHORIZED", "authentication required")

    async def look_up(self, name: str, **given: Any) -> image_model.RemoteImage:
        self.calls.append(("look_up", (name, given)))
        return image_model.RemoteImage(media_type="m/t", digest="sha256:d", size=3, platforms=(("linux", "arm", "v7"),))

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        for name in names:
            yield name.encode()

    async def tag(self, reference: str, repository: str, tag: str = "") -> None:
        self.get(reference)
        self.calls.append(("tag", (repository, tag)))

    async def remove(self, reference: str, *, force: bool = False, prune: bool = True) -> tuple[Any, ...]:
        self.get(reference)
        return (image_model.Untagged(name=reference), image_model.Deleted(id=self.image.id))

    async def prune(self, *, dangling: bool = True, keep: Callable[[image_model.ImageSummary], bool]) -> image_model.Pruned:
        gone = [image for image in self.list() if not keep(image) and (not image.repo_tags or not dangling)]
        return image_model.Pruned(removed=tuple(image_model.Deleted(id=image.id) for image in gone), reclaimed=len(gone))


POOL = network_model.Pool(subnet="172.17.0.0/16", gateway="172.17.0.1")


class Networks:
    """host, none, and what was created."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.known = [
            network_model.Network(id="1" * 64, name="bridge", pools=(POOL,)),
            network_model.Network(id="2" * 64, name="host", driver="host"),
            network_model.Network(id="3" * 64, name="none", driver="null"),
        ]

    def list(self, filters: Any = None) -> list[network_model.Network]:
        wanted = (filters or {}).get("name", ())
        return [network for network in self.known if not wanted or network.name in wanted]

    def inspect(self, reference: str) -> tuple[network_model.Network, dict[str, tuple[str, network_model.Endpoint]]]:
        for network in self.known:
            if reference in (network.name, network.id):
                return network, {END.container: ("one", END)} if network.name == "bridge" else {}
        raise NotFound(f"network {reference} not found")

    def of(self, container: model.Container) -> list[Joined]:
        if container.config.network_mode == "none":
            return [Joined(self.known[2], network_model.Joining(), None)]
        running = container.state.running
        return [Joined(self.known[0], network_model.Joining(aliases=("web",)), END if running else None)]

    async def create(self, wish: network_model.Wish) -> tuple[network_model.Network, tuple[str, ...]]:
        if any(network.name == wish.name for network in self.known):
            raise Conflict(f"network with name {wish.name} already exists")
        self.calls.append(("create", wish))
        network = network_model.Network(id="4" * 64, name=wish.name, driver=wish.driver, pools=wish.pools)
        self.known.append(network)
        return network, ("one thing",)

    async def connect(self, reference: str, container: str, settings: Any = None) -> None:
        self.inspect(reference)
        self.calls.append(("connect", (reference, container, settings)))

    async def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        self.inspect(reference)
        self.calls.append(("disconnect", (reference, container, force)))

    async def remove(self, reference: str) -> None:
        network, _ = self.inspect(reference)
        if network.is_predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        self.known.remove(network)

    async def prune(self, filters: Any = None) -> list[str]:
        return [network.name for network in self.known if not network.is_predefined]


END = network_model.Endpoint(
    id="e" * 64,
    network="1" * 64,
    container="c" * 64,
    link="veth123",
    mac="02:42:ac:11:00:02",
    ipv4="172.17.0.2/16",
    gateway4="172.17.0.1",
    names=("one",),
    ports=(network_model.Port(protocol="tcp", container_port=80, host="0.0.0.0", host_port=8080),),
)


class System:
    def version(self) -> Version:
        return Version(version="1.2.3", python="3.11", kernel="6.1", architecture="amd64", operating_system="linux")

    async def info(self) -> Info:
        """A fact of the right type for every field."""
        samples: dict[str, Any] = {"int": 1, "bool": True, "str": "word", "tuple[str, ...]": ()}
        return Info(**{name: samples[hint] for name, hint in Info.__annotations__.items()})


class FakeEngine:
    def __init__(self) -> None:
        self.config = Config()
        self.containers = Containers()
        self.images = Images()
        self.networks = Networks()
        self.events = Events()
        self.system = System()
