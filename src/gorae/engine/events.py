"""Events: a bounded ring for `since`/`until`, and live subscribers.

An event carries Docker's own words for type and action (`container`, `exec_create: sh`), because they are what a filter compares and what every
client switches on. Publishing never blocks: a subscriber that does not read loses its subscription, not the engine its memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Literal

import msgspec

EventType = Literal["container", "image", "daemon", "network", "volume", "builder"]


class Event(msgspec.Struct, frozen=True):
    """`time` is nanoseconds since the epoch; `attributes` has `name`, `image`, labels and what the action adds (`exitCode`, `signal`, `execID`)."""

    type: EventType
    action: str
    id: str
    attributes: dict[str, str]
    time: int
    scope: str = "local"


class Events:
    """The ring of the last `size` events, and everybody who listens."""

    def __init__(self, size: int = 1024) -> None: ...

    def publish(self, type: EventType, action: str, id: str, attributes: Mapping[str, str], *, time: int = 0) -> Event:
        """Record and hand out an event (now, unless `time` is given)."""
        raise NotImplementedError

    def subscribe(self, *, since: int = 0, until: int = 0, filters: Mapping[str, tuple[str, ...]] | None = None) -> AsyncIterator[Event]:
        """Events from the ring (only when `since` or `until` was given), then live ones until `until`.

        The subscription stands when this returns, not at the first `anext`; `aclose()` of the iterator ends it. Times are nanoseconds.
        """
        raise NotImplementedError
