"""Where output goes besides our own records: Docker's json-file, syslog, journald. A copy never holds a container up.

    write ──► Writer (records: what `logs` reads) ──► Assembler ──► lines ──► copy

    json-file   {"log":"text\\n","stream":"stdout","attrs":{…},"time":"2026-11-24T10:00:00.1Z"} a line, rotated like Docker's
    syslog      a datagram a line: RFC 3164 (as Docker, with the time of the machine) or RFC 5424
    journald    a datagram a line, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)

What cannot be written (a full disk, a syslog daemon that is gone or slow) is counted and left out of the copy; the records have it.
"""

from __future__ import annotations

import _socket
import json
import os
import struct
import time
from typing import Protocol

from gorae.logs.copy import Copy
from gorae.logs.lines import Assembler, Line, split
from gorae.logs.record import STDERR
from gorae.logs.writer import Writer

JOURNAL = "/run/systemd/journal/socket"
DEV_LOG = "/dev/log"
STREAMS = {1: "stdout", 2: "stderr"}
ERROR, INFORMATIONAL = 3, 6  # RFC 5424, table 2
FACILITIES = {
    name: number
    for number, name in (
        *enumerate(("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")),
        *enumerate((f"local{number}" for number in range(8)), start=16),
    )
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Sink(Protocol):
    def write(self, lines: list[Line]) -> None: ...
    def close(self) -> None: ...


class CopyingWriter(Writer):
    """A log whose lines also go elsewhere."""

    def __init__(self, path: str, max_size: int, max_file: int, copy: Copy) -> None:
        super().__init__(path, max_size, max_file)
        self.copy = copy
        self._assembler = Assembler()
        try:
            self._sink = sink_of(copy)
        except BaseException:
            super().close()
            raise

    def write(self, kind: int, data: bytes | memoryview, now: int | None = None) -> None:
        now = time.time_ns() if now is None else now
        super().write(kind, data, now)
        lines = [line for block in self._assembler.feed(kind, now, bytes(data)) for line in split(block)]
        if lines:
            self._sink.write(lines)

    def close(self) -> None:
        if self._fd >= 0:
            self._sink.write([line for block in self._assembler.flush() for line in split(block)])
            self._sink.close()
        super().close()


def sink_of(copy: Copy) -> Sink:
    """Raises `OSError`."""
    if copy.driver == "json-file":
        return JsonFile(copy)
    return Datagrams(copy)


class JsonFile:
    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        attributes = json.dumps(copy.fields, ensure_ascii=False, separators=(",", ":")) if copy.fields else ""
        self._attributes = f'"attrs":{attributes},' if attributes else ""
        self._open()

    def write(self, lines: list[Line]) -> None:
        pending = bytearray()
        for line in lines:
            entry = self._entry(line)
            if self._copy.max_size and self._size + len(pending) + len(entry) > self._copy.max_size and self._size + len(pending):
                self._append(pending)
                pending = bytearray()
                self._rotate()
            pending += entry
        self._append(pending)

    def close(self) -> None:
        os.close(self._fd)

    def _entry(self, line: Line) -> bytes:
        text = json.dumps(line.data.decode("utf-8", "replace"), ensure_ascii=False)
        stream = STREAMS.get(line.stream, "stdout")
        return f'{{"log":{text},"stream":"{stream}",{self._attributes}"time":"{rfc3339(line.time)}"}}\n'.encode()

    def _append(self, data: bytearray) -> None:
        if not data:
            return
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                os.ftruncate(self._fd, self._size)
                return
        except OSError:
            return
        self._size += written

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._copy.target, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        path, most = self._copy.target, self._copy.max_file
        try:
            if most < 2:
                os.ftruncate(self._fd, 0)
                self._size = 0
                return
            for number in range(most - 1, 0, -1):
                older = f"{path}.{number - 1}" if number > 1 else path
                if os.path.lexists(older):
                    os.rename(older, f"{path}.{number}")
            old = self._fd
            self._open()
            os.close(old)
        except OSError:
            pass  # in the old one, past its size


class Datagrams:
    """syslog and journald."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._host = os.uname().nodename
        kind, self._address = parse_address(copy.target)
        self._socket = _socket.socket(kind, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        self.lost = 0

    def write(self, lines: list[Line]) -> None:
        for line in lines:
            try:
                self._socket.sendto(self._message(line), self._address)
            except OSError:
                self.lost += 1

    def close(self) -> None:
        self._socket.close()

    def _message(self, line: Line) -> bytes:
        text = line.data.removesuffix(b"\n")
        priority = ERROR if line.stream == STDERR else INFORMATIONAL
        if self._copy.driver == "journald":
            return journal_entry({"PRIORITY": str(priority), "SYSLOG_IDENTIFIER": self._copy.tag, **self._copy.fields}, text)
        number = self._copy.facility * 8 + priority
        tag, pid = self._copy.tag, os.getpid()
        if self._copy.format.startswith("rfc5424"):
            stamp = rfc3339(line.time if self._copy.format.endswith("micro") else line.time // 10**9 * 10**9)
            return f"<{number}>1 {stamp} {self._host} {tag} {pid} {tag} - ".encode() + text
        moment = time.localtime(line.time // 10**9)
        stamp = f"{MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2d} {moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}"
        local = self._socket.family == _socket.AF_UNIX and not self._copy.format
        return f"<{number}>{stamp} {'' if local else self._host + ' '}{tag}[{pid}]: ".encode() + text


def parse_address(text: str) -> tuple[int, str | tuple[str, int]]:
    """`unixgram:///dev/log`, `unix:///…`, `udp://127.0.0.1:514` → address family and address. ValueError for anything else."""
    kind, found, rest = text.partition("://")
    if found and kind in ("unix", "unixgram") and rest.startswith("/"):
        return _socket.AF_UNIX, rest
    host, _, port = rest.rpartition(":")
    if found and kind == "udp" and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        host = host.removeprefix("[").removesuffix("]")
        return (_socket.AF_INET6 if ":" in host else _socket.AF_INET), (host, int(port))
    raise ValueError(text)


def journal_entry(fields: dict[str, str], message: bytes) -> bytes:
    """`NAME=value` a line; a value with a newline as NAME, a 64-bit length and the bytes."""
    out = bytearray()
    for name, value in (*((name, value.encode()) for name, value in fields.items()), ("MESSAGE", message)):
        if b"\n" in value:
            out += name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        else:
            out += name.encode() + b"=" + value + b"\n"
    return bytes(out)


def rfc3339(moment: int) -> str:
    """As Go writes it: nanoseconds without trailing zeros."""
    seconds, rest = divmod(moment, 10**9)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"
