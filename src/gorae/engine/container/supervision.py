"""The engine's hold on the supervisor: start it, stay connected, replace it when it dies.

    open      connect, or start one and connect
    events    one task reads them and hands each to `on_event`
    lost      connect again (it upgraded, or only the connection broke); or start a new one, give it what lives (`adopt`), and
              compare (`on_return`)
    aclose    containers run on; a supervisor without any is asked to leave

Calls during the gap wait for the new connection, up to PATIENCE; then they raise Unavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from gorae import errors
from gorae.supervisor.client import SupervisorClient
from gorae.supervisor.launch import launch
from gorae.supervisor.protocol import Event, Living, Started, StartRequest

PATIENCE = 10.0
FIRST_LOOK = 0.002  # between two tries to connect to a supervisor that is starting
CONNECT_TIMEOUT = 5.0

log = logging.getLogger(__name__)


class Supervision:
    """`directory` is /run/gorae/supervisor; `alive` tells what a new supervisor must take over; `launched` is one on its way up."""

    def __init__(
        self,
        directory: Path,
        *,
        on_event: Callable[[Event], None],
        on_return: Callable[[tuple[Living, ...]], Awaitable[None]],
        alive: Callable[[], list[tuple[Started, StartRequest]]],
        launched: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._directory = directory
        self._on_event = on_event
        self._on_return = on_return
        self._alive = alive
        self._client: SupervisorClient | None = None
        self._connected = asyncio.Event()
        self._process = launched
        self._watch: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def socket(self) -> str:
        return str(self._directory / "supervisor.sock")

    @property
    def pid(self) -> int:
        """Of the supervisor at hand; 0 in the gap."""
        return self._client.hello.pid if self._client is not None else 0

    async def open(self) -> tuple[Living, ...]:
        """What lives at this instant. Events come only after `listen`."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        client = await self._connect()
        try:
            living = await client.subscribe()
        except BaseException:
            await client.aclose()
            raise
        self._client = client
        self._connected.set()
        return living

    def listen(self) -> None:
        """Begin to hand out events, those since `open` first."""
        self._watch = asyncio.create_task(self._keep(), name="supervision")

    async def client(self) -> SupervisorClient:
        """The connection; waits while the supervisor is being replaced."""
        if self._client is None:
            try:
                await asyncio.wait_for(self._connected.wait(), PATIENCE)
            except TimeoutError:
                raise errors.Unavailable("the supervisor does not answer; see supervisor.log in the runtime directory") from None
        assert self._client is not None
        return self._client

    async def aclose(self, *, leave: bool) -> None:
        """`leave`: nothing lives, so the supervisor goes as well."""
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        client, self._client = self._client, None
        if client is not None:
            if leave:
                with contextlib.suppress(errors.GoraeError):
                    await client.shutdown()
            await client.aclose()
        if leave and self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, 5)

    # ── the watch ──

    async def _keep(self) -> None:
        while not self._closing:
            assert self._client is not None
            try:
                async for event in self._client.events():
                    self._on_event(event)
            except errors.Unavailable:
                pass
            log.warning("the connection to the supervisor is gone")
            self._connected.clear()
            lost, self._client = self._client, None
            await lost.aclose()
            await self._come_back()

    async def _come_back(self) -> None:
        wait = FIRST_LOOK
        while not self._closing:
            client: SupervisorClient | None = None
            try:
                client = await self._connect()
                await self._hand_over(client)
                living = await client.subscribe()
            except (errors.GoraeError, OSError) as error:
                log.error("the supervisor cannot be replaced: %s", error)
                if client is not None:
                    await client.aclose()
                await asyncio.sleep(wait)
                wait = min(wait * 2, 1.0)
                continue
            self._client = client
            self._connected.set()
            await self._on_return(living)
            return

    async def _hand_over(self, client: SupervisorClient) -> None:
        """A supervisor that survived knows its containers; a new one is told."""
        known = {each.container for each in await client.list()}
        for started, request in self._alive():
            if started.container in known:
                continue
            try:
                await client.adopt(started, request)
            except errors.Unavailable:
                raise
            except errors.GoraeError as error:
                # `on_return` finds that it does not live, and records its end.
                log.error("container %s could not be handed over: %s", started.container, error)

    # ── the process ──

    async def _connect(self) -> SupervisorClient:
        """To the one that answers, or to a new one."""
        try:
            return await SupervisorClient.connect(self.socket, timeout=CONNECT_TIMEOUT)
        except errors.Unavailable:
            pass
        self._start()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        wait = FIRST_LOOK
        while True:
            assert self._process is not None
            status = self._process.poll()
            try:
                return await SupervisorClient.connect(self.socket, timeout=CONNECT_TIMEOUT)
            except errors.Unavailable as error:
                if status is not None or loop.time() > deadline:
                    raise errors.Unavailable(f"the supervisor did not start{self._last_words()}") from error
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 0.01)

    def _start(self) -> None:
        """Unless the one at hand is still coming up."""
        if self._process is None or self._process.poll() is not None:
            self._process = launch(self._directory)

    def _last_words(self) -> str:
        try:
            with open(self._directory / "supervisor.log", "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f": {lines[-1]}" if lines else f"; see {self._directory}/supervisor.log"
