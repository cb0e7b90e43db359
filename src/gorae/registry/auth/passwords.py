"""htpasswd files: `user:$2y$…` a line, bcrypt only; everything weaker is refused when the file is read.

A check takes bcrypt's time whether the user exists or not, and happens in a thread. Who was right is remembered for REMEMBERED
seconds under a keyed hash, so that a pull of forty layers does not cost forty bcrypts; who was wrong is not.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import secrets
import time
from collections import OrderedDict

import bcrypt

from gorae.errors import InvalidArgument

REMEMBERED = 300.0
MOST_REMEMBERED = 1024
LONGEST = 72
"""bcrypt reads no further."""
LANES = 2
"""Checks at once: a flood of guesses must not take every core."""
_HASH = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}")
_USER = re.compile(r"[^:\s\x00-\x1f]{1,255}")
_NOBODY = b"$2b$10$" + b"." * 22 + b"KroQ6ZbRHpHJrOAlZfHf9l3QPqyvVxW"


class Passwords:
    """Reads the file again when it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._lanes = asyncio.Semaphore(LANES)
        self._seen = (0, 0)
        self._hashes: dict[str, bytes] = {}
        self._reload()

    async def check(self, user: str, password: str) -> bool:
        self._reload()
        entry = hmac.digest(self._key, f"{user}\0{password}".encode(), "sha256")
        if self._right.get(entry, 0.0) > time.monotonic():
            return True
        known = self._hashes.get(user)
        async with self._lanes:
            right = await asyncio.to_thread(_matches, password, known or _NOBODY)
        if not right or known is None:
            return False
        self._right[entry] = time.monotonic() + REMEMBERED
        while len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)
        return True

    def _reload(self) -> None:
        try:
            found = os.stat(self._path)
            if (found.st_mtime_ns, found.st_ino) == self._seen:
                return
            with open(self._path, "rb") as file:
                self._hashes = parse(file.read(), self._path)
        except OSError as error:
            if self._hashes:
                return  # it is being replaced: what was read before holds
            raise InvalidArgument(f"htpasswd {self._path}: {error.strerror}") from error
        self._seen = (found.st_mtime_ns, found.st_ino)
        self._right.clear()


def parse(data: bytes, path: str = "htpasswd") -> dict[str, bytes]:
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(data.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        user, colon, hashed = line.partition(b":")
        name = user.decode("utf-8", "replace")
        if not colon or not _USER.fullmatch(name):
            raise InvalidArgument(f"{path}:{number}: expected user:hash")
        if not _HASH.fullmatch(hashed):
            raise InvalidArgument(
                f"{path}:{number}: the password of {name} is not bcrypt ($2y$…): make it with `gorae registry password`"
            )
        hashes[name] = hashed
    return hashes


def make(user: str, password: str, rounds: int = 12) -> str:
    """A line for the file."""
    if not _USER.fullmatch(user):
        raise InvalidArgument(f"user {user!a}: no colon, blank or control character, at most 255 letters")
    if not password or len(password.encode()) > LONGEST:
        raise InvalidArgument(f"a password has 1 to {LONGEST} bytes")
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()}"


def _matches(password: str, hashed: bytes) -> bool:
    given = password.encode()
    if len(given) > LONGEST or b"\0" in given:
        given = b""  # takes the same time, and is never right: `make` gives no empty password
    return bcrypt.checkpw(given, hashed) and bool(given)
