"""The lines of `GET /events`."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from gorae.wire.codec import Shape


class Actor(Shape, frozen=True, kw_only=True):
    id: str = field(name="ID")
    attributes: dict[str, str] = {}


class Event(Shape, frozen=True, kw_only=True):
    """`status`, `id` and `from` are told until API 1.51, for containers and images."""

    status: str | UnsetType = field(default=UNSET, name="status")
    id: str | UnsetType = field(default=UNSET, name="id")
    origin: str | UnsetType = field(default=UNSET, name="from")
    type: str
    action: str
    actor: Actor
    scope: str = field(default="local", name="scope")
    time: int = field(name="time")
    time_nano: int = field(name="timeNano")
