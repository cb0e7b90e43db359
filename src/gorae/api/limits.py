"""What one client may ask of the server: sizes, times, connections. Whoever goes beyond is told so and nobody else notices.

    connections of one client    429, closed      a client is an address, or a user at a unix socket
    first request's head late    closed           TCP only: a unix client costs its own machine
    a head begun and not ended   408, closed
    head too long                431, closed      request line and fields together
    a line, a field, fields      400, closed      aiohttp's parser refuses them
    body too long                413              what is parsed; uploads have no bound but the disk's
    body late                    408
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gorae.errors import InvalidArgument
from gorae.wire import codec


@dataclass(frozen=True)
class Limits:
    line: int = 64 << 10  # filters travel in the request line
    field: int = 64 << 10  # credentials in a header
    fields: int = 128
    head: int = 256 << 10
    body: int = codec.LIMIT
    head_patience: float = 30.0  # seconds
    body_patience: float = 60.0
    connections: int = 512  # of one address
    connections_of_user: int = 16384  # at a unix socket, where an attached client has two or three for each container


LIMITS = Limits()


class Untrusted(InvalidArgument):
    """400, and the end of the connection: where the next request begins is anybody's guess."""


class TooLarge(Untrusted):
    """413."""


class HeadTooLarge(Untrusted):
    """431."""


class TooSlow(Untrusted):
    """408."""


class Census:
    """How many connections each client has."""

    def __init__(self) -> None:
        self._counts: Counter[object] = Counter()

    def enter(self, client: object, most: int) -> bool:
        """Whether one more is allowed; counted if so."""
        if self._counts[client] >= most:
            return False
        self._counts[client] += 1
        return True

    def leave(self, client: object) -> None:
        self._counts[client] -= 1
        if self._counts[client] <= 0:
            del self._counts[client]
