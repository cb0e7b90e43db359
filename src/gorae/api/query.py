"""The parameters of a request's query, read as Docker reads them, with 400 for what makes no sense."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gorae.errors import InvalidArgument
from gorae.wire import filters

if TYPE_CHECKING:
    from multidict import MultiMapping  # what aiohttp's requests have

NANOSECONDS = 1_000_000_000

# Docker's `httputils.BoolValue`: whatever is not one of these is true.
FALSE = frozenset({"", "0", "no", "false", "none"})

UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": NANOSECONDS, "m": 60 * NANOSECONDS, "h": 3600 * NANOSECONDS}


class Query:
    def __init__(self, parameters: MultiMapping[str]) -> None:
        self._parameters = parameters

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def text(self, name: str, default: str = "") -> str:
        value = self._parameters.get(name) or default
        if "\0" in value:
            raise InvalidArgument(f"invalid value for {name}: it contains NUL")
        return value

    def list(self, name: str) -> list[str]:
        return list(self._parameters.getall(name, ()))

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self._parameters.get(name)
        return default if value is None else value.strip().lower() not in FALSE

    def integer(self, name: str, default: int | None = None) -> int | None:
        text = self._parameters.get(name)
        if not text:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise InvalidArgument(f"invalid value for {name}: {text!r} is not a number")
        return int(text)

    def required_integer(self, name: str, minimum: int, maximum: int) -> int:
        value = self.integer(name)
        if value is None:
            raise InvalidArgument(f"invalid value for {name}: a number is needed")
        if not minimum <= value <= maximum:
            raise InvalidArgument(f"invalid value for {name}: {value} is not between {minimum} and {maximum}")
        return value

    def time(self, name: str) -> int:
        """Seconds since the epoch with up to nine decimals → nanoseconds; 0 when absent."""
        return parse_time(name, self._parameters.get(name) or "")

    def filters(self) -> Mapping[str, tuple[str, ...]]:
        return filters.parse(self._parameters.get("filters") or "")


def parse_time(name: str, text: str) -> int:
    if not text:
        return 0
    found = re.fullmatch(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?", text, re.ASCII)
    if found is None:
        raise InvalidArgument(f"invalid value for {name}: {text!r} is not a time in seconds since 1970, such as 1700000000.5")
    return int(found[1]) * NANOSECONDS + int((found[2] or "").ljust(9, "0"))


def parse_duration(text: str) -> int | None:
    """Go's duration (`1h30m`, `1.5s`) → nanoseconds; None when it is none."""
    number = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
    if not re.fullmatch(rf"(?:(?:{number})(?:ns|us|µs|ms|s|m|h))+", text, re.ASCII) or len(text) > 64:
        return None
    return sum(int(float(value) * UNITS[unit]) for value, unit in re.findall(rf"({number})(ns|us|µs|ms|s|m|h)", text))
