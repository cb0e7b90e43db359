"""The files of one log, and the way backwards through one of them.

    <path>      the file being written, generation g
    <path>.1    generation g-1
    <path>.2    generation g-2      … at most max_file of them; a crash between two renames may leave a hole in the numbers

The numbers in the names are for people. Order is told by the generation inside, so readers do not care at which rename they look.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from gorae.logs.record import BEGIN_SIZE, MAX_PAYLOAD, OVERHEAD, Record, Torn, decode, decode_backwards, find, generation_of

WINDOW = 256 << 10


def generation_at(fd: int) -> int | None:
    return generation_of(os.pread(fd, BEGIN_SIZE, 0))


def names(path: str) -> list[str]:
    """The log's files that exist, the one being written first, then by number."""
    directory, name = os.path.split(path)
    numbered: list[tuple[int, str]] = []
    try:
        entries = os.listdir(directory or ".")
    except FileNotFoundError:
        return []
    for entry in entries:
        if entry == name:
            numbered.append((0, path))
        elif entry.startswith(name + "."):
            number = entry[len(name) + 1 :]
            if number.isascii() and number.isdigit() and len(number) < 10:
                numbered.append((int(number), f"{path}.{number}"))
    return [found for _, found in sorted(numbered)]


def generations(path: str) -> dict[int, str]:
    """Name by generation, for the files whose beginning is whole. A rename may overtake the answer: check after opening."""
    result: dict[int, str] = {}
    for name in names(path):
        try:
            fd = open_for_reading(name)
        except OSError:
            continue
        try:
            generation = generation_at(fd)
        finally:
            os.close(fd)
        if generation is not None:
            result.setdefault(generation, name)
    return result


def open_for_reading(name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def open_generation(path: str, generation: int, *, at_least: bool = False) -> tuple[int, int] | None:
    """The file with this generation (or, with `at_least`, the first of those not older) as (descriptor, generation)."""
    for _ in range(8):  # each try that fails was overtaken by a rotation
        known = generations(path)
        wanted = [number for number in sorted(known) if (number >= generation if at_least else number == generation)]
        if not wanted:
            return None
        try:
            fd = open_for_reading(known[wanted[0]])
        except OSError:
            continue
        if generation_at(fd) == wanted[0]:
            return fd, wanted[0]
        os.close(fd)
    return None


def forwards(fd: int, offset: int, end: int) -> Iterator[tuple[int, Record]]:
    """Each whole record between two offsets, with its own; torn places are passed over."""
    while offset < end:
        buffer = os.pread(fd, min(WINDOW + MAX_PAYLOAD + OVERHEAD, end - offset), offset)
        if not buffer:
            return
        at = 0
        while at < len(buffer):
            try:
                record = decode(buffer, at)
            except Torn:
                at = find(buffer, at + 1)
                continue
            if record is None:
                break
            yield offset + at, record
            at = record.end
        if at == 0:  # the end lies inside a record: what follows it can only be found by its magic
            at = max(1, find(buffer, 1))
        offset += at


def backwards(fd: int, end: int) -> Iterator[tuple[int, Record]]:
    """Each whole record before `end`, last one first. Where the file is torn it is read from its beginning instead."""
    start = end
    buffer = b""
    while end > 0:
        try:
            found = decode_backwards(buffer, end - start)
        except Torn:
            yield from _reversed(fd, end)
            return
        if found is not None:
            at, record = found
            yield start + at, record
            end = start + at
            continue
        if start == 0:
            yield from _reversed(fd, end)
            return
        size = WINDOW if end - start < WINDOW else WINDOW + MAX_PAYLOAD + OVERHEAD
        start = max(0, end - size)
        buffer = os.pread(fd, end - start, start)
        if len(buffer) < end - start:
            return


def _reversed(fd: int, end: int) -> Iterator[tuple[int, Record]]:
    for offset in reversed([offset for offset, _ in forwards(fd, 0, end)]):
        record = next(forwards(fd, offset, end), None)
        if record is not None:
            yield record


def whole_end(fd: int, size: int) -> int | None:
    """Where the last whole record of a file ends; None when its last 2 MiB hold none. A torn record is never longer than 1 MiB."""
    start = max(0, size - 2 * (MAX_PAYLOAD + OVERHEAD))
    tail = max(0, size - (WINDOW + OVERHEAD))
    try:
        if decode_backwards(os.pread(fd, size - tail, tail), size - tail) is not None:
            return size
    except Torn:
        pass
    end: int | None = None
    for offset, record in forwards(fd, start, size):
        end = offset + OVERHEAD + len(record.payload)
    return end
