"""Digests: `algorithm:hex`, checked before any use, because they become paths and URLs (CVE-2024-3727).

Image specification, descriptor.md: sha256 (64 digits) and sha512 (128), lower case. Other algorithms are refused: what cannot be
computed cannot be verified.
"""

from __future__ import annotations

import hashlib
import re

from gorae.errors import CorruptData, InvalidArgument

_GRAMMAR = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
ALGORITHMS = ("sha256", "sha512")


class Digest(str):
    """A valid digest; making one from anything else raises `InvalidArgument`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        if not _GRAMMAR.fullmatch(text):
            raise InvalidArgument(f"invalid digest {text[:80]!a}: it must be sha256: or sha512: and lower-case hexadecimal digits")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self[:6]

    @property
    def hex(self) -> str:
        return self[7:]

    @property
    def short(self) -> str:
        """Twelve digits, as Docker shows identifiers."""
        return self[7:19]

    def verify(self, data: bytes, what: str) -> None:
        """Raises `CorruptData` unless this is the digest of `data`."""
        found = Digest.of(data, self.algorithm)
        if found != self:
            raise CorruptData(f"{what}: its digest is {found}, not {self}")
