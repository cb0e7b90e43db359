"""A supervisor is killed; the next one takes over what lived, with the duplicates that the engine kept."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from tests.supervisor.house import House, Peer, eventually, exit_of, frames, run
from tests.supervisor.test_stdio import ALL, logged

from gorae.errors import Conflict, InvalidArgument, NotFound, Unavailable
from gorae.supervisor.protocol import Context


async def test_containers_are_adopted_with_their_streams_and_exit_codes(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    requests = {
        "cat": house.request("cat", "/bin/cat", stdin=True),
        "exits": house.request("exits", "/bin/sh", "-c", "read x; echo read $x; exit 42", stdin=True),
        "killed": house.request("killed", "/bin/sleep", "1000"),
        "tty": house.request("tty", "/bin/sh", "-c", "read x; echo got $x; exit 5", tty=True, stdin=True),
        "gone": house.request("gone", "/bin/sh", "-c", "read x; exit 17", stdin=True),
    }
    started = {name: await run(client, request) for name, request in requests.items()}
    for each in started.values():
        house.orphan(each.pid)
    house.kill()
    with pytest.raises(Unavailable):
        await client.list()
    # One dies while nobody looks.
    stdin = started["gone"].stdin
    assert stdin is not None
    os.write(stdin, b"\n")
    house.begin()
    client = await house.client()
    assert await client.subscribe() == ()
    for name, each in started.items():
        row = await client.adopt(each, requests[name])
        assert (row.container, row.pid, row.started_at) == (name, each.pid, each.started_at)
    with pytest.raises(Conflict):
        await client.adopt(started["cat"], requests["cat"])
    for each in started.values():
        each.close()
    assert (await exit_of(client, "gone")).code == 17
    peer = Peer()
    await client.attach("cat", peer.number, ALL)
    peer.given()
    await peer.write(b"hello again\n")
    await peer.read_until(b"hello again\n")
    for name in ("exits", "tty"):
        writer = Peer()
        await client.attach(name, writer.number, ALL)
        writer.given()
        await writer.write(b"word\n")
        data = await writer.read_all()
        assert b"got word" in data if name == "tty" else frames(data)[1] == b"read word\n"
    await client.signal("killed", signal.SIGKILL)
    codes = {}
    async for event in client.events():
        codes[event.container] = event.exit.code  # type: ignore[union-attr]
        if len(codes) == 3:
            break
    assert codes == {"exits": 42, "tty": 5, "killed": 137}
    assert logged(house, "cat") == b"hello again\n"
    assert logged(house, "exits") == b"read word\n"
    assert '"code": 42' in house.record("exits")


async def test_what_was_written_in_the_gap_is_logged(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    request = house.request("a", "/bin/sh", "-c", "while read x; do echo $x; done", stdin=True)
    started = await run(client, request)
    house.orphan(started.pid)
    assert started.stdin is not None
    os.write(started.stdin, b"before\n")
    await eventually(lambda: logged(house, "a") == b"before\n")
    house.kill()
    os.write(started.stdin, b"between\n")
    house.begin()
    client = await house.client()
    await client.subscribe()
    await client.adopt(started, request)
    os.write(started.stdin, b"after\n")
    await eventually(lambda: logged(house, "a") == b"before\nbetween\nafter\n")
    started.close()


async def test_a_new_engine_gets_duplicates(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    request = house.request("a", "/bin/sh", "-c", "read x; exit 3", stdin=True)
    first = await run(client, request)
    first.close()
    second = await client.duplicates("a")
    house.orphan(second.pid)
    assert (second.pid, second.started_at, second.handle) == (first.pid, first.started_at, first.handle)
    assert None not in (second.stdin, second.stdout, second.stderr)
    house.kill()
    house.begin()
    client = await house.client()
    await client.subscribe()
    await client.adopt(second, request)
    assert second.stdin is not None
    os.write(second.stdin, b"\n")
    assert (await exit_of(client, "a")).code == 3
    second.close()


async def test_an_adopted_container_survives_an_upgrade(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    request = house.request("a", "/bin/sh", "-c", "read x; exit 33", stdin=True)
    started = await run(client, request)
    house.orphan(started.pid)
    house.kill()
    house.begin()
    client = await house.client()
    await client.subscribe()
    await client.adopt(started, request)
    await client.upgrade([*house.argv])
    assert started.stdin is not None
    os.write(started.stdin, b"\n")
    assert (await exit_of(client, "a")).code == 33
    started.close()


async def test_what_cannot_be_adopted(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    request = house.request("a", "/bin/sleep", "1000")
    started = await run(client, request)
    base = house.descriptors()
    other = house.request("b", "/bin/sleep", "1000")
    wrong = replace(started, container="b", pid=os.getpid())
    with pytest.raises(InvalidArgument, match="not the pidfd"):
        await client.adopt(wrong, other)
    with pytest.raises(NotFound, match="not in the cgroup"):
        await client.adopt(replace(wrong, pidfd=-1), replace(other, context=Context(cgroup="/gorae/b")))
    with pytest.raises(NotFound, match="gone"):
        await client.adopt(replace(wrong, pidfd=-1, pid=2**22 + 1), other)
    with pytest.raises(InvalidArgument):
        await client._call("adopt", {"container": "b", "directory": "/", "spec": {}, "context": {}, "names": ["x"]})
    await eventually(lambda: house.descriptors() == base)
    started.close()
