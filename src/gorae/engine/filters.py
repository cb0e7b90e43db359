"""`--filter` words: parsed values and how each kind of key matches. Pure.

Filters travel as a mapping from key to the values asked for; values of one key are alternatives, keys must all hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

Filters = Mapping[str, tuple[str, ...]]


def check_keys(filters: Filters, known: Collection[str]) -> None:
    """InvalidArgument in Docker's words (`invalid filter 'x'`) for a key that is not in `known`."""
    raise NotImplementedError


def matches_any(value: str, wanted: tuple[str, ...]) -> bool:
    """Equal to one of `wanted`, or nothing is wanted."""
    raise NotImplementedError


def matches_labels(labels: Mapping[str, str], wanted: tuple[str, ...]) -> bool:
    """Each `key` or `key=value` of `wanted` holds."""
    raise NotImplementedError


def boolean(filters: Filters, key: str, default: bool) -> bool:
    """`1/0/true/false` of a key; InvalidArgument otherwise."""
    raise NotImplementedError
