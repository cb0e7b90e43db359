"""One collector at a time, among all instances that share a store, without a clock that all must agree on to the second.

    garbage/terms/<number>     {"owner": …} rewritten every LEASE/6 by its holder; {} when it is over

The highest number counts. Whoever finds it over, or not rewritten for LEASE, creates the next number, which has one winner. A
holder that could not rewrite its term for LEASE/2 stops deleting (`valid`), so that it has stopped well before anybody takes over.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from types import TracebackType
from typing import Self

from gorae.errors import GoraeError
from gorae.registry import layout
from gorae.registry.store.seam import Store

LEASE = 60.0


class Term:
    """`Term.begin` answers one or None; leave it with `async with`."""

    def __init__(self, store: Store, number: int, owner: bytes) -> None:
        self._store = store
        self._key = layout.term(number)
        self._owner = owner
        self._renewed = time.monotonic()
        self._renewing: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, store: Store) -> Self | None:
        """None while another one's goes on."""
        terms = sorted([entry async for entry in store.entries(layout.TERMS)], key=lambda entry: entry.key)
        number = 0
        if terms:
            last = terms[-1]
            number = int(last.key.rpartition("/")[2]) + 1
            if time.time() - last.modified < LEASE and await store.read(last.key) not in (b"{}", None):
                return None
        owner = json.dumps({"owner": secrets.token_hex(8)}).encode()
        if not await store.create(layout.term(number), owner):
            return None
        for entry in terms:
            await store.delete(entry.key)
        return cls(store, number, owner)

    def valid(self) -> bool:
        return time.monotonic() - self._renewed < LEASE / 2

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._renewing is not None
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        if self.valid():
            await self._store.write(self._key, b"{}", durable=False)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 6)
            begun = time.monotonic()
            try:
                await self._store.write(self._key, self._owner, durable=False)
            except GoraeError:
                continue  # `valid` tells when it has been too long
            self._renewed = begun
