"""Reading tar: ustar, pax, GNU and the old one, from whatever delivers portions of bytes.

    header 512 | data, padded to 512 | header | data | … | 512 zeros | 512 zeros

    name 100 · mode 8 · uid 8 · gid 8 · size 12 · mtime 12 · checksum 8 · typeflag 1 · linkname 100 · magic 8 · uname 32 · gname 32
    major 8 · minor 8 · prefix 155 · 12 unused

Numbers are octal digits, or base 256 when the first byte has its top bit set. A typeflag of x, g, L or K is no member but says
more about the next one. Nothing here touches the file system, and everything is bounded by `Limits`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from gorae.errors import CorruptData
from gorae.storage.archive import pax, sparse
from gorae.storage.archive.entry import Entry, Kind, Limits

BLOCK = 512
ZEROS = bytes(BLOCK)
HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE, b"S": Kind.FILE}
XATTR = b"SCHILY.xattr."
MOST_ID = 2**32 - 2  # -1 tells chown(2) to change nothing


class Reader:
    """`next()` until it answers None; between two, `portions()` gives the data of the member. `read` answers b"" at the end."""

    def __init__(self, read: Callable[[], bytes], limits: Limits = Limits()) -> None:  # noqa: B008 (frozen)
        self._read = read
        self._limits = limits
        self._portion = memoryview(b"")
        self._data = 0  # of the present member, yet to be read
        self._padding = 0
        self._entries = 0
        self._total = 0
        self._header = b""

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next member. After the last one, what follows the end mark has been read too: it is part of a layer's digest."""
        for _ in self.portions():
            pass
        self._skip(self._padding)
        self._padding = 0
        records: list[tuple[bytes, bytes]] = []
        long: dict[bytes, bytes] = {}
        budget = self._limits.header
        while True:
            block = self._block()
            if block is None:
                return None
            fields = HEADER.unpack(block)
            _verify(block, fields[6])
            flag = fields[7]
            if flag not in b"xXgLK" or flag == b"":
                break
            size = _number(fields[4])
            budget -= size
            if size < 0 or budget < 0:
                raise CorruptData(f"more than {self._limits.header} bytes of extended header before one member")
            data = self._take(size)
            self._skip(-size % BLOCK)
            if flag in b"LK":
                long[flag] = data.partition(b"\0")[0]
            elif flag != b"g":  # a global header says nothing that an image needs
                records = pax.parse(data)
        return self._entry(fields, records, long, budget)

    def portions(self) -> Iterator[memoryview]:
        """The stored bytes of the present member, each once; of a sparse file, its extents one behind the other."""
        while self._data:
            portion = self._some()
            taken = portion[: self._data]
            self._portion = portion[len(taken) :]
            self._data -= len(taken)
            yield taken

    def _entry(self, fields: tuple[bytes, ...], records: list[tuple[bytes, bytes]], long: dict[bytes, bytes], budget: int) -> Entry:
        name, mode, uid, gid, size, mtime, _, flag, link, magic, _, _, major, minor, prefix = fields
        kind = KINDS.get(flag)
        if kind is None:
            raise CorruptData(f"a member has the unknown type {flag!a}")
        name = name.partition(b"\0")[0]
        if magic == b"ustar\x0000" and prefix[0]:
            name = prefix.partition(b"\0")[0] + b"/" + name
        entry = Entry(name, kind, _number(mode) & 0o7777, _number(uid), _number(gid), _number(size), _number(mtime) * 10**9)
        entry.link = link.partition(b"\0")[0]
        if kind is Kind.CHARACTER or kind is Kind.BLOCK:
            entry.major, entry.minor = _number(major), _number(minor)
        if long:
            entry.name = long.get(b"L", entry.name)
            entry.link = long.get(b"K", entry.link)
        if records:
            _apply(entry, records)
        if kind is Kind.FILE and flag in b"\x000" and entry.name.endswith(b"/"):
            entry.kind = Kind.DIRECTORY  # before ustar a directory had no other mark
        self._begin(entry, flag, records, budget)
        return entry

    def _begin(self, entry: Entry, flag: bytes, records: list[tuple[bytes, bytes]], budget: int) -> None:
        """Check the member against the limits, and set what of the stream is its data."""
        if entry.size < 0 or not 0 <= entry.uid <= MOST_ID or not 0 <= entry.gid <= MOST_ID:
            raise CorruptData(f"{_shown(entry.name)}: size or owner out of range")
        if len(entry.name) > self._limits.path or len(entry.link) > self._limits.path:
            raise CorruptData(f"{_shown(entry.name)}: a path is longer than {self._limits.path} bytes")
        if b"\0" in entry.name or b"\0" in entry.link:
            raise CorruptData(f"{_shown(entry.name)}: NUL in a path")
        self._entries += 1
        if self._entries > self._limits.entries:
            raise CorruptData(f"more than {self._limits.entries} members")
        stored = entry.size if entry.kind is Kind.FILE else 0
        if entry.kind is not Kind.FILE:
            entry.size = 0
        self._data, self._padding = stored, -stored % BLOCK
        if stored + self._total > self._limits.size:
            raise CorruptData(f"more than {self._limits.size} bytes of files")
        if entry.kind is Kind.FILE and (flag == b"S" or any(key.startswith(b"GNU.sparse.") for key, _ in records)):
            self._sparse(entry, flag, records, budget)
        self._total += entry.size
        if self._total > self._limits.size:
            raise CorruptData(f"more than {self._limits.size} bytes of files")

    def _sparse(self, entry: Entry, flag: bytes, records: list[tuple[bytes, bytes]], budget: int) -> None:
        last = dict(records)
        size = last.get(b"GNU.sparse.realsize") or last.get(b"GNU.sparse.size")
        if flag == b"S":
            found, real = self._old_map(budget)
        elif last.get(b"GNU.sparse.major") == b"1":
            found, real = self._map_before_data(budget), sparse.number(size or b"")
        else:
            from_records = sparse.from_records(records)
            if from_records is None:
                raise CorruptData(f"{_shown(entry.name)}: a sparse file without a map")
            found, real = from_records, sparse.number(size or b"")
        entry.extents = sparse.checked(found, real, self._data)
        entry.size = real

    def _old_map(self, budget: int) -> tuple[list[tuple[int, int]], int]:
        """Old GNU: four entries from byte 386, the flag "more follows" at 482, the real size at 483; then blocks of 21."""
        block = self._header
        found = _old_pairs(block[386:482])
        real = _number(block[483:495])
        more = block[482]
        while more:
            budget -= BLOCK
            if budget < 0:
                raise CorruptData("sparse file: the map is too long")
            block = self._take(BLOCK)
            found += _old_pairs(block[:504])
            more = block[504]
        return found, real

    def _map_before_data(self, budget: int) -> list[tuple[int, int]]:
        """1.0: a count, then that many offsets and lengths, a line each."""
        text = b""
        while True:
            lines = text.split(b"\n")
            if len(lines) > 1:
                count = sparse.number(lines[0])
                if len(lines) - 2 >= count * 2:
                    return sparse.pairs([sparse.number(line) for line in lines[1 : 1 + count * 2]])
                if count * 4 > budget:
                    break
            budget -= (step := max(BLOCK, len(text)))  # doubling, so that splitting again and again stays linear
            step = min(step, self._data)
            if budget < 0 or not step:
                break
            text += self._take(step)
            self._data -= step
        raise CorruptData("sparse file: the map is too long or cut off")

    # Bytes

    def _block(self) -> bytes | None:
        """The next header; None at the end."""
        if not self._portion:
            self._portion = memoryview(self._read())
            if not self._portion:
                return None  # without an end mark: some writers leave it out
        block = self._take(BLOCK)
        self._header = block
        if block != ZEROS:
            return block
        if self._portion or (more := self._read()):
            self._portion = self._portion or memoryview(more)
            if self._take(BLOCK) != ZEROS:
                raise CorruptData("one block of zeros between members: an end mark has two")
        self._portion = memoryview(b"")
        while self._read():
            pass
        return None

    def _some(self) -> memoryview:
        if not self._portion:
            self._portion = memoryview(self._read())
            if not self._portion:
                raise CorruptData("the archive is truncated")
        return self._portion

    def _take(self, count: int) -> bytes:
        portion = self._portion
        if len(portion) >= count:
            self._portion = portion[count:]
            return bytes(portion[:count])
        parts: list[bytes] = []
        while count:
            portion = self._some()
            part = bytes(portion[:count])
            self._portion = portion[len(part) :]
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count:
            portion = self._some()
            taken = min(count, len(portion))
            self._portion = portion[taken:]
            count -= taken


