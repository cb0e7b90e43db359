"""Deaths: exit codes, records, orphans, leftovers, and what is refused to whom."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.supervisor.fake import FakeExecutor
from tests.supervisor.house import House, Peer, eventually, exec_exit_of, exit_of, run
from tests.supervisor.test_stdio import logged

from gorae.errors import BirthError, CommandNotFound, Conflict, InvalidArgument, NotFound, StorageFull, Unavailable, Unsupported
from gorae.supervisor import spawn
from gorae.supervisor.children import Table
from gorae.supervisor.loop import Loop
from gorae.supervisor.protocol import Context, Log, StartRequest, Streams


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
async def test_exit_codes_and_the_record(house: House, script: str, code: int) -> None:
    client = await house.client()
    await client.subscribe()
    before = time.time_ns()
    started = await run(client, house.request("a", "/bin/sh", "-c", script))
    started.close()
    exit = await exit_of(client, "a")
    assert exit.code == code
    assert exit.pid == started.pid
    assert before <= started.started_at == exit.started_at <= exit.finished_at <= time.time_ns()
    record = json.loads(house.record("a"))
    assert (record["container"], record["code"], record["pid"]) == ("a", code, started.pid)
    (row,) = await client.list()
    assert (row.state, row.exit) == ("exited", exit)
    await client.forget("a")
    assert await client.list() == ()
    assert house.children() == []


async def test_out_of_memory_is_told(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    (await run(client, house.request("a", "/bin/true", context=Context(cgroup="/oom")))).close()
    assert (await exit_of(client, "a")).oom_killed


async def test_a_failed_birth_leaves_nothing(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    base = house.descriptors()
    peer = Peer()
    with pytest.raises(CommandNotFound, match="no such file") as caught:
        await client.start(house.request("a", "/no/such/program", stdin=True, attach=(Streams(),)), [peer.number])
    assert (caught.value.step, caught.value.errno, caught.value.path) == ("execve", 2, "/no/such/program")
    peer.given()
    assert await peer.read_all() == b""
    with pytest.raises(BirthError, match="nothing to run"):
        await client.start(house.request("a", spec={"process": {"args": []}}))
    with pytest.raises(StorageFull):
        await client.start(replace(house.request("a", "/bin/true"), log=Log("local", "/proc/no/log")))
    with pytest.raises(InvalidArgument, match="absolute"):
        await client.start(replace(house.request("a", "/bin/true"), log=Log("local", "log")))
    assert await client.list() == ()
    await eventually(lambda: house.descriptors() == base)
    (await run(client, house.request("a", "/bin/true"))).close()
    assert (await exit_of(client, "a")).code == 0


async def test_names_are_taken_until_forgotten(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    with pytest.raises(Conflict, match="already here"):
        await client.start(house.request("a", "/bin/true"))
    with pytest.raises(Conflict, match="only the dead"):
        await client.forget("a")
    await client.signal("a", signal.SIGKILL)
    await exit_of(client, "a")
    with pytest.raises(Conflict, match="already here"):
        await client.start(house.request("a", "/bin/true"))
    peer = Peer()
    for call in (client.signal("a", 9), client.resize("a", 1, 1), client.attach("a", peer.number, Streams())):
        with pytest.raises(NotFound, match="not running"):
            await call
    await client.forget("a")
    with pytest.raises(NotFound, match="no such container"):
        await client.forget("a")
    peer.close()
    with pytest.raises(InvalidArgument, match="not open"):
        await client.attach("a", 9999, Streams())
    assert await client.list() == ()


async def test_orphans_are_reaped(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    script = "for i in 1 2 3 4 5 6 7 8 9; do (/bin/sh -c '(sleep 0.05; exit 3) & exit 0' &) ; done; sleep 0.1; exit 1"
    (await run(client, house.request("a", "/bin/sh", "-c", script))).close()
    assert (await exit_of(client, "a")).code == 1
    await eventually(lambda: house.children() == [])


async def test_a_descendant_that_keeps_the_pipe_is_waited_for_only_so_long(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    began = time.monotonic()
    (await run(client, house.request("a", "/bin/sh", "-c", "echo first; (sleep 0.2; echo late) & exit 0"))).close()
    assert (await exit_of(client, "a")).code == 0
    assert time.monotonic() - began < 1.5, "its end of the pipe was closed long before"
    assert logged(house, "a") == b"first\nlate\n"
    (await run(client, house.request("b", "/bin/sh", "-c", "echo $$; exec 2>&-; sleep 1000 & echo $!; exit 2"))).close()
    began = time.monotonic()
    assert (await exit_of(client, "b")).code == 2
    assert 1 < time.monotonic() - began < 10
    for pid in house.children():
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: house.children() == [])


async def test_execs_end_with_their_own_codes(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    for number in range(20):
        await client.exec(house.exec_request("a", f"e{number}", "/bin/sh", "-c", f"exit {number}"))
        assert (await exec_exit_of(client, f"e{number}")).code == number
    await client.exec(house.exec_request("a", "long", "/bin/sleep", "1000"))
    await client.signal("a", signal.SIGTERM, "long")
    assert (await exec_exit_of(client, "long")).code == 143
    with pytest.raises(CommandNotFound):
        await client.exec(house.exec_request("a", "none", "/no/such/program"))
    (row,) = await client.list()
    assert len(row.execs) == 21
    await client.signal("a", signal.SIGKILL)
    await exit_of(client, "a")
    await client.forget("a")
    assert await client.list() == ()


async def test_many_births_at_once(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    base = house.descriptors()
    started = await asyncio.gather(*(client.start(house.request(f"c{number}", "/bin/true")) for number in range(60)))
    for each in started:
        each.close()
    assert len({each.pid for each in started}) == 60
    ended = set()
    async for event in client.events():
        ended.add(event.container)
        if len(ended) == 60:
            break
    for number in range(60):
        await client.forget(f"c{number}")
    await eventually(lambda: house.descriptors() == base)


def test_a_birth_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spawn, "DEADLINE", 0.05)
    loop, table, outcome = Loop(), Table(), []
    births = spawn.Births(loop, table, FakeExecutor(), lambda child: None, lambda: outcome.append("over"))
    before = set(os.listdir("/proc/self/fd"))
    request = StartRequest("a", str(tmp_path), {"process": {"args": ["never"]}}, Context(), log=Log("local", str(tmp_path / "log")))
    births.start(request, [], lambda found, birth: outcome.append(found))
    assert table.containers["a"].state == "starting"
    while len(outcome) < 2:
        loop.turn(10)
    assert isinstance(outcome[0], BirthError)
    assert "not born within" in str(outcome[0])
    assert outcome[1] == "over"
    assert (table.containers, len(births)) == ({}, 0)
    assert set(os.listdir("/proc/self/fd")) == before
    loop.close()


async def test_one_supervisor_a_directory(house: House) -> None:
    second = House()
    second.argv = house.argv
    with pytest.raises(AssertionError, match="another supervisor"):
        second.begin()
    await second.aclose()
    client = await house.client()
    assert await client.list() == ()


async def test_shutdown_is_refused_while_a_container_lives(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    house.process.send_signal(signal.SIGHUP)
    house.process.send_signal(signal.SIGINT)
    with pytest.raises(Conflict, match="alive"):
        await client.shutdown()
    await client.signal("a", signal.SIGKILL)
    await exit_of(client, "a")
    await client.shutdown()
    assert house.process.wait(10) == 0
    with pytest.raises(Unavailable):
        await client.list()
    assert os.listdir(house.directory) == []


async def test_sigterm_ends_an_idle_one(house: House) -> None:
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(10) == 0


def test_it_is_not_dumpable_and_a_subreaper_of_its_own_session(house: House) -> None:
    assert house.process is not None
    pid = house.process.pid
    assert os.stat(f"/proc/{pid}/fd").st_uid == 0
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/comm").read_text().strip() == "gorae-superviso"
    assert oct(os.stat(house.socket).st_mode & 0o777) == "0o600"
    assert oct(os.stat(house.directory).st_mode & 0o777) == "0o700"


async def test_unknown_calls_and_versions(house: House) -> None:
    client = await house.client()
    with pytest.raises(Unsupported):
        await client._call("dance", {})
    with pytest.raises(Unsupported):
        await client._call("hello", {"version": 99})
    with pytest.raises(InvalidArgument, match="start: container"):
        await client._call("start", {"container": 1})
    with pytest.raises(InvalidArgument, match="printable"):
        await client._call("start", {"container": "a\nb", "directory": "/", "spec": {}, "context": {}})


async def test_an_open_directory_is_refused() -> None:
    house = House()
    os.mkdir(house.directory, 0o755)
    with pytest.raises(AssertionError, match="mode 0700"):
        house.begin()
    await house.aclose()
