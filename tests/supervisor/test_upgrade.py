"""A supervisor becomes a new program and nobody notices: not the containers, not the terminals, not who is attached."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from tests.supervisor.house import House, Peer, eventually, exec_exit_of, exit_of, frames, run
from tests.supervisor.test_stdio import ALL, OUTPUT, logged

from gorae.errors import Unavailable
from gorae.supervisor.protocol import Streams


async def test_everything_goes_on(house: House) -> None:
    client = await house.client()
    other = await house.client()
    await client.subscribe()
    await other.subscribe()
    session, echo, peer = Peer(), Peer(), Peer()
    script = "while read line; do echo got $line; done"
    (await run(client, house.request("tty", "/bin/sh", "-c", script, tty=True, stdin=True, attach=(ALL,)), (session,))).close()
    (await run(client, house.request("cat", "/bin/cat", stdin=True, stdin_once=True, attach=(ALL,)), (echo,))).close()
    (await run(client, house.request("dead", "/bin/sh", "-c", "exit 9"))).close()
    await exit_of(client, "dead")
    (await run(client, house.request("sleeps", "/bin/sleep", "1000"))).close()
    await client.exec(house.exec_request("cat", "e1", "/bin/cat", stdin=True, stdin_once=True, attach=(ALL,)), [peer.number])
    peer.given()
    await session.write(b"before\n")
    await session.read_until(b"got before")
    before = await client.list()
    assert house.process is not None
    descriptors = house.descriptors()
    for _ in range(2):
        hello = await client.upgrade([*house.argv])
        assert hello.pid == house.process.pid
        assert await client.list() == before == await other.list()
        await eventually(lambda: house.descriptors() == descriptors)
    await session.write(b"after\n")
    await session.read_until(b"got after")
    await client.resize("tty", 11, 22)
    await echo.write(b"echo\n")
    echo.half_close()
    assert frames(await echo.read_all())[1] == b"echo\n"
    assert (await exit_of(client, "cat")).code == 0
    assert (await exit_of(other, "cat")).code == 0
    await client.signal("tty", signal.SIGKILL)
    assert (await exit_of(client, "tty")).code == 137
    assert b"got before" in logged(house, "tty")
    assert b"got after" in logged(house, "tty")
    await client.exec(house.exec_request("sleeps", "e2", "/bin/sh", "-c", "exit 6"))
    assert (await exec_exit_of(client, "e2")).code == 6
    await peer.write(b"exec\n")
    peer.half_close()
    assert frames(await peer.read_all())[1] == b"exec\n"
    await client.forget("dead")
    assert "Traceback" not in house.words(), house.words()


LATE = """
import os, sys
if "--check" not in sys.argv:
    # Between the two programs: the same process, the same children. Each is told to end, and has, before the new supervisor begins.
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = [int(word) for word in file.read().split()]
    for pid in children:
        with open(f"/proc/{pid}/fd/0", "w") as stdin:
            stdin.write("end\\n")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_who_dies_meanwhile_is_reaped_afterwards(house: House, tmp_path: Path) -> None:
    client = await house.client()
    await client.subscribe()
    names = [f"c{number}" for number in range(8)]
    for number, name in enumerate(names):
        (await run(client, house.request(name, "/bin/sh", "-c", f"read x; echo bye; exit {number}", stdin=True))).close()
    late = tmp_path / "late.py"
    late.write_text(LATE)
    await client.upgrade([sys.executable, str(late), *house.argv])
    ended: dict[str, int] = {}
    async for event in client.events():
        ended[event.container] = event.exit.code  # type: ignore[union-attr]
        if len(ended) == 8:
            break
    assert ended == {name: number for number, name in enumerate(names)}
    assert all(logged(house, name) == b"bye\n" for name in names)
    assert house.children() == []


async def test_output_during_the_upgrade_is_not_lost(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    peer = Peer()
    (await run(client, house.request("a", "/usr/bin/seq", "3000000", attach=(OUTPUT,), max_size=100_000_000), (peer,))).close()
    reading = asyncio.create_task(peer.read_all())
    upgrades = 0
    while (await client.list())[0].state == "running" and upgrades < 3:
        await client.upgrade([*house.argv])
        upgrades += 1
    assert upgrades
    expected = b"".join(b"%d\n" % number for number in range(1, 3_000_001))
    assert frames(await reading)[1] == expected
    assert logged(house, "a") == expected


async def test_what_waits_for_a_slow_peer_goes_over(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    slow = Peer()
    request = house.request("a", "/bin/sh", "-c", "seq 200000; exit 1", attach=(OUTPUT,), max_size=100_000_000)
    (await run(client, request, (slow,))).close()
    first = await slow.read_some()
    await client.upgrade([*house.argv])
    slow.buffer = first
    data = frames(await slow.read_all())[1]
    assert data == b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert (await exit_of(client, "a")).code == 1
    # The same once more, when the program is dead already and only the socket waits.
    late = Peer()
    (await run(client, house.request("b", "/bin/sh", "-c", "head -c 700000 /dev/zero", attach=(OUTPUT,)), (late,))).close()
    assert (await exit_of(client, "b")).code == 0
    await client.forget("b")
    await client.upgrade([*house.argv])
    assert len(frames(await late.read_all())[1]) == 700_000


@pytest.mark.parametrize("argv", [["/no/such/program"], ["/bin/false"], [sys.executable, "-c", "import no_such_module"]])
async def test_a_program_that_does_not_start_changes_nothing(house: House, argv: list[str]) -> None:
    client = await house.client()
    await client.subscribe()
    peer = Peer()
    (await run(client, house.request("a", "/bin/cat", stdin=True, attach=(Streams(True),)), (peer,))).close()
    base = house.descriptors()
    with pytest.raises(Unavailable, match=r"does not start|cannot start"):
        await client.upgrade(argv)
    await peer.write(b"still\n")
    await peer.read_until(b"still\n")
    await eventually(lambda: house.descriptors() == base)
    assert (await client.upgrade([*house.argv])).pid == client.hello.pid


async def test_births_in_flight_end_first(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    starts = [client.start(house.request(f"c{number}", "/bin/sleep", "1000")) for number in range(20)]
    *started, hello = await asyncio.gather(*starts, client.upgrade([*house.argv]))
    assert hello.version == 1
    assert {row.container for row in await client.list()} == {f"c{number}" for number in range(20)}
    for each in started:
        each.close()
