"""Abuse of the socket: rubbish, unclaimed descriptors, floods. The supervisor cuts off who does it, and serves the others."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket

import pytest
from tests.supervisor.house import House, eventually, exit_of, run

from gorae.errors import Unavailable
from gorae.linux import fd
from gorae.supervisor import protocol
from gorae.supervisor.client import SupervisorClient


async def raw(house: House) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    await asyncio.get_running_loop().sock_connect(sock, house.socket)
    return sock


async def cut_off(sock: socket.socket) -> bytes:
    """What still came before the end."""
    data = b""
    try:
        while True:
            more = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), 20)
            if not more:
                return data
            data += more
    except ConnectionResetError:
        return data
    finally:
        sock.close()


RUBBISH = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xff\xff\xff",
    b"\0\0\0\2[]",
    b"\0\0\0\4null",
    b"\0\0\0\1{",
    protocol.encode({"id": -1, "call": "list"}),
    protocol.encode({"id": 1}),
    protocol.encode({"id": "1", "call": "list"}),
    protocol.encode({"id": True, "call": "list"}),
    protocol.encode({"id": 1, "call": ["list"]}),
    protocol.encode({"id": 1, "call": "list", "descriptors": 3}),
    b"\0\0\x40\0" + b"[" * 0x4000,
]


@pytest.mark.parametrize("data", RUBBISH)
async def test_rubbish_is_cut_off(house: House, data: bytes) -> None:
    client = await house.client()
    sock = await raw(house)
    await asyncio.get_running_loop().sock_sendall(sock, data)
    assert await cut_off(sock) == b""
    assert await client.list() == ()


CALLS = ["hello", "subscribe", "list", "start", "exec", "attach", "resize", "signal", "forget", "adopt", "duplicates", "dance"]
VALUES = [None, True, -1, 0, 9, 1 << 70, "", "a", "/", [], ["a"], {}, {"args": ["/bin/true"]}, [{}], {"tty": 1}, "x" * 300, 1.5]
FIELDS = ["container", "exec", "directory", "spec", "context", "stdio", "log", "attach", "streams", "process", "signal", "height"]
FIELDS += ["width", "handle", "names", "pid", "started_at", "version", "all", "explain", "user"]


async def test_requests_of_any_shape_are_answered_or_cut_off(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    base = house.descriptors()
    chance = random.Random(1)
    for _ in range(40):
        sock = await raw(house)
        for number in range(20):
            message = {field: chance.choice(VALUES) for field in chance.sample(FIELDS, chance.randrange(8))}
            message.update(id=number, call=chance.choice(CALLS))
            if message.get("signal") in (9, True):
                message["signal"] = 0
            given = [os.open("/dev/null", os.O_RDONLY) for _ in range(chance.randrange(3))]
            message["descriptors"] = len(given)
            body = json.dumps(message).encode()
            try:
                fd.send_message(sock, len(body).to_bytes(4, "big") + body, given)
            except OSError:
                break
            finally:
                for descriptor in given:
                    os.close(descriptor)
        sock.shutdown(socket.SHUT_WR)
        await cut_off(sock)
    assert [row.container for row in await client.list()] == ["a"]
    await eventually(lambda: house.descriptors() == base)
    assert "Traceback" not in house.words()


async def test_bytes_of_any_kind_are_survived(house: House) -> None:
    client = await house.client()
    chance = random.Random(2)
    whole = protocol.request(1, "list", {})
    for _ in range(200):
        data = bytearray(whole * 3)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        sock = await raw(house)
        await asyncio.get_running_loop().sock_sendall(sock, bytes(data))
        sock.shutdown(socket.SHUT_WR)
        await cut_off(sock)
    assert await client.list() == ()
    assert "Traceback" not in house.words()


async def test_descriptors_without_a_message_are_closed(house: House) -> None:
    client = await house.client()
    base = house.descriptors()
    null = os.open("/dev/null", os.O_RDONLY)
    loose, many = await raw(house), await raw(house)
    fd.send_message(loose, protocol.request(1, "list", {}), [null])
    assert await cut_off(loose) != b"no end"
    partial = protocol.request(1, "list", {})[:3]
    fd.send_message(many, partial[:1], [null] * 40)
    fd.send_message(many, partial[1:2], [null] * 40)
    await cut_off(many)
    too_many = await raw(house)
    fd.send_message(too_many, partial[:1], [null] * 100)
    await cut_off(too_many)
    os.close(null)
    await eventually(lambda: house.descriptors() == base)
    assert await client.list() == ()


async def test_descriptors_for_calls_that_take_none_are_closed(house: House) -> None:
    client = await house.client()
    base = house.descriptors()
    null = os.open("/dev/null", os.O_RDONLY)
    for call in ("list", "hello", "attach", "start", "adopt", "exec"):
        sock = await raw(house)
        fd.send_message(sock, protocol.request(1, call, {}, 2), [null, null])
        assert b'"error"' in await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), 20)
        sock.close()
    os.close(null)
    await eventually(lambda: house.descriptors() == base)
    assert await client.list() == ()


async def test_an_attach_socket_must_be_one(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    (await run(client, house.request("a", "/bin/sleep", "1000"))).close()
    base = house.descriptors()
    datagram, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    null = os.open("/dev/null", os.O_RDONLY)
    for descriptor in (null, datagram.fileno()):
        with pytest.raises(Exception, match="attach"):
            await client.attach("a", descriptor, protocol.Streams())
    os.close(null)
    await eventually(lambda: house.descriptors() == base)


async def test_who_does_not_read_is_cut_off_and_a_slow_reader_is_not(house: House) -> None:
    deaf, slow = await raw(house), await raw(house)
    request = protocol.request(1, "dance" + "x" * 60000, {})
    loop = asyncio.get_running_loop()

    async def flood() -> None:
        while True:
            await loop.sock_sendall(deaf, request)

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await asyncio.wait_for(flood(), 60)
    deaf.close()
    for _ in range(50):
        await loop.sock_sendall(slow, request)
    slow.shutdown(socket.SHUT_WR)
    client = await house.client()
    assert await client.list() == ()
    slow.close()


async def test_a_client_that_leaves_in_the_middle_of_a_start(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    base = house.descriptors()
    for number in range(20):
        sock = await raw(house)
        request = house.request(f"c{number}", "/bin/true")
        arguments = {**protocol.plain(request), "spec": request.spec}
        await asyncio.get_running_loop().sock_sendall(sock, protocol.request(1, "start", arguments))
        sock.close()
        assert (await exit_of(client, f"c{number}")).code == 0
        await client.forget(f"c{number}")
    await eventually(lambda: house.descriptors() == base)


async def test_pending_calls_end_when_the_supervisor_is_gone(house: House) -> None:
    client = await house.client()
    await client.subscribe()
    call = asyncio.create_task(client.start(house.request("a", "never")))
    await asyncio.wait_for(other_list(house), 10)
    house.kill()
    with pytest.raises(Unavailable):
        await call
    with pytest.raises(Unavailable):
        async for _ in client.events():
            pass
    with pytest.raises(Unavailable):
        await client.list()


async def other_list(house: House) -> None:
    client = await house.client()
    while not any(row.state == "starting" for row in await client.list()):
        pass


async def test_nobody_answers() -> None:
    with pytest.raises(Unavailable, match="no supervisor answers"):
        await SupervisorClient.connect("/nonexistent/socket")
