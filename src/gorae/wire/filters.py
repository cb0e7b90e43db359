"""The `filters` parameter: `{"label": {"a=b": true}}`, or `{"label": ["a=b"]}` as old clients write it.

Standard library only: the command line loads this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from gorae.errors import InvalidArgument
from gorae.oci.json import read_json

LIMIT = 1 << 20

Filters = dict[str, tuple[str, ...]]


def parse(text: str) -> Filters:
    """Values by name; empty for an empty text. `InvalidArgument` for anything that is not a filter."""
    if not text:
        return {}
    if len(text) > LIMIT:
        raise InvalidArgument(f"invalid filter: longer than {LIMIT} characters")
    document = read_json(text.encode(errors="surrogatepass"), "invalid filter")
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidArgument('invalid filter: expected an object such as {"label": {"a=b": true}}')
    return {name: _values(name, values) for name, values in document.items()}


def check(filters: Filters, known: Iterable[str]) -> Filters:
    """The filters if all are known here; Docker's words for one that is not."""
    allowed = frozenset(known)
    for name in filters:
        if name not in allowed:
            raise InvalidArgument(f"invalid filter '{name}': known here: {', '.join(sorted(allowed))}")
    return filters


def boolean(filters: Filters, name: str, default: bool) -> bool:
    """A filter that is a flag: `true` or `1`, `false` or `0`; all of its values must agree."""
    values = filters.get(name, ())
    if not values:
        return default
    wanted = {{"true": True, "1": True, "false": False, "0": False}.get(value.lower()) for value in values}
    if len(wanted) != 1 or None in wanted:
        raise InvalidArgument(f"invalid filter '{name}={list(values)}': expected true or false")
    return True in wanted


def format(filters: Mapping[str, Iterable[str]]) -> str:
    """The parameter as clients send it; empty for no filters."""
    if not filters:
        return ""
    return json.dumps({name: dict.fromkeys(values, True) for name, values in filters.items()}, separators=(",", ":"))


def _values(name: str, values: object) -> tuple[str, ...]:
    if values is None:
        return ()
    if isinstance(values, dict) and all(isinstance(wanted, bool) for wanted in values.values()):
        return tuple(value for value, wanted in values.items() if wanted)
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise InvalidArgument(f"invalid filter '{name}': expected an object of true values or a list of strings")
