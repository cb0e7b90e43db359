"""Lists in pages: `n` and `last` (spec.md, Listing Tags), and the Link to the next page (RFC 5988)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from gorae.registry.errors import Refusal

MOST = 1000
"""However many are asked for (CVE-2023-2253)."""


def parse_count(text: str | None) -> int:
    if text is None:
        return MOST
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refusal("PAGINATION_NUMBER_INVALID", f"n is {text[:40]!a}: a number from 0 is expected", detail={"n": text[:40]})
    return min(int(text), MOST)


def page(items: Sequence[str], count: int, last: str | None, order: Callable[[str], Any] = str) -> tuple[Sequence[str], str | None]:
    """The items behind `last`, and the last of them when more follow. `items` are sorted by `order`."""
    if last is not None:
        behind = order(last)
        items = [each for each in items if order(each) > behind]
    shown = items[:count]
    return shown, shown[-1] if shown and len(items) > count else None


def link(path: str, count: int, last: str, **others: str) -> dict[str, str]:
    return {"Link": f'<{path}?{urlencode({"n": count, "last": last, **others})}>; rel="next"'}
