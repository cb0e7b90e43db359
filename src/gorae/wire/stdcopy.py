"""Docker's multiplexed stream: attach, exec and logs of a container without a terminal.

    ┌────────┬───────────┬──────────────────────┬─────────┐
    │ stream │ 0   0   0 │ length, big-endian   │ payload │ …
    │ 1 byte │ 3 bytes   │ 4 bytes              │         │
    └────────┴───────────┴──────────────────────┴─────────┘

`stream` is 0 stdin (as Docker's writers sometimes label it), 1 stdout, 2 stderr, 3 an error of the daemon.
Standard library only: the command line loads this.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gorae.errors import CorruptData

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
HEADER = struct.Struct(">BxxxL")

# A length is a peer's claim; what is kept for it is bounded by what has really arrived, but a claim beyond this is nonsense.
MAX_FRAME = 1 << 30


def frame(stream: int, payload: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(stream, len(payload)) + payload


class Decoder:
    """Turns arriving bytes into (stream, payload) pieces, without waiting for a frame to be complete.

    A piece is the whole payload or the part of it that has arrived: a long frame comes in several pieces, so nothing but
    eight bytes of header is ever held back.
    """

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The pieces that `data` completes or continues; raises `CorruptData` for a stream that does not exist."""
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                self._left -= len(piece)
                view = view[len(piece) :]
                yield self._stream, bytes(piece)
                continue
            missing = HEADER.size - len(self._header)
            self._header += bytes(view[:missing])
            view = view[missing:]
            if len(self._header) == HEADER.size:
                self._begin()

    def _begin(self) -> None:
        stream, length = HEADER.unpack(self._header)
        if stream > SYSTEM_ERROR or self._header[1:4] != b"\0\0\0":
            raise CorruptData(f"not a multiplexed stream: a frame begins with {self._header.hex()}")
        if length > MAX_FRAME:
            raise CorruptData(f"multiplexed stream: a frame of {length} bytes")
        self._header, self._stream, self._left = b"", stream, length

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes so far end with a whole frame: a stream that stops elsewhere was cut."""
        return not self._header and not self._left
