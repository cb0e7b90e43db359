"""Reads a log: by tail, since and until, up to a position, and on while it grows. Synchronous; whoever follows owns the event loop.

    reader = Reader(path, tail=100, follow=True)
    while not reader.finished:
        blocks = reader.read_available()       # bounded; [] when there is nothing for now
        if not blocks:
            <wait until reader.fileno() is readable>   # inotify on the log's directory
    reader.close()

Without `follow` the end is where the log ended when the reader was made, or `end`. With `follow` call `finish` when the container
is dead and its log closed (the supervisor's exit event says just that): what is left is read, an unfinished line too, then
`finished` is True. Blocks (whole lines together) are the cheap way to read: split them only when each line is wanted.
Bytes that the writer lost are told in their place by a line on STDERR.
"""

from __future__ import annotations

import os
from types import TracebackType

from gorae.linux.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, Inotify
from gorae.logs import files
from gorae.logs.lines import Assembler, Block, Line, drop_lines, split
from gorae.logs.record import (
    BEGIN,
    LOST,
    MAX_PAYLOAD,
    NUMBER,
    OVERHEAD,
    STDERR,
    STDOUT,
    Record,
    Torn,
    decode,
    find,
)

Position = tuple[int, int]  # (generation, offset)

CLEAN_START = 256 << 10  # how far before a tail we look for the beginning of its first lines


