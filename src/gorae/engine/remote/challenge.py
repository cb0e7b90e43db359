"""WWW-Authenticate: which of its challenges can be met (RFC 9110 §11.6.1, RFC 6750 §3). Pure.

    Bearer realm="https://host/token",service="host",scope="repository:app:pull"     Basic realm="x"
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z]+)(?:\s+|$)(?!=)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_LONGEST = 8192


@dataclass(frozen=True)
class Challenge:
    scheme: str
    """"basic" or "bearer"."""
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Those of a kind that we know, Bearer first."""
    found: list[Challenge] = []
    for header in headers:
        text, position = header[:_LONGEST], 0
        while match := _SCHEME.match(text, position):
            words: dict[str, str] = {}
            position = match.end()
            while parameter := _PARAMETER.match(text, position):
                name, quoted, plain = parameter.groups()
                words.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
                position = parameter.end()
            if match[1].lower() in ("basic", "bearer"):
                known = {name: words.get(name, "") for name in ("realm", "service", "scope")}
                found.append(Challenge(match[1].lower(), **known))
    return tuple(sorted(found, key=lambda each: each.scheme != "bearer"))
