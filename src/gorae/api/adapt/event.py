"""The engine's events → the lines of `GET /events`."""

from __future__ import annotations

from typing import Any

from gorae.api.adapt.moment import NANOSECONDS
from gorae.engine.events import Event
from gorae.wire import event as wire
from gorae.wire.versions import Version


def event(value: Event, version: Version) -> wire.Event:
    older: dict[str, Any] = {}
    if version < (1, 52) and value.type in ("container", "image"):
        older = {"status": value.action, "id": value.id}
        if value.type == "container":
            older["origin"] = value.attributes.get("image", "")
    return wire.Event(
        **older,
        type=value.type,
        action=value.action,
        actor=wire.Actor(id=value.id, attributes=value.attributes),
        scope=value.scope,
        time=value.time // NANOSECONDS,
        time_nano=value.time,
    )
