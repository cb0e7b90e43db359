"""`--filter` words: parsed values and how each kind of key matches. Pure.

Filters travel as a mapping from key to the values asked for; values of one key are alternatives, keys must all hold (labels:
each must hold).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gorae import errors

Filters = Mapping[str, tuple[str, ...]]

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def check_keys(filters: Filters, known: Collection[str]) -> None:
    """InvalidArgument in Docker's words (`invalid filter 'x'`) for a key that is not in `known`."""
    for key in filters:
        if key not in known:
            raise errors.InvalidArgument(f"invalid filter '{key}'")


def matches_any(value: str, wanted: tuple[str, ...]) -> bool:
    """Equal to one of `wanted`, or nothing is wanted."""
    return not wanted or value in wanted


def matches_prefix(value: str, wanted: tuple[str, ...]) -> bool:
    """Begins with one of `wanted`, or nothing is wanted."""
    return not wanted or value.startswith(wanted)


def matches_labels(labels: Mapping[str, str], wanted: tuple[str, ...]) -> bool:
    """Each `key` or `key=value` of `wanted` holds."""
    for condition in wanted:
        key, equals, value = condition.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def boolean(filters: Filters, key: str, default: bool) -> bool:
    """`1/0/true/false` of a key; InvalidArgument otherwise."""
    values = set(filters.get(key, ()))
    if not values:
        return default
    if values <= TRUE:
        return True
    if values <= FALSE:
        return False
    raise errors.InvalidArgument(f"invalid filter '{key}={sorted(values)}'")
