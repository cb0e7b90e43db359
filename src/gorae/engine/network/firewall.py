"""Keeps the rule set in the kernel: put there before the first container needs it, restored when others remove it.

    first use       both tables in one transaction; forwarding is switched on
    start, end      elements are added, and taken away some time after
    notification    somebody deleted from our tables (`nft flush ruleset`, a firewall's reload): all is installed again
    clean-up        tables removed, forwarding as it was before

`rules` says what the set is. What was switched on is written down in <exec root>/network.json, which lives as long as sysctls.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from gorae import errors
from gorae.engine.network import rules
from gorae.engine.network.plumbing import Plumbing, write_sysctl
from gorae.engine.network.rules import Elements, Situation
from gorae.netlink import nftables
from gorae.netlink.conversation import NETLINK_NETFILTER, Conversation, Message
from gorae.netlink.nftables import Element, Set

log = logging.getLogger(__name__)


class Firewall:
    """`name` is that of the tables; `situation` tells what the rules are made of, but for what this object knows itself."""

    def __init__(
        self, name: str, plumbing: Plumbing, situation: Callable[[bool], Situation], notes: Path, *, enabled: bool, forward: bool
    ) -> None:
        self.name = name
        self.installed = False
        self._plumbing = plumbing
        self._situation = situation
        self._notes = notes
        self._enabled = enabled
        self._forward = forward
        self._switched: tuple[str, ...] = ()
        self._six = False
        self._watch: Conversation | None = None
        self._again: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def ensure(self, *, six: bool) -> None:
        """Rules and forwarding, before anything is plugged in."""
        if self.installed and (self._six or not six):
            return
        async with self._lock:
            if self._forward and (not self.installed or (six and not self._six)):
                self._switched = tuple({*self._read_notes(), *self._switched})
                switched = await self._plumbing.run(self._plumbing.switch_forwarding_on, six=six)
                self._switched = tuple({*self._switched, *switched})
            self._notes.write_text(json.dumps({"switched": self._switched}))
            self._six = self._six or six
            if not self.installed:
                await self._install()
                self._begin_watch()
                self.installed = True

    async def _install(self) -> None:
        if not self._enabled:
            return
        made = rules.tables(self.name, self._situation("net/ipv4/ip_forward" in self._switched))
        try:
            await self._plumbing.run(self._plumbing.install, made)
        except errors.Unavailable as error:
            raise errors.Unavailable(f"the nftables rules of networks cannot be installed: {error}") from error.__cause__

    def messages(self, elements: Elements) -> list[Message]:
        """That add them: for a transaction that also does something else."""
        if not self._enabled:
            return []
        return [
            *self._each(nftables.add, "inet", rules.SETS, elements.routed),
            *self._each(nftables.add, "bridge", rules.GUARD_SETS, elements.bridged),
        ]

    async def add(self, elements: Elements) -> None:
        if self.installed and (messages := self.messages(elements)):
            try:
                await self._plumbing.run(self._plumbing.change, messages)
            except errors.Unavailable:
                await self._install()

    def take(self, elements: Elements) -> None:
        """Soon; nobody waits for it. What is not there any more makes the whole set be installed again."""
        if not self.installed or not self._enabled:
            return
        messages = [
            *self._each(nftables.take, "inet", rules.SETS, elements.routed),
            *self._each(nftables.take, "bridge", rules.GUARD_SETS, elements.bridged),
        ]
        if messages:
            loop = asyncio.get_running_loop()
            future: Future[None] = self._plumbing.submit(self._plumbing.change, messages)
            future.add_done_callback(lambda done: done.exception() is None or loop.call_soon_threadsafe(self.restore))

    def _each(
        self,
        make: Callable[..., list[Message]],
        family: str,
        sets: Mapping[str, Set],
        elements: Mapping[str, tuple[Element, ...]],
    ) -> list[Message]:
        return [message for name, added in elements.items() for message in make(family, self.name, sets[name], added)]

    # ── others ──

    def _begin_watch(self) -> None:
        if self._enabled and self._watch is None:
            self._watch = Conversation(NETLINK_NETFILTER, (nftables.NFNLGRP_NFTABLES,))
            asyncio.get_running_loop().add_reader(self._watch.socket, self._heard)

    def _heard(self) -> None:
        assert self._watch is not None
        try:
            hurt = [
                port
                for kind, port, body in self._watch.heard()
                if port != self._plumbing.filter_port and nftables.touched_table(kind, body) == self.name
            ]
        except OSError:
            hurt = [0]  # more happened than we could hear
        if hurt:
            log.warning("somebody removed rules from the table %s: they are restored", self.name)
            self.restore()

    def restore(self) -> None:
        """Everything again, soon."""
        if self.installed and (self._again is None or self._again.done()):
            self._again = asyncio.get_running_loop().create_task(self._restore())

    async def _restore(self) -> None:
        wait = 0.05
        while self.installed:
            try:
                await self._install()
                return
            except errors.Unavailable as error:
                log.error("%s", error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, 2.0)

    # ── the end ──

    @property
    def noted(self) -> bool:
        """Whether rules were put into this machine's kernel, by us or by who was before us."""
        return self._notes.exists()

    async def aclose(self, *, leave: bool) -> None:
        """`leave`: nothing of ours runs, so everything is undone."""
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.socket)
            self._watch.close()
            self._watch = None
        if self._again is not None:
            self._again.cancel()
        self.installed = False
        if leave and self._notes.exists():
            switched = {*self._read_notes(), *self._switched}
            try:
                await self._plumbing.run(self._undo, switched)
            except errors.Unavailable as error:
                log.error("the rules of networks were left behind: %s", error)
            self._notes.unlink(missing_ok=True)

    def _undo(self, switched: set[str]) -> None:
        if self._enabled:
            self._plumbing.uninstall((("inet", self.name), ("bridge", self.name)))
        for path in switched:
            write_sysctl(path, "0")

    def _read_notes(self) -> tuple[str, ...]:
        try:
            notes: Any = json.loads(self._notes.read_bytes())
            known = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
            return tuple(path for path in notes["switched"] if path in known)
        except (OSError, ValueError, KeyError, TypeError):
            return ()
