"""Which capabilities a container gets. Pure.

    privileged          all
    --cap-add ALL       all, without those dropped
    --cap-drop ALL      those added
    otherwise           Docker's 14, without those dropped, with those added

What the engine itself does not hold it cannot give: the answer is cut to its bounding set and the rest is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gorae import errors
from gorae.linux.capability import NAMES

DEFAULT = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
)
ALL = "ALL"


class Granted(NamedTuple):
    """`names` in the kernel's order; `missing` were wanted and cannot be given."""

    names: tuple[str, ...]
    missing: tuple[str, ...]


def normal(word: str) -> str:
    """`net_raw`, `CAP_NET_RAW`, `all` → `CAP_NET_RAW`, `ALL`; InvalidArgument in Docker's words."""
    upper = word.upper()
    if upper in (ALL, "CAP_ALL"):
        return ALL
    name = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if name not in NAMES:
        raise errors.InvalidArgument(f'invalid capability: unknown capability: "{ascii(name)[1:-1][:60]}"')
    return name


def wanted(add: Iterable[str], drop: Iterable[str], *, privileged: bool) -> frozenset[str]:
    """What was asked for, before the engine's own bounds."""
    added = {normal(word) for word in add}
    dropped = {normal(word) for word in drop}
    if privileged:
        return frozenset(NAMES)
    if ALL in added:
        return frozenset(NAMES) - dropped
    if ALL in dropped:
        return frozenset(added)
    return frozenset(DEFAULT) - dropped | added


def granted(asked: frozenset[str], bounding: int) -> Granted:
    """`asked` ∩ the engine's bounding set."""
    ordered = sorted(asked, key=NAMES.__getitem__)
    held = tuple(name for name in ordered if bounding >> NAMES[name] & 1)
    return Granted(held, tuple(name for name in ordered if name not in held))


def warning(missing: tuple[str, ...]) -> str:
    return f"the engine does not hold {', '.join(missing)}: the container runs without"
