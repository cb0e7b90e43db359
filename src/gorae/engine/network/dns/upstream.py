"""Asking outside: UDP first, TCP when that is cut or was asked for; answers are kept as long as they say, at most a minute.

Each question goes out from a socket of its own (a random port), under a random id, to one server (connected): three things that a
forged answer would have to guess. Servers are tried in turn, twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import AsyncIterator

from dnslib import DNSRecord

PATIENCE = 2.0  # for one server
ROUNDS = 2
LONGEST = 60.0
KEPT = 1000
PORT = 53
TRUNCATED = 0x02


class Upstream:
    def __init__(self, port: int = PORT) -> None:
        self._port = port
        self._cache: OrderedDict[tuple[tuple[str, ...], bool, bytes], tuple[float, float, bytes]] = OrderedDict()

    async def ask(self, data: bytes, servers: tuple[str, ...], *, udp: bool) -> bytes | None:
        """The answer under the question's own id; None when nobody answers."""
        key = (servers, udp, data[2:])
        if (kept := self._kept(key)) is not None:
            return data[:2] + kept
        for _ in range(ROUNDS):
            for server in servers:
                with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    answer = await self._ask(server, data, udp=udp)
                    self._keep(key, answer)
                    return data[:2] + answer[2:]
        return None

    async def _ask(self, server: str, data: bytes, *, udp: bool) -> bytes:
        identity = secrets.token_bytes(2)
        question = identity + data[2:]
        async with asyncio.timeout(PATIENCE), _connected(server, self._port, udp=udp) as sock:
            loop = asyncio.get_running_loop()
            if not udp:
                await loop.sock_sendall(sock, struct.pack(">H", len(question)) + question)
                answer = await read_exactly(sock, struct.unpack(">H", await read_exactly(sock, 2))[0])
                if answer[:2] != identity:
                    raise OSError("an answer to another question")
                return answer
            await loop.sock_sendall(sock, question)
            while True:
                answer = await loop.sock_recv(sock, 65535)
                if answer[:2] == identity and len(answer) >= 12 and answer[2] & 0x80:
                    return answer

    def _kept(self, key: tuple[tuple[str, ...], bool, bytes]) -> bytes | None:
        found = self._cache.get(key)
        if found is None:
            return None
        since, until, answer = found
        now = time.monotonic()
        if now >= until:
            del self._cache[key]
            return None
        return answer if now - since < 1 else _aged(answer, int(now - since))

    def _keep(self, key: tuple[tuple[str, ...], bool, bytes], answer: bytes) -> None:
        lifetime = min(_lifetime(answer), LONGEST)
        if lifetime <= 0 or answer[2] & TRUNCATED:
            return
        now = time.monotonic()
        self._cache[key] = (now, now + lifetime, answer[2:])
        while len(self._cache) > KEPT:
            self._cache.popitem(last=False)


def _lifetime(answer: bytes) -> float:
    """The shortest of its records' times; of a "no such name", that of the authority's (RFC 2308). 0: not to be kept."""
    try:
        record = DNSRecord.parse(answer)
        if record.header.rcode not in (0, 3):
            return 0
        return float(min((each.ttl for each in (*record.rr, *record.auth)), default=0))
    except Exception:  # dnslib lets every kind of error through; whatever it is, it is passed on and not kept
        return 0


def _aged(answer: bytes, seconds: int) -> bytes:
    record = DNSRecord.parse(b"\0\0" + answer)
    for each in (*record.rr, *record.auth):
        each.ttl = max(0, each.ttl - seconds)
    return bytes(record.pack())[2:]


@contextlib.asynccontextmanager
async def _connected(server: str, port: int, *, udp: bool) -> AsyncIterator[socket.socket]:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (server, port))
        yield sock


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    """asyncio.IncompleteReadError at the end of the stream."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        part = await loop.sock_recv(sock, size - len(data))
        if not part:
            raise asyncio.IncompleteReadError(data, size)
        data += part
    return data
