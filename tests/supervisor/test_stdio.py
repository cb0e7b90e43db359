"""Pumps: what the program writes reaches the log and every socket, what sockets bring reaches the program."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys

import pytest
from tests.supervisor.house import House, Peer, eventually, exec_exit_of, exit_of, frames, run

from gorae.errors import Conflict, InvalidArgument, NotFound
from gorae.logs.reader import Reader
from gorae.supervisor.client import SupervisorClient
from gorae.supervisor.protocol import Streams

ALL = Streams(True, True, True)
OUTPUT = Streams(False, True, True)


def logged(house: House, container: str, stream: int | None = None) -> bytes:
    blocks = []
    with Reader(f"{house.root}/{container}/log") as reader:
        while not reader.finished:
            blocks += reader.read_available()
    return b"".join(block.data for block in blocks if stream in (None, block.stream))


async def subscribed(house: House) -> SupervisorClient:
    client = await house.client()
    await client.subscribe()
    return client


async def test_echo_and_half_close(house: House) -> None:
    client = await subscribed(house)
    peer = Peer()
    request = house.request("a", "/bin/sh", "-c", "cat; echo error >&2; exit 3", stdin=True, stdin_once=True, attach=(ALL,))
    started = await run(client, request, (peer,))
    await peer.write(b"hello\n")
    peer.half_close()
    assert frames(await peer.read_all()) == {1: b"hello\n", 2: b"error\n"}
    assert (await exit_of(client, "a")).code == 3
    assert logged(house, "a", 1) == b"hello\n"
    assert logged(house, "a", 2) == b"error\n"
    assert started.stdin is None, "a duplicate of it would keep the program from seeing the end"
    started.close()


async def test_without_stdin_the_program_sees_the_end_at_once(house: House) -> None:
    client = await subscribed(house)
    (await run(client, house.request("a", "/bin/cat"))).close()
    assert (await exit_of(client, "a")).code == 0


async def test_stdin_stays_open_between_writers(house: House) -> None:
    client = await subscribed(house)
    (await run(client, house.request("a", "/bin/cat", stdin=True))).close()
    for word in (b"one\n", b"two\n"):
        peer = Peer()
        await client.attach("a", peer.number, ALL)
        peer.given()
        await peer.write(word)
        peer.half_close()
        await peer.read_until(word)
        peer.close()
    await client.signal("a", signal.SIGTERM)
    assert (await exit_of(client, "a")).code == 128 + signal.SIGTERM
    assert logged(house, "a") == b"one\ntwo\n"


async def test_input_larger_than_any_buffer(house: House) -> None:
    client = await subscribed(house)
    peer = Peer()
    request = house.request("a", "/usr/bin/sha256sum", stdin=True, stdin_once=True, attach=(ALL,))
    (await run(client, request, (peer,))).close()
    data = os.urandom(1 << 20) * 20
    await peer.write(data)
    peer.half_close()
    assert frames(await peer.read_all())[1].split()[0] == hashlib.sha256(data).hexdigest().encode()


async def test_a_program_that_closes_its_stdin_holds_nobody_up(house: House) -> None:
    client = await subscribed(house)
    peer = Peer()
    request = house.request("a", "/bin/sh", "-c", "exec 0<&-; echo closed; exec sleep 1000", stdin=True, attach=(ALL,))
    (await run(client, request, (peer,))).close()
    await peer.read_until(b"closed\n")
    async with asyncio.timeout(20):
        await peer.write(bytes(8 << 20))
    await client.signal("a", signal.SIGKILL)
    assert (await exit_of(client, "a")).code == 137


async def test_a_terminal(house: House) -> None:
    client = await subscribed(house)
    peer = Peer()
    script = "echo ready; read line; echo got $line; stty size; read line; exit 4"
    request = house.request("a", "/bin/sh", "-c", script, tty=True, stdin=True, attach=(ALL,))
    started = await run(client, request, (peer,))
    assert started.pty is not None
    await client.resize("a", 40, 132)
    await peer.read_until(b"ready\n")
    await peer.write(b"hi\n")
    assert b"got hi" in await peer.read_until(b"40 132")
    await peer.write(b"\n")
    await peer.read_all()
    assert (await exit_of(client, "a")).code == 4
    assert logged(house, "a") == peer.buffer
    started.close()


async def test_resize_without_a_terminal_is_a_conflict(house: House) -> None:
    client = await subscribed(house)
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    with pytest.raises(Conflict, match="no terminal"):
        await client.resize("a", 1, 1)


async def test_a_thousand_attaches_leave_nothing(house: House) -> None:
    client = await subscribed(house)
    peer = Peer()
    (await run(client, house.request("a", "/bin/cat", stdin=True, attach=(ALL,)), (peer,))).close()
    await peer.write(b"first\n")
    await peer.read_until(b"first\n")
    base, mine = house.descriptors(), len(os.listdir("/proc/self/fd"))
    for number in range(1000):
        other = Peer()
        await client.attach("a", other.number, ALL)
        other.given()
        if number % 50 == 0:
            await other.write(b"%d\n" % number)
            await other.read_until(b"%d\n" % number)
        other.close()
    await eventually(lambda: house.descriptors() == base)
    assert len(os.listdir("/proc/self/fd")) == mine
    await peer.write(b"last\n")
    await peer.read_until(b"last\n")
    peer.close()


async def test_a_slow_peer_blocks_the_program_and_loses_nothing(house: House) -> None:
    client = await subscribed(house)
    slow, quick = Peer(), Peer()
    size = 12 << 20
    script = f"head -c {size} /dev/zero | tr '\\0' x; echo end"
    request = house.request("a", "/bin/sh", "-c", script, attach=(OUTPUT, OUTPUT), max_size=100_000_000)
    (await run(client, request, (slow, quick))).close()
    # The quick one gets what one pipe, one socket and 1 MiB hold; then the program waits for the slow one.
    try:
        while True:
            quick.buffer += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(quick.mine, 1 << 20), 1)
    except TimeoutError:
        pass
    assert 1 << 20 < len(quick.buffer) < 4 << 20
    assert (await client.list())[0].state == "running"
    both = await asyncio.gather(slow.read_all(), quick.read_all())
    for data in both:
        output = frames(data)[1]
        assert len(output) == size + 4
        assert output == b"x" * size + b"end\n"
    assert (await exit_of(client, "a")).code == 0
    assert logged(house, "a") == b"x" * size + b"end\n"


async def test_a_peer_that_leaves_lets_the_program_go_on(house: House) -> None:
    client = await subscribed(house)
    slow = Peer()
    (await run(client, house.request("a", "/bin/sh", "-c", "head -c 5000000 /dev/zero", attach=(OUTPUT,)), (slow,))).close()
    await slow.read_some()
    slow.close()
    assert (await exit_of(client, "a")).code == 0
    assert len(logged(house, "a")) == 5_000_000


async def test_one_line_of_64_megabytes(house: House) -> None:
    client = await subscribed(house)
    peer = Peer()
    size = 64 << 20
    request = house.request("a", "/bin/sh", "-c", f"head -c {size} /dev/zero | tr '\\0' y", attach=(OUTPUT,), max_size=200_000_000)
    (await run(client, request, (peer,))).close()
    count = 0
    while data := await peer.read_some():
        count += data.count(b"y")
    assert count == size
    assert (await exit_of(client, "a")).code == 0
    peak = house.peak()
    assert peak < 48 << 10, f"{peak} KiB at most"
    with Reader(f"{house.root}/a/log") as reader:
        total = 0
        while not reader.finished:
            total += sum(len(block.data) for block in reader.read_available())
    assert total == size


async def test_the_client_is_killed_while_a_container_writes(house: House) -> None:
    script = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from gorae.supervisor.client import SupervisorClient
from gorae.supervisor.protocol import Context, Log, StartRequest
async def main():
    client = await SupervisorClient.connect({house.socket!r})
    await client.subscribe()
    request = StartRequest("a", {house.root + "/a"!r}, {{"process": {{"args": ["/usr/bin/seq", "600000"]}}}},
                           Context(), log=Log("local", {house.log("a")!r}))
    await client.start(request)
    print("running", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"running\n"
    process.kill()
    await process.wait()
    client = await house.client()
    living = {row.container: row for row in await client.subscribe()}
    if living["a"].state != "exited":
        assert (await exit_of(client, "a")).code == 0
    assert logged(house, "a") == b"".join(b"%d\n" % number for number in range(1, 600001))
    assert await client.list() != ()


async def test_log_position_joins_history_and_stream(house: House) -> None:
    client = await subscribed(house)
    (await run(client, house.request("a", "/usr/bin/seq", "300000", max_size=100_000_000))).close()
    peer = Peer()
    try:
        position = await client.attach("a", peer.number, OUTPUT)
    except NotFound:
        pytest.skip("the program was quicker than the test")
    peer.given()
    assert position is not None
    live = frames(await peer.read_all())[1]
    past = b""
    with Reader(f"{house.root}/a/log", end=(position.generation, position.offset)) as reader:
        while not reader.finished:
            past += b"".join(block.data for block in reader.read_available())
    assert past + live == b"".join(b"%d\n" % number for number in range(1, 300001))


async def test_streams_are_chosen(house: House) -> None:
    client = await subscribed(house)
    out, err = Peer(), Peer()
    each = (Streams(False, True, False), Streams(False, False, True))
    request = house.request("a", "/bin/sh", "-c", "echo o; echo e >&2", attach=each)
    (await run(client, request, (out, err))).close()
    assert frames(await out.read_all()) == {1: b"o\n", 2: b""}
    assert frames(await err.read_all()) == {1: b"", 2: b"e\n"}


async def test_exec(house: House) -> None:
    client = await subscribed(house)
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    peer = Peer()
    script = "cat; echo error >&2; exit 5"
    request = house.exec_request("a", "e1", "/bin/sh", "-c", script, stdin=True, stdin_once=True, attach=(ALL,))
    started = await client.exec(request, [peer.number])
    peer.given()
    with pytest.raises(Conflict):
        await client.exec(house.exec_request("a", "e1", "/bin/true"))
    await peer.write(b"to exec\n")
    peer.half_close()
    assert frames(await peer.read_all()) == {1: b"to exec\n", 2: b"error\n"}
    assert (await exec_exit_of(client, "e1")).code == 5
    row = (await client.list())[0].execs[0]
    assert (row.exec, row.pid, row.state) == ("e1", started.pid, "exited")
    await client.forget("a", "e1")
    assert (await client.list())[0].execs == ()
    with pytest.raises(NotFound):
        await client.exec(house.exec_request("b", "e1", "/bin/true"))


async def test_exec_in_a_dead_container(house: House) -> None:
    client = await subscribed(house)
    (await run(client, house.request("a", "/bin/true"))).close()
    await exit_of(client, "a")
    with pytest.raises(NotFound, match="not running"):
        await client.exec(house.exec_request("a", "e1", "/bin/true"))
    with pytest.raises(InvalidArgument, match="sockets"):
        await client.start(house.request("b", "/bin/true", attach=(ALL,)))