def _verify(block: bytes, stored: bytes) -> None:
    """The sum of all bytes with the checksum itself as spaces; some old writers added signed bytes."""
    expected = _number(stored)
    total = sum(block) - sum(stored) + 8 * 0x20
    if total != expected:
        signed = total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if signed != expected:
            raise CorruptData("not a tar archive, or damaged: a header's checksum is wrong")


def _number(data: bytes) -> int:
    if data[-1] in b"\0 " and (digits := data[:-1]).isdigit():  # nearly all are; the rest of this function is for the others
        return _octal(digits)
    if data[0] & 0x80:
        value = int.from_bytes(data, "big")
        bits = len(data) * 8
        # 0x80 marks a positive number, 0xff a negative one in two's complement.
        value = value - (1 << bits) if data[0] & 0x40 else value & ((1 << (bits - 1)) - 1)
        if abs(value) >= 1 << 63:
            raise CorruptData("a number in a header is out of range")
        return value
    digits = data.strip(b" \0")
    if not digits:
        return 0
    digits = digits.partition(b"\0")[0].rstrip(b" ")
    return _octal(digits)


def _octal(digits: bytes) -> int:
    try:
        if digits.isdigit():  # int() would also take signs and underscores
            return int(digits, 8)
    except ValueError:
        pass
    raise CorruptData("a number in a header is not octal")


def _apply(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """What an extended header says instead of the header. An empty value takes the record back."""
    for key, value in records:
        if key.startswith(XATTR):
            entry.xattrs[key[len(XATTR) :]] = value
        elif not value:
            continue
        elif key == b"path" or key == b"GNU.sparse.name":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key == b"mtime":
            entry.mtime = pax.nanoseconds(value)
        elif key in (b"size", b"uid", b"gid"):
            setattr(entry, key.decode(), sparse.number(value))


def _old_pairs(data: bytes) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for position in range(0, len(data), 24):
        if not data[position]:
            break
        found.append((_number(data[position : position + 12]), _number(data[position + 12 : position + 24])))
    return found


def _shown(name: bytes) -> str:
    return ascii(name[:80].decode("utf-8", "replace"))
