"""What a registry answered, as our errors.

    Interrupted     429, 5xx, resets, silence: the same again may well succeed
    Refused         any other status: `code` is the specification's (MANIFEST_UNKNOWN …), `message` the registry's own words

`pulling` and `pushing` put a refusal into the words of Docker, which people and scripts know.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from gorae.engine.remote.rules import Patience
from gorae.errors import Forbidden, GoraeError, InvalidArgument, NotFound, Unavailable
from gorae.oci.json import read_json

T = TypeVar("T")
LONGEST_MESSAGE = 300
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Interrupted(Unavailable):
    """`after`: the seconds that the registry wants us to wait, if it says."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refused(GoraeError):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code.lower().replace('_', ' ')}: {message}" if code else message)
        self.status = status
        self.code = code


def refused(status: int, body: bytes, host: str) -> Refused:
    """From an error document, or whatever else came."""
    try:
        first = read_json(body, "error", 1 << 16)["errors"][0]
        code, message = str(first.get("code", ""))[:64], str(first.get("message", ""))[:LONGEST_MESSAGE]
    except (InvalidArgument, LookupError, TypeError, AttributeError):
        code, message = "", ""
    if not code and status in (401, 403):
        code = "UNAUTHORIZED" if status == 401 else "DENIED"
    words = "".join(letter if letter.isprintable() else "?" for letter in message)
    return Refused(status, code if code.replace("_", "").isalnum() else "", words or f"{host} answered with status {status}")


def pulling(error: Refused, name: str) -> GoraeError:
    if error.code in ("DENIED", "UNAUTHORIZED") or error.status in (401, 403):
        return NotFound(f"pull access denied for {name}, repository does not exist or may require 'docker login': {error}")
    if error.code == "NAME_UNKNOWN":
        return NotFound(f"repository {name} not found: {error}")
    if error.status == 404:
        return NotFound(f"manifest for {name} not found: {error if error.code else 'manifest unknown: manifest unknown'}")
    return Unavailable(f"pull of {name} failed: {error}")


def pushing(error: Refused, name: str) -> GoraeError:
    if error.status in (401, 403):
        return Forbidden(f"push of {name} refused: {error}: requested access to the resource is denied; `login` first")
    return Unavailable(f"push of {name} failed: {error}")


def retry_after(value: str) -> float | None:
    """Seconds, from a number or a date (RFC 9110 §10.2.3)."""
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    from email.utils import parsedate_to_datetime  # two milliseconds of goraed's start

    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


async def pause(patience: Patience, number: int, error: Interrupted) -> None:
    """Before try number `number` (from 1). Raises `error` when it is not worth it."""
    if number >= patience.attempts or (error.after or 0.0) > patience.longest_pause:
        raise error
    doubled = min(patience.pause * 2 ** (number - 1), patience.longest_pause)
    await asyncio.sleep(error.after if error.after is not None else doubled * (0.75 + random.random() / 2))


async def persist(patience: Patience, attempt: Callable[[], Awaitable[T]]) -> T:
    number = 0
    while True:
        try:
            return await attempt()
        except Interrupted as error:
            number += 1
            await pause(patience, number, error)
