"""API versions: which we speak, and which one a client and a server agree on.

    1.24 ─────────────── spoken ─────────────── 1.56
    older: 400 "client version … is too old"    newer: 400 "client version … is too new"

Standard library only: the command line loads this.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from gorae.errors import InvalidArgument
from gorae.version import API_VERSION, API_VERSION_MINIMUM


class Version(NamedTuple):
    """An API version; compares as numbers, so that 1.9 < 1.24."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`1.41` or `v1.41`; raises `InvalidArgument` for anything else."""
        major, dot, minor = text.removeprefix("v").partition(".")
        if not (dot and all(part.isascii() and part.isdigit() and len(part) <= 4 for part in (major, minor))):
            raise InvalidArgument(f"invalid API version {text!r}: expected something like {NEWEST}")
        return cls(int(major), int(minor))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


OLDEST = Version.parse(API_VERSION_MINIMUM)
NEWEST = Version.parse(API_VERSION)


def check(version: Version) -> Version:
    """The version if it is spoken here; otherwise `InvalidArgument` in the words that Docker's clients know."""
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {version} is too old. Minimum supported API version is {OLDEST}, "
            "please upgrade your client to a newer version"
        )
    if version > NEWEST:
        raise InvalidArgument(f"client version {version} is too new. Maximum supported API version is {NEWEST}")
    return version


def negotiate(server: str) -> Version:
    """What a client of ours speaks with a server whose `Api-Version` header is `server` (none: 1.24, as for Docker's clients)."""
    offered = Version.parse(server) if server else OLDEST
    if offered < OLDEST:
        raise InvalidArgument(f"the server's API version {offered} is too old: at least {OLDEST} is needed")
    return min(offered, NEWEST)
