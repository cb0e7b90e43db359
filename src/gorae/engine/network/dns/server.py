"""The sockets of resolvers: one pair (UDP, TCP) in each container's namespace, all read by one event loop.

    127.0.0.11:53 ── rewritten, inside the container, to the ports of these sockets ──▶ an answer, at once or from outside

They listen on other ports than 53, so that a container may be a name server itself. A question that was answered from the zone a
moment ago is answered without looking at it again: 25 µs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

from gorae.engine.network.dns import answers
from gorae.engine.network.dns.answers import Question
from gorae.engine.network.dns.upstream import Upstream, read_exactly
from gorae.engine.network.dns.zone import View, Zone
from gorae.engine.network.plumbing import Ears

BURST = 64  # datagrams of one container, before others have their turn
REMEMBERED = 256
UNDER_WAY = 256  # questions of one container that are asked outside at once
CONNECTIONS = 64
IDLE = 10.0

log = logging.getLogger(__name__)


class Resolver:
    """Of one container. `look` tells what it sees at present."""

    def __init__(self, ears: Ears, zone: Zone, upstream: Upstream, look: Callable[[], View]) -> None:
        self.ears = ears
        self._zone = zone
        self._upstream = upstream
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._answers: dict[bytes, bytes] = {}
        self._version = -1
        for each in ears:
            each.setblocking(False)
        self._loop.add_reader(ears.udp, self._datagrams)
        self._loop.add_reader(ears.tcp, self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self.ears.udp)
        self._loop.remove_reader(self.ears.tcp)
        for task in self._tasks:
            task.cancel()
        self.ears.close()

    # ── datagrams ──

    def _datagrams(self) -> None:
        for _ in range(BURST):
            try:
                data, source = self.ears.udp.recvfrom(65535)
            except OSError:
                return
            if self._version != self._zone.version:
                self._answers.clear()
                self._version = self._zone.version
            known = self._answers.get(data[2:])
            if known is not None:
                self._reply(data[:2] + known, source)
                continue
            try:
                question = Question(data)
            except ValueError:
                continue
            self._answer(data, question, source)

    def _answer(self, data: bytes, question: Question, source: Any) -> None:
        view = self._look()
        records = answers.local(question, self._zone, view)
        if records is not None:
            answer = question.answer(records, udp=True)
            if len(records) <= 1 and len(self._answers) < REMEMBERED:
                self._answers[data[2:]] = answer[2:]
            self._reply(answer, source)
        elif not view.outside or not view.servers or len(self._tasks) >= UNDER_WAY:
            self._reply(question.failure("SERVFAIL"), source)
        else:
            self._begin(self._ask_outside(data, question, view, source))

    async def _ask_outside(self, data: bytes, question: Question, view: View, source: Any) -> None:
        answer = await self._upstream.ask(data, view.servers, udp=True)
        self._reply(answer or question.failure("SERVFAIL"), source)

    def _reply(self, answer: bytes, source: Any) -> None:
        with contextlib.suppress(OSError):
            self.ears.udp.sendto(answer, source)

    # ── streams ──

    def _accept(self) -> None:
        try:
            connection, _ = self.ears.tcp.accept()
        except OSError:
            return
        if self._connections >= CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self._begin(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        self._connections += 1
        try:
            with connection:
                while True:
                    async with asyncio.timeout(IDLE):
                        size = struct.unpack(">H", await read_exactly(connection, 2))[0]
                        data = await read_exactly(connection, size)
                    answer = await self._answer_stream(data)
                    async with asyncio.timeout(IDLE):
                        await self._loop.sock_sendall(connection, struct.pack(">H", len(answer)) + answer)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections -= 1

    async def _answer_stream(self, data: bytes) -> bytes:
        question = Question(data)
        view = self._look()
        records = answers.local(question, self._zone, view)
        if records is not None:
            return question.answer(records, udp=False)
        found = await self._upstream.ask(data, view.servers, udp=False) if view.outside and view.servers else None
        return found or question.failure("SERVFAIL")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("a question was not answered", exc_info=failure)
