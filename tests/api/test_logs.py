"""Logs: frames, times, following."""

from __future__ import annotations

import asyncio

from tests.api.conftest import Client, eventually, frames

from gorae.logs.lines import Block


async def test_logs(api: Client) -> None:
    await api.create()
    second = 1_700_000_000_000_000_000
    api.engine.containers.blocks = [
        [Block(1, second, b"a\rb\n", False), Block(1, second + 5, b"part ", True)],
        [Block(2, second, b"e1\ne2\n", False), Block(1, second + 9, b"done\n", False)],
    ]
    answer = await api.call("GET", "/containers/one/logs?stdout=1&stderr=1&tail=10&since=5.5")
    request = api.engine.containers.calls[-1][1]
    assert (request.tail, request.since, request.follow) == (10, 5_500_000_000, False)
    assert answer.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert frames(answer.body) == [(1, b"a\rb\n"), (1, b"part "), (2, b"e1\n"), (2, b"e2\n"), (1, b"done\n")]
    stamped = await api.call("GET", "/containers/one/logs?stdout=1&timestamps=1")
    assert [data for _, data in frames(stamped.body)] == [
        b"2023-11-14T22:13:20.000000000Z a\rb\n",
        b"2023-11-14T22:13:20.000000005Z part ",
        b"2023-11-14T22:13:20.000000000Z e1\n",
        b"2023-11-14T22:13:20.000000000Z e2\n",
        b"done\n",
    ]
    assert (await api.call("GET", "/containers/one/logs")).status == 400
    assert (await api.call("GET", "/containers/one/logs?stdout=1&tail=x")).status == 400
    assert (await api.call("GET", "/containers/no/logs?stdout=1")).status == 404


async def test_logs_of_a_terminal_are_raw(api: Client) -> None:
    await api.create(Tty=True)
    api.engine.containers.blocks = [[Block(1, 5, b"a\r\nb\r\n", False)]]
    answer = await api.call("GET", "/containers/one/logs?stdout=1")
    assert answer.headers["content-type"] == "application/vnd.docker.raw-stream"
    assert answer.body == b"a\r\nb\r\n"


async def test_following_ends_with_its_client(api: Client) -> None:
    await api.create()
    api.engine.containers.follow_forever = True
    api.engine.containers.blocks = [[Block(1, 5, b"line\n", False)]]
    reader, writer = await api.open()
    writer.write(api.head("GET", "/containers/one/logs?stdout=1&follow=1", {}))
    await asyncio.wait_for(reader.readuntil(b"line\n"), 10)
    writer.close()
    await eventually(lambda: api.engine.containers.closed_logs == 1, "the reader is closed")


async def test_a_stream_that_fails_is_cut(api: Client) -> None:
    """The status is out, so the missing last chunk is what tells the client."""
    await api.create()

    class Broken(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield Block(1, 5, b"line\n", False)
            raise RuntimeError("disk")

    api.engine.containers.blocks = [Broken()]
    reader, writer = await api.open()
    writer.write(api.head("GET", "/containers/one/logs?stdout=1", {}))
    raw = await asyncio.wait_for(reader.read(), 10)
    assert b" 200 " in raw.split(b"\r\n")[0]
    assert not raw.endswith(b"0\r\n\r\n")
    writer.close()
