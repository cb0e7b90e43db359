"""The JSON lines by which load, import, pull, push and build tell how far they are: an object a line, then CRLF as Docker writes.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from gorae.wire.codec import encode


class ProgressDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    current: int = 0
    total: int = 0


class ErrorDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    code: int = 0
    message: str = ""


class Line(Struct, frozen=True, kw_only=True):
    stream: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    progress_detail: ProgressDetail | UnsetType = field(default=UNSET, name="progressDetail")
    progress: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    error_detail: ErrorDetail | UnsetType = field(default=UNSET, name="errorDetail")
    error: str | UnsetType = UNSET
    aux: Any | UnsetType = UNSET


def line(value: Line) -> bytes:
    return encode(value) + b"\r\n"


def failure(message: str) -> bytes:
    """The last line of a stream that failed after its 200 was sent; clients read both fields."""
    return line(Line(error_detail=ErrorDetail(message=message), error=message))
