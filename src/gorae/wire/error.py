"""The shape of a failure."""

from __future__ import annotations

from msgspec import field

from gorae.wire.codec import Shape


class ErrorResponse(Shape, frozen=True, kw_only=True):
    message: str = field(name="message")
