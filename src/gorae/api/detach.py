"""The keys by which a user leaves a container without stopping it: ctrl-p ctrl-q, or what `detachKeys` says.

    keys  = key { "," key }
    key   = one ASCII character | "ctrl-" ( a … z | @ | [ | \\ | ] | ^ | _ )

    matched 0 ──key 1──▶ 1 ──key 2──▶ … ──last key──▶ detached
        ▲                │
        └── other byte ──┘   what was held back goes to the program, as typed

Pure: bytes in, bytes out.
"""

from __future__ import annotations

from gorae.errors import InvalidArgument

DEFAULT = b"\x10\x11"  # ctrl-p, ctrl-q

CONTROL = {f"ctrl-{chr(0x60 + code)}": code for code in range(1, 27)} | {
    "ctrl-@": 0, "ctrl-[": 27, "ctrl-\\": 28, "ctrl-]": 29, "ctrl-^": 30, "ctrl-_": 31,
}  # fmt: skip


def parse(text: str) -> bytes:
    """The bytes that the keys send; the default for an empty text."""
    if not text:
        return DEFAULT
    if len(text) > 256:
        raise InvalidArgument("invalid detach keys: longer than 256 characters")
    codes = []
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            codes.append(ord(key))
        elif key.lower() in CONTROL:
            codes.append(CONTROL[key.lower()])
        else:
            raise InvalidArgument(
                f"invalid detach keys ({text}) provided: {key!r} is neither one character nor ctrl- and one of a-z @ [ \\ ] ^ _"
            )
    return bytes(codes)


class Detacher:
    """Watches what a terminal sends. `detached` becomes true with the last key; bytes after it are dropped."""

    def __init__(self, keys: bytes = DEFAULT) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """What of `data` (and of what was held back) goes to the program now."""
        if not self._matched and self._keys[0] not in data:
            return b"" if self.detached else data
        passed = bytearray()
        for code in data:
            if self.detached:
                break
            if code == self._keys[self._matched]:
                self._matched += 1
                self.detached = self._matched == len(self._keys)
                continue
            passed += self._keys[: self._matched]
            self._matched = 0
            if code == self._keys[0] and len(self._keys) > 1:
                self._matched = 1
            else:
                passed.append(code)
        return bytes(passed)
