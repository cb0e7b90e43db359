"""Writing tar: the same entries give the same bytes.

ustar where that is enough, a pax header in front where not: long or odd names, extended attributes, large numbers, times with
a fraction. No user names, no access times, nothing of the process that writes.
"""

from __future__ import annotations

from gorae.storage.archive import pax
from gorae.storage.archive.entry import Entry, Kind
from gorae.storage.archive.reader import BLOCK, HEADER, XATTR

END = bytes(2 * BLOCK)
LARGEST = 8**11 - 1  # eleven octal digits: size, mtime
LARGEST_ID = 8**7 - 1


def header(entry: Entry) -> bytes:
    """What stands in front of the data of `entry` (which is followed by `padding(entry.size)`)."""
    name = entry.name + b"/" if entry.kind is Kind.DIRECTORY and not entry.name.endswith(b"/") else entry.name
    size = entry.size if entry.kind is Kind.FILE else 0
    records: list[tuple[bytes, bytes]] = []
    short = _split(name)
    if short is None or not name.isascii():
        records.append((b"path", name))
    if len(entry.link) > 100 or not entry.link.isascii():
        records.append((b"linkpath", entry.link))
    if size > LARGEST:
        records.append((b"size", b"%d" % size))
    records += [(key, b"%d" % value) for key, value in ((b"uid", entry.uid), (b"gid", entry.gid)) if value > LARGEST_ID]
    whole, fraction = divmod(entry.mtime, 10**9)
    if fraction or not 0 <= whole <= LARGEST:
        records.append((b"mtime", pax.seconds(entry.mtime)))
    records += [(XATTR + key, value) for key, value in sorted(entry.xattrs.items())]
    block = _block(entry, short or (b"", name[:100]), size, min(max(whole, 0), LARGEST))
    if not records:
        return block
    data = pax.format(records)
    about = Entry(b"PaxHeaders/" + name.rpartition(b"/")[2][:80], Kind.FILE, mode=0o644, size=len(data))
    return _block(about, (b"", about.name), len(data), 0, flag=b"x") + data + padding(len(data)) + block


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _block(entry: Entry, name: tuple[bytes, bytes], size: int, mtime: int, flag: bytes | None = None) -> bytes:
    def octal(value: int, width: int) -> bytes:
        return b"%0*o\0" % (width - 1, value)

    fields = [
        name[1],
        octal(entry.mode & 0o7777, 8),
        octal(min(entry.uid, LARGEST_ID), 8),
        octal(min(entry.gid, LARGEST_ID), 8),
        octal(min(size, LARGEST), 12),
        octal(mtime, 12),
        b" " * 8,
        flag or entry.kind.value,
        entry.link[:100],
        b"ustar\x0000",
        b"",
        b"",
        octal(entry.major, 8),
        octal(entry.minor, 8),
        name[0],
    ]
    block = HEADER.pack(*fields)
    fields[6] = b"%06o\0 " % sum(block)
    return HEADER.pack(*fields)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix (at most 155 bytes) and name (at most 100), None when it cannot be so."""
    if len(name) <= 100:
        return b"", name
    slash = name.rfind(b"/", 0, 156)
    if slash > 0 and 0 < len(name) - slash - 1 <= 100:
        return name[:slash], name[slash + 1 :]
    return None