class Reader:
    """An open log. Raises `FileNotFoundError` only when the log's directory is missing; a log without files is empty."""

    def __init__(
        self,
        path: str,
        *,
        tail: int | None = None,
        since: int | None = None,
        until: int | None = None,
        end: Position | None = None,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> None:
        self.path = path
        self.finished = False
        self._since = since
        self._until = until
        self._kinds = {kind for kind, wanted in ((STDOUT, stdout), (STDERR, stderr)) if wanted}
        self._assembler = Assembler()
        self._follow = follow and end is None
        self._fd = -1
        self._generation = -1
        self._offset = 0
        self._drop = 0
        self._inotify: Inotify | None = None
        try:
            if self._follow:
                # Before the first look at the files, so that no change falls between.
                self._inotify = Inotify()
                self._inotify.add(os.path.dirname(path) or ".", IN_MODIFY | IN_CREATE | IN_MOVED_TO)
            now = self._newest()
            self._end = end if end is not None else None if self._follow else now
            if tail is not None:
                self._seek_tail(tail, end if end is not None else now)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def fileno(self) -> int:
        """Readable when the log may have grown; only with `follow`."""
        if self._inotify is None:
            raise ValueError("this reader does not follow")
        return self._inotify.fileno()

    def finish(self) -> None:
        """The log grows no more: read up to where it ends now."""
        if self._end is None:
            self._end = self._newest()

    def read_lines(self) -> list[Line]:
        """As `read_available`, split into lines."""
        return [line for block in self.read_available() for line in split(block)]

    def read_available(self) -> list[Block]:
        """The next blocks, about 256 KiB, 1 MiB at most; [] when nothing is there for now, or at the end (`finished`)."""
        if self._inotify is not None:
            self._inotify.read()
        while not self.finished:
            if self._fd < 0 and not self._open_next():
                self.finished = self._end is not None
                return []
            blocks, moved, past_until = self._read_some()
            if past_until:
                self.finished = True
                return blocks + self._flush()
            if blocks:
                return blocks
            if moved or self._leave_file():
                continue
            if self._end is None:
                return []
            left = self._end[1] - self._offset if self._generation == self._end[0] else 0
            if left > 0 and self._stands_or_skips(left):
                continue
            self.finished = True
            return self._flush()
        return []

    # ── the files ──

    def _newest(self) -> Position:
        known = files.generations(self.path)
        for generation in sorted(known, reverse=True):
            found = files.open_generation(self.path, generation)
            if found is not None:
                size = os.fstat(found[0]).st_size
                os.close(found[0])
                return generation, size
        return -1, 0

    def _open_next(self) -> bool:
        found = files.open_generation(self.path, self._generation + 1, at_least=True)
        if found is None:
            return False
        self._fd, self._generation = found
        self._offset = 0
        return True

    def _leave_file(self) -> bool:
        """Whether there is a next file: then the one at hand is read to its end and closed."""
        if self._end is not None and self._generation >= self._end[0]:
            return False
        found = files.open_generation(self.path, self._generation + 1, at_least=True)
        if found is None:
            return False
        # The writer left the old file before it made the new one: one more look tells whether all of it was read.
        if self._stands_or_skips(files.WINDOW + MAX_PAYLOAD + OVERHEAD):
            os.close(found[0])
            return True
        os.close(self._fd)
        self._fd, self._generation = found
        self._offset = 0
        return True

    def _stands_or_skips(self, size: int) -> bool:
        """Whether there are bytes left where no one will write any more: a whole record stands, a torn one is skipped here."""
        buffer = os.pread(self._fd, min(size, files.WINDOW + MAX_PAYLOAD + OVERHEAD), self._offset)
        try:
            record = decode(buffer)
        except Torn:
            record = None
        if record is None and buffer:
            self._offset += max(1, find(buffer, 1))
        return bool(buffer)

    def _flush(self) -> list[Block]:
        blocks = self._assembler.flush()
        dropped = min(self._drop, len(blocks))  # each is the last line of its stream, though it has no end
        self._drop = 0
        return self._select(blocks[dropped:])

    # ── the records ──

    def _read_some(self) -> tuple[list[Block], bool, bool]:
        """Blocks from one read of the file at hand, whether the read went forward at all, and whether it passed `until`."""
        size = files.WINDOW + MAX_PAYLOAD + OVERHEAD
        last = self._end is not None and self._generation >= self._end[0]
        if last:
            assert self._end is not None
            size = min(size, self._end[1] - self._offset) if self._generation == self._end[0] else 0
        buffer = os.pread(self._fd, min(size, files.WINDOW), self._offset) if size > 0 else b""
        if len(buffer) == files.WINDOW < size and not _begins_whole(buffer):
            buffer = os.pread(self._fd, size, self._offset)
        blocks: list[Block] = []
        past_until = False
        at = 0
        while at < len(buffer):
            try:
                record = decode(buffer, at)
            except Torn:
                at = find(buffer, at + 1)
                continue
            if record is None:
                break  # half written, or torn: only what comes next can tell
            at = record.end
            if self._until is not None and record.time > self._until and record.kind != BEGIN:
                past_until = True
                break
            blocks += self._blocks_of(record)
        self._offset += at
        return self._select(blocks), at > 0, past_until

    def _blocks_of(self, record: Record) -> list[Block]:
        if record.kind in self._kinds:
            return self._assembler.feed(record.kind, record.time, record.payload)
        if record.kind == LOST and STDERR in self._kinds and len(record.payload) == NUMBER.size:
            (count,) = NUMBER.unpack(record.payload)
            told = b"gorae: %d bytes of output were lost here: the log could not be written\n" % count
            return [Block(STDERR, record.time, told, False)]
        return []

    def _select(self, blocks: list[Block]) -> list[Block]:
        if self._since is None and not self._drop:
            return blocks
        chosen: list[Block] = []
        for block in blocks:
            kept, self._drop = drop_lines(block, self._drop)
            if kept is not None and (self._since is None or kept.time >= self._since):
                chosen.append(kept)
        return chosen

    # ── tail ──

    def _seek_tail(self, count: int, end: Position) -> None:
        """Goes to where the last `count` lines before `end` begin. Lines are counted in the order in which they ended.

        `_drop` takes what is too much: the walk stops at a record, and goes on a little where a line may begin in an earlier one.
        """
        generation, limit = end
        window = _TailWindow(count, self._kinds, unfinished_counts=not self._follow)
        start: Position = end
        while generation >= 0 and not window.closed:
            found = files.open_generation(self.path, generation)
            if found is None:
                break
            try:
                size = os.fstat(found[0]).st_size
                for offset, record in files.backwards(found[0], min(size, limit) if generation == end[0] else size):
                    if (self._until is None or record.time <= self._until) and not window.take(record):
                        break
                    start = (generation, offset)
            finally:
                os.close(found[0])
            generation -= 1
        self._drop = max(0, window.lines - count)
        self._begin_at(start)

    def _begin_at(self, start: Position) -> None:
        generation, offset = start
        found = files.open_generation(self.path, generation, at_least=True) if generation >= 0 else None
        if found is None:
            return
        self._fd, self._generation = found
        self._offset = offset if self._generation == generation else 0


class _TailWindow:
    """Grows backwards, record by record, until it holds `count` lines and the beginnings of all of them.

    Lines are counted where they end. `open` are the streams that may have a wanted line of which the beginning is not yet in the
    window; for them it grows on, but not for ever.
    """

    def __init__(self, count: int, kinds: set[int], *, unfinished_counts: bool) -> None:
        self.count = count
        self.lines = 0
        self.closed = False
        self._kinds = kinds
        self._unfinished_counts = unfinished_counts
        self._seen: set[int] = set()
        self._open = set(kinds)
        self._extra = 0

    def take(self, record: Record) -> bool:
        """Whether the record belongs to the window; `closed` is True once no earlier one does."""
        kind, payload = record.kind, record.payload
        enough = self.lines >= self.count
        if kind in self._kinds and payload.endswith(b"\n"):
            self._open.discard(kind)
        if enough and (not self._open or self._extra > CLEAN_START):
            self.closed = True
            return False
        if kind == LOST and STDERR in self._kinds:
            self.lines += 1
        if kind not in self._kinds or not payload:
            return True
        ends = payload.count(b"\n")
        if kind not in self._seen:
            self._seen.add(kind)
            if self._unfinished_counts and not payload.endswith(b"\n"):
                self.lines += 1
        self.lines += ends
        if not enough:
            self._open.add(kind)
        else:
            self._extra += len(payload) + OVERHEAD
            if ends:
                self._open.discard(kind)  # the wanted line begins in here
        return True


def _begins_whole(buffer: bytes) -> bool:
    """False when the record at its beginning goes on behind its end."""
    try:
        return decode(buffer) is not None
    except Torn:
        return True
