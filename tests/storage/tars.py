"""Making archives, good and hostile, with `tarfile` and by hand."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable

from gorae.storage.archive import writer
from gorae.storage.archive.entry import Entry, Kind


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target, **fields)


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def raw(*entries: tuple[Entry, bytes]) -> bytes:
    """With our own writer, which does not mind what it is told."""
    parts = [writer.header(entry) + data + writer.padding(len(data)) for entry, data in entries]
    return b"".join(parts) + writer.END


def special(flag: bytes, data: bytes, size: int | None = None) -> bytes:
    """A header of any type with its data: x, g, L, K, S …"""
    header = bytearray(writer.header(Entry(b"special", Kind.FILE, size=len(data) if size is None else size)))
    header[156:157] = flag
    return fixed(header) + data + writer.padding(len(data))


def fixed(header: bytearray) -> bytes:
    """With the right checksum again."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def portions(data: bytes, size: int = 1 << 16) -> Callable[[], bytes]:
    parts: Iterable[bytes] = (data[start : start + size] for start in range(0, len(data), size))
    iterator = iter(parts)
    return lambda: next(iterator, b"")
