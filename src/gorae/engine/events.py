"""Events: a bounded ring for `since` and `until`, and live subscribers.

An event carries Docker's own words for type and action (`container`, `exec_create: sh`), because they are what a filter
compares and what every client switches on. Publishing never blocks: a subscriber that does not read loses its subscription, not
the engine its memory.

    container   create attach start die kill stop restart pause unpause oom rename resize destroy
                "exec_create: ARGV" "exec_start: ARGV" exec_die exec_detach
    image       import load tag untag delete pull push save
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Literal, Self

import msgspec

from gorae import errors
from gorae.engine.filters import Filters, check_keys, matches_any, matches_labels, matches_prefix

EventType = Literal["container", "image", "daemon", "network", "volume", "builder"]

KNOWN_FILTERS = frozenset(
    [
        "config",
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "secret",
        "service",
        "type",
        "volume",
    ]
)
SUBSCRIBER_LIMIT = 8192  # events that one subscriber may lag behind
NANOSECONDS = 1_000_000_000


class Event(msgspec.Struct, frozen=True):
    """`time` is nanoseconds since the epoch;

    `attributes` has `name`, `image`, labels and what the action adds (`exitCode`, `signal`, `execID`).
    """

    type: EventType
    action: str
    id: str
    attributes: dict[str, str]
    time: int
    scope: str = "local"


class Events:
    """The ring of the last `size` events, and everybody who listens."""

    def __init__(self, size: int = 1024) -> None:
        self._ring: deque[Event] = deque(maxlen=size)
        self._subscriptions: set[Subscription] = set()

    @property
    def listeners(self) -> int:
        return len(self._subscriptions)

    def publish(self, type: EventType, action: str, id: str, attributes: Mapping[str, str], *, time: int = 0) -> Event:
        """Record and hand out an event (now, unless `time` is given)."""
        event = Event(type, action, id, dict(attributes), time or _now())
        self._ring.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
        return event

    def subscribe(self, *, since: int = 0, until: int = 0, filters: Filters | None = None) -> Subscription:
        """Events from the ring (only when `since` or `until` was given), then live ones until `until`.

        The subscription stands when this returns, not at the first `anext`; its `aclose()` ends it. Times are nanoseconds.
        """
        check_keys(filters or {}, KNOWN_FILTERS)
        subscription = Subscription(self._subscriptions, until, filters or {})
        if since or until:
            for event in self._ring:
                if event.time >= since and not (until and event.time > until):
                    subscription.offer(event)
        return subscription

    def close(self) -> None:
        """End every subscription, after what it has not read yet."""
        for subscription in tuple(self._subscriptions):
            subscription.end()


class Subscription:
    """An asynchronous iterator over events; made by `Events.subscribe`."""

    def __init__(self, subscriptions: set[Subscription], until: int, filters: Filters) -> None:
        self._subscriptions = subscriptions
        self._until = until
        self._filters = filters
        self._waiting: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._overrun = False
        subscriptions.add(self)

    def offer(self, event: Event) -> None:
        if self._ended or not matches(event, self._filters):
            return
        if len(self._waiting) >= SUBSCRIBER_LIMIT:
            self._overrun = True
            self.end()
            return
        self._waiting.append(event)
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._subscriptions.discard(self)
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._overrun:
                raise errors.Unavailable(f"events: {SUBSCRIBER_LIMIT} events were not read in time; subscribe again with `since`")
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            remaining = None if not self._until else (self._until - _now()) / NANOSECONDS
            if remaining is not None and remaining <= 0:
                self.end()
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), remaining)
            except TimeoutError:
                self.end()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self.end()
        self._waiting.clear()


def matches(event: Event, filters: Filters) -> bool:
    """Docker's rules: names and ids by prefix, `exec_create` for every `exec_create:

    …`, an image of a container by its `image` attribute.
    """
    if not matches_any(event.type, filters.get("type", ())) or not matches_any(event.scope, filters.get("scope", ())):
        return False
    if wanted := filters.get("event", ()):
        verb = event.action.partition(":")[0]
        if event.action not in wanted and not (verb in wanted and verb in ("exec_create", "exec_start", "health_status")):
            return False
    if not matches_labels(event.attributes, filters.get("label", ())):
        return False
    for kind in ("container", "daemon", "network", "volume", "plugin", "service", "node", "secret", "config"):
        if (wanted := filters.get(kind, ())) and not (
            event.type == kind and (matches_prefix(event.id, wanted) or matches_prefix(event.attributes.get("name", ""), wanted))
        ):
            return False
    return _matches_image(event, filters.get("image", ()))


def _matches_image(event: Event, wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return True
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    if event.type not in ("image", "container"):
        return False
    without_tag = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return any(value in (name, without_tag) or (event.type == "image" and event.id == value) for value in wanted)


def _now() -> int:
    return time.time_ns()
