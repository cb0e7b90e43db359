"""Compressed streams, told apart by their first bytes, and read in portions of bounded size.

    gzip    1f 8b            isal (several members, one behind the other, as some tools write)
    zstd    28 b5 2f fd      zstandard (window of at most 128 MiB, as others read)
    xz      fd 37 7a 58 5a   lzma (at most 128 MiB of memory)
    bzip2   42 5a 68         bz2

No program is executed (CVE-2014-9357, CVE-2026-41567).
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from typing import Any, Literal, Protocol

from isal import igzip_lib

from gorae.errors import CorruptData
from gorae.oci import media_type

Compression = Literal["", "gzip", "zstd", "xz", "bzip2"]
Read = Callable[[], bytes]

MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "xz": b"\xfd7zXZ\x00", "bzip2": b"BZh"}
MEMORY = 128 << 20
PORTION = 1 << 20
DAMAGED: tuple[Any, ...] = (OSError, EOFError, ValueError, lzma.LZMAError, igzip_lib.IsalError)


class Decompressor(Protocol):
    """Of one member: what bz2, lzma and isal have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def detect(start: bytes) -> Compression:
    """By the first six bytes; "" is not compressed (or empty)."""
    return next((name for name, magic in MAGIC.items() if start.startswith(magic)), "")


def layer_media_type(start: bytes) -> str:
    """Of a layer that begins so. The last two are no types of the specification: such a layer is kept as it came, and is not
    pushed so."""
    return media_type.OCI_LAYER + {"": "", "gzip": "+gzip", "zstd": "+zstd", "xz": "+xz", "bzip2": "+bzip2"}[detect(start)]


def decompressed(read: Read) -> Read:
    """A reader of the plain bytes behind `read`; both answer b"" at the end. Raises `CorruptData` as it goes."""
    start = b""
    while len(start) < 6 and (more := read()):
        start += more
    kind = detect(start)
    held = [start] if start else []

    def again() -> bytes:
        return held.pop() if held else read()

    if kind == "":
        return again
    if kind == "zstd":
        from gorae.storage.archive import zstd  # where it is needed: a tenth of a worker's start

        portions = zstd.decompressed(again)
        return lambda: next(portions, b"")
    return _members(again, kind)


def _members(read: Read, kind: Compression) -> Read:
    current = _decompressor(kind)
    pending = b""
    ended = False

    def next_portion() -> bytes:
        nonlocal current, pending, ended
        while not ended:
            if current.eof:
                pending = _following(current.unused_data, read)
                if not pending.startswith(MAGIC[kind][:2]):
                    ended = True
                    break
                current = _decompressor(kind)
            if current.needs_input and not pending:
                pending = read()
                if not pending:
                    raise CorruptData(f"the {kind} stream is truncated")
            try:
                portion = current.decompress(pending, PORTION)
            except DAMAGED as error:
                raise CorruptData(f"the {kind} stream is damaged: {error}") from None
            pending = b""
            if portion:
                return portion
        while read():
            pass
        return b""

    return next_portion


def _following(rest: bytes, read: Read) -> bytes:
    """At least the first two bytes behind a member, less zeros, which are padding (gzip on tapes; xz pads with them by its
    specification)."""
    while len(rest := rest.lstrip(b"\0")) < 2 and (more := read()):
        rest += more
    return rest


def _decompressor(kind: Compression) -> Decompressor:
    if kind == "gzip":
        gzip: Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return gzip
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
    return bz2.BZ2Decompressor()
