"""WWW-Authenticate: `Bearer realm="…",service="…",scope="…"` or `Basic realm="…"` (RFC 9110 §11.6.1, RFC 6750 §3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_LONGEST = 8192


@dataclass(frozen=True)
class Challenge:
    scheme: str
    """In lower case."""
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str) -> Challenge | None:
    """The first one of a header; None when it is neither Basic nor Bearer."""
    scheme, _, rest = header[:_LONGEST].strip().partition(" ")
    if scheme.lower() not in ("basic", "bearer"):
        return None
    found: dict[str, str] = {}
    position = 0
    while match := _PARAMETER.match(rest, position):
        name, quoted, plain = match.groups()
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
        position = match.end()
    return Challenge(scheme.lower(), found.get("realm", ""), found.get("service", ""), found.get("scope", ""))
