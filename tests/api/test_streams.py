"""Hijacked connections and logs."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket

import pytest
from tests.api.conftest import Client, eventually, frames
from tests.api.fake_engine import Program, cat

from gorae.errors import CommandNotFound, Conflict, Unavailable
from gorae.logs.lines import Block
from gorae.wire import stdcopy

ATTACH = "/containers/one/attach?stream=1&stdin=1&stdout=1&stderr=1"


async def test_run_without_stdin(api: Client) -> None:
    """attach, wait, start: what `docker run` does."""
    await api.create()
    head, reader, writer = await api.hijack("/containers/one/attach?stream=1&stdout=1&stderr=1")
    assert head.status == 101
    assert head.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert (head.headers["connection"], head.headers["upgrade"]) == ("Upgrade", "tcp")
    assert head.headers["api-version"] == "1.56"
    writer.write_eof()  # the stock client half-closes at once when it has no stdin to send
    assert (await api.call("POST", "/containers/one/start")).status == 204
    assert frames(await asyncio.wait_for(reader.read(), 10)) == [(1, b"out\n"), (2, b"err\n")]
    writer.close()


@pytest.mark.parametrize(
    ("prefix", "tty", "upgrade", "kind"),
    [
        ("/v1.41", False, True, "raw"),
        ("/v1.42", False, True, "multiplexed"),
        ("/v1.42", True, True, "raw"),
        ("/v1.42", False, False, "raw"),
    ],
)
async def test_media_types(api: Client, prefix: str, tty: bool, upgrade: bool, kind: str) -> None:
    await api.create(Tty=tty)
    head, _, writer = await api.hijack(prefix + ATTACH, upgrade=upgrade)
    assert head.status == (101 if upgrade else 200)
    assert head.headers["content-type"] == f"application/vnd.docker.{kind}-stream"
    writer.close()


async def test_end_of_stdin_reaches_the_program(api: Client) -> None:
    await api.create(OpenStdin=True)
    api.engine.containers.script = cat
    _, reader, writer = await api.hijack(ATTACH)
    await api.call("POST", "/containers/one/start")
    writer.write(b"hi\n")
    writer.write_eof()
    assert frames(await asyncio.wait_for(reader.read(), 10)) == [(1, b"hi\n")]
    writer.close()


async def test_stdin_is_dropped_when_not_attached(api: Client) -> None:
    await api.create(OpenStdin=True)
    seen = bytearray()

    async def listen(program: Program) -> int:
        await program.write(b"ready")
        read = asyncio.ensure_future(program.read())
        done, _ = await asyncio.wait({read}, timeout=0.05)
        seen.extend(read.result() if done else b"nothing")
        read.cancel()
        return 0

    api.engine.containers.script = listen
    _, reader, writer = await api.hijack("/containers/one/attach?stream=1&stdout=1")
    writer.write(b"unwanted")
    await api.call("POST", "/containers/one/start")
    await asyncio.wait_for(reader.read(), 10)
    assert seen == b"nothing"
    writer.close()


async def test_back_pressure_both_ways(api: Client) -> None:
    """64 MiB through `cat` with a client that reads late: nothing is lost, and the daemon holds little of it."""
    await api.create(OpenStdin=True, Tty=True)
    sent = 0
    blocked = asyncio.Event()

    async def flood(program: Program) -> int:
        nonlocal sent
        for _ in range(1024):
            write = asyncio.ensure_future(program.write(b"x" * 65536))
            if not (await asyncio.wait({write}, timeout=0.5))[0]:
                blocked.set()
            await write
            sent += 65536
        return 0

    api.engine.containers.script = flood
    reader, writer = await asyncio.open_unix_connection(str(api.path), limit=65536)
    writer.write(api.head("POST", ATTACH, {"Connection": "Upgrade", "Upgrade": "tcp"}))
    await reader.readuntil(b"\r\n\r\n")
    await api.call("POST", "/containers/one/start")
    await asyncio.wait_for(blocked.wait(), 20)
    assert sent < 4 << 20
    received = 0
    while data := await asyncio.wait_for(reader.read(1 << 20), 20):
        received += len(data)
    assert received == 64 << 20
    writer.close()


async def test_detach_keys(api: Client) -> None:
    await api.create(OpenStdin=True, Tty=True)
    api.engine.containers.script = cat
    _, reader, writer = await api.hijack(ATTACH)
    await api.call("POST", "/containers/one/start")
    writer.write(b"a\x10b")
    assert await asyncio.wait_for(reader.readexactly(3), 10) == b"a\x10b"
    writer.write(b"\x10\x11")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_custom_detach_keys_and_nonsense(api: Client) -> None:
    await api.create(OpenStdin=True, Tty=True)
    api.engine.containers.script = cat
    answer = await api.call("POST", ATTACH + "&detachKeys=ctrl-1")
    assert answer.status == 400
    assert "detach keys" in answer.message
    _, reader, writer = await api.hijack(ATTACH + "&detachKeys=x")
    await api.call("POST", "/containers/one/start")
    writer.write(b"x")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_attach_replays_logs_first(api: Client) -> None:
    await api.create()
    api.engine.containers.blocks = [[Block(1, 5, b"old 1\nold 2\n", False)], [Block(2, 6, b"old 3\n", False)]]
    _, reader, writer = await api.hijack("/containers/one/attach?stream=1&logs=1&stdout=1&stderr=1")
    await api.call("POST", "/containers/one/start")
    old = [(1, b"old 1\n"), (1, b"old 2\n"), (2, b"old 3\n")]
    assert frames(await asyncio.wait_for(reader.read(), 10)) == [*old, (1, b"out\n"), (2, b"err\n")]
    writer.close()
    _, reader, writer = await api.hijack("/containers/one/attach?logs=1&stdout=1")
    assert frames(await asyncio.wait_for(reader.read(), 10)) == old
    writer.close()


@pytest.mark.parametrize("half_closed", [False, True])
async def test_the_end_of_a_client_is_noticed(api: Client, half_closed: bool) -> None:
    """Also after it has half-closed, when there is nothing left to be read from it."""
    await api.create(OpenStdin=True)
    _, _reader, writer = await api.hijack(ATTACH)
    program = api.engine.containers.programs[0][1]
    if half_closed:
        writer.write_eof()
        assert await asyncio.wait_for(program.read(), 10) == b""
    writer.close()
    await asyncio.wait_for(writer.wait_closed(), 10)

    def gone() -> bool:
        try:
            return program.ours.send(b"x") == 0
        except BrokenPipeError:
            return True
        except BlockingIOError:
            return False

    await eventually(gone, "the engine's side is closed")


async def test_nothing_leaks(api: Client) -> None:
    await api.create(OpenStdin=True)
    api.engine.containers.script = cat

    async def cycle(number: int) -> None:
        head, _, writer = await api.hijack(ATTACH)
        assert head.status == 101
        if number % 2:
            writer.write_eof()
        writer.close()
        for _, program in api.engine.containers.programs:
            program.ours.close()
        api.engine.containers.programs.clear()

    await cycle(0)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    tasks = len(asyncio.all_tasks())
    for number in range(100):
        await cycle(number)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "no descriptor is left")


async def test_attach_errors_are_statuses(api: Client) -> None:
    head, _, writer = await api.hijack("/containers/nowhere/attach?stream=1")
    assert head.status == 404
    writer.close()
    reader, writer = await api.open()
    writer.write(api.head("POST", "/containers/nowhere/attach?stream=1", {"Connection": "Upgrade", "Upgrade": "tcp"}))
    first = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b" 404 " in first
    length = int(first.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    await reader.readexactly(length)
    writer.write(api.head("GET", "/_ping", {}))  # the connection is as good as before
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()


async def test_exec(api: Client) -> None:
    await api.create()
    created = await api.call(
        "POST", "/containers/one/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True, "Env": ["A=b"]}
    )
    assert created.status == 201
    identity = created.json["Id"]
    api.engine.containers.script = cat
    head, reader, writer = await api.hijack(f"/exec/{identity}/start", {"Detach": False, "Tty": False})
    assert head.status == 101
    writer.write(b"hi")
    writer.write_eof()
    assert frames(await asyncio.wait_for(reader.read(), 10)) == [(1, b"hi")]
    writer.close()
    shown = (await api.call("GET", f"/exec/{identity}/json")).json
    assert shown["ProcessConfig"] == {"tty": False, "entrypoint": "cat", "arguments": [], "privileged": False, "user": ""}
    assert (await api.call("POST", f"/exec/{identity}/resize?h=1&w=2")).status == 200
    detached = await api.call("POST", f"/exec/{identity}/start", {"Detach": True})
    assert (detached.status, detached.body) == (200, b"")


async def test_the_exit_code_is_there_when_the_stream_ends(api: Client) -> None:
    await api.create()
    identity = (await api.call("POST", "/containers/one/exec", {"Cmd": ["x"], "AttachStdout": True})).json["Id"]
    api.engine.containers.recorded.clear()
    _, reader, writer = await api.hijack(f"/exec/{identity}/start", {})
    assert await asyncio.wait_for(reader.readexactly(24), 10) == stdcopy.frame(1, b"out\n") + stdcopy.frame(2, b"err\n")
    end = asyncio.ensure_future(reader.read())
    assert not (await asyncio.wait({end}, timeout=0.05))[0]
    api.engine.containers.recorded.set()
    assert await asyncio.wait_for(end, 10) == b""
    assert (await api.call("GET", f"/exec/{identity}/json")).json["ExitCode"] == 3
    writer.close()


async def test_the_head_travels_alone(api: Client) -> None:
    """docker-py loses what arrives together with it, so output waits until a slow client has read it."""
    await api.create()
    identity = (await api.call("POST", "/containers/one/exec", {"Cmd": ["x"], "AttachStdout": True})).json["Id"]
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(str(api.path))
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json", "Content-Length": "2"}
        client.send(api.head("POST", f"/exec/{identity}/start", headers) + b"{}")
        await eventually(lambda: api.engine.containers.execs[identity].exit_code == 3, "the program has written and ended")
        for _ in range(20):
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        first = await loop.sock_recv(client, 65536)
        assert first.startswith(b"HTTP/1.1 101")
        assert first.endswith(b"\r\n\r\n")
        received = b""
        while data := await asyncio.wait_for(loop.sock_recv(client, 65536), 10):
            received += data
        assert frames(received) == [(1, b"out\n"), (2, b"err\n")]


async def test_no_http_in_a_raw_stream(api: Client) -> None:
    """A failure after the head: the connection ends, and no second response lies in the stream."""
    await api.create()

    class Broken(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            raise RuntimeError("disk")

    api.engine.containers.blocks = [Broken()]
    _, reader, writer = await api.hijack("/containers/one/attach?stream=1&logs=1&stdout=1")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_exec_errors(api: Client) -> None:
    await api.create()
    assert (await api.call("POST", "/containers/one/exec", {"Cmd": []})).message == "no exec command specified"
    assert (await api.call("POST", "/containers/one/exec", {"Cmd": ["a"], "DetachKeys": "ctrl-1"})).status == 400
    assert (await api.call("POST", "/containers/no/exec", {"Cmd": ["a"]})).status == 404
    assert (await api.call("POST", "/exec/no/start", {})).message == "No such exec instance: no"
    assert (await api.call("GET", "/exec/no/json")).status == 404
    identity = (await api.call("POST", "/containers/one/exec", {"Cmd": ["nope"]})).json["Id"]
    assert (await api.call("POST", f"/exec/{identity}/start", {"ConsoleSize": [1]})).status == 400
    for failure, status in ((Conflict("container is paused"), 409), (Unavailable("away"), 503)):
        api.engine.containers.failure = failure
        assert (await api.call("POST", f"/exec/{identity}/start", {})).status == status
    api.engine.containers.failure = CommandNotFound('exec: "nope"')
    head, reader, writer = await api.hijack(f"/exec/{identity}/start", {})
    assert head.status == 101
    assert frames(await asyncio.wait_for(reader.read(), 10)) == [(1, b'exec: "nope": executable file not found\r\n')]
    writer.close()


async def test_closing_the_server_ends_streams(api: Client) -> None:
    """Within its patience, whatever clients hold open."""
    from gorae.api.app import Api

    server = Api(api.engine)  # type: ignore[arg-type]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = api.path.with_name("other")
    listener.bind(str(path))
    await server.serve(listener)
    other = Client(path, api.engine)
    await other.create("two")
    _, reader, writer = await other.hijack("/containers/two/attach?stream=1&stdout=1")
    events, events_writer = await other.open()
    events_writer.write(other.head("GET", "/events", {}))
    await events.readuntil(b"\r\n\r\n")
    await asyncio.wait_for(server.aclose(5.0), 4)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert await asyncio.wait_for(events.read(), 10) == b""
    assert api.engine.events.listeners == 0
    writer.close()
    events_writer.close()


async def test_json_of_a_create_from_docker_py(api: Client) -> None:
    """docker-py sends its content with a length and application/json, and null for everything that was not given."""
    body = {"Image": "image", "Cmd": None, "Env": None, "ExposedPorts": None, "HostConfig": {"Binds": None}, "Volumes": None}
    answer = await api.call("POST", "/v1.41/containers/create", json.dumps(body).encode(), Content_Type="application/json")
    assert answer.status == 201
