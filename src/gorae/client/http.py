"""One HTTP/1.1 connection to an engine.

    request   →  METHOD /v1.56/path?query HTTP/1.1 · headers · body (bytes, or chunks from an iterator or a file)
    response  ←  status line · headers · body: Content-Length, chunked, or until the end of the connection
    hijack    ←  101 UPGRADED or 200, and from then on raw bytes both ways

Small on purpose (see `docs/decisions/0001-a-lean-client.md`): the peer is an engine, so there are no redirects, cookies, proxies or
compression. Limits: a head of 256 KiB, a chunk line of 1 KiB. RFC 9112.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gorae.client.endpoint import Endpoint
from gorae.errors import CorruptData, Unavailable

if TYPE_CHECKING:
    from gorae.client.tls import SecureSocket

HEAD_LIMIT = 256 * 1024
CHUNK_LINE_LIMIT = 1024
BLOCK = 64 * 1024


class Connection:
    """Owns one socket; requests go one after the other. Close it, or use it as a context manager."""

    def __init__(self, endpoint: Endpoint, timeout: float | None = None) -> None:
        self.endpoint = endpoint
        self.socket = connect(endpoint, timeout)
        self._buffer = bytearray()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def request(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Response:
        """Sends a request and reads the head of its response. The response must be read to its end before the next request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: docker", "User-Agent: gorae-client"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        elif body is not None:
            lines.append("Transfer-Encoding: chunked")
        elif method == "POST":
            lines.append("Content-Length: 0")
        head = "\r\n".join([*lines, "", ""]).encode()
        try:
            self.socket.sendall(head + body if isinstance(body, bytes) else head)
            if body is not None and not isinstance(body, bytes):
                self._send_chunks(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the engine has answered early (an error, most likely): its response is what matters
        return self._response(method)

    def _send_chunks(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            if chunk:
                self.socket.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.socket.sendall(b"0\r\n\r\n")

    def _response(self, method: str) -> Response:
        head = self.read_until(b"\r\n\r\n", HEAD_LIMIT)
        status_line, *lines = head.decode("latin-1").split("\r\n")
        parts = status_line.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise CorruptData(f"{self.endpoint} does not speak HTTP: it answered {status_line[:80]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(parts[1])
        if status == 100:
            return self._response(method)
        return Response(
            self, status, parts[2] if len(parts) > 2 else "", headers, bodiless=method == "HEAD" or status in (204, 304)
        )

    def read_until(self, end: bytes, limit: int) -> bytes:
        """Everything before `end`, which is consumed too."""
        start = 0
        while (position := self._buffer.find(end, start)) < 0:
            if len(self._buffer) > limit:
                raise CorruptData(f"{self.endpoint} sends a response head without end")
            start = max(0, len(self._buffer) - len(end) + 1)
            if not self._fill():
                raise Unavailable(f"{self.endpoint} closed the connection before it answered")
        found = bytes(self._buffer[:position])
        del self._buffer[: position + len(end)]
        return found

    def read_some(self, most: int = BLOCK) -> bytes:
        """At least one byte, or nothing at the end of the connection."""
        if not self._buffer and not self._fill():
            return b""
        data = bytes(self._buffer[:most])
        del self._buffer[: len(data)]
        return data

    def leftover(self) -> bytes:
        """What has been received beyond the head: the first bytes of a hijacked stream."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(BLOCK)
        except ConnectionResetError:
            return False
        except TimeoutError as error:
            raise Unavailable(f"{self.endpoint} does not answer") from error
        except OSError as error:
            if type(error).__module__ != "ssl":
                raise
            raise Unavailable(f"{self.endpoint} refused the connection: {error.strerror or error}") from error
        self._buffer += data
        return bool(data)


class Response:
    """Status, headers (names in lower case) and a body that is read once."""

    def __init__(self, connection: Connection, status: int, reason: str, headers: dict[str, str], *, bodiless: bool) -> None:
        self.connection = connection
        self.status = status
        self.reason = reason
        self.headers = headers
        self._bodiless = bodiless

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives."""
        if self._bodiless or self.status == 101:
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunked()
        elif "content-length" in self.headers:
            yield from self._counted(int(self.headers["content-length"]))
        else:
            while data := self.connection.read_some():
                yield data

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def lines(self) -> Iterator[bytes]:
        """The body line by line, for JSON lines; a last line needs no end."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
        if rest.strip():
            yield rest

    def _counted(self, remaining: int) -> Iterator[bytes]:
        while remaining > 0:
            data = self.connection.read_some(min(remaining, BLOCK))
            if not data:
                raise Unavailable(
                    f"{self.connection.endpoint} closed the connection {remaining} bytes before the end of its answer"
                )
            remaining -= len(data)
            yield data

    def _chunked(self) -> Iterator[bytes]:
        while True:
            line = self.connection.read_until(b"\r\n", CHUNK_LINE_LIMIT)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                self.connection.read_until(b"\r\n", HEAD_LIMIT)
                return
            yield from self._counted(size)
            self.connection.read_until(b"\r\n", CHUNK_LINE_LIMIT)


def connect(endpoint: Endpoint, timeout: float | None = None) -> socket.socket | SecureSocket:
    """A connected socket, owned by the caller; `Unavailable` in Docker's words when nobody listens."""
    failed = f"Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?"
    try:
        if endpoint.socket_path:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.settimeout(timeout)
            link.connect(endpoint.socket_path)
            return link
        link = socket.create_connection((endpoint.host, endpoint.port), timeout)
        if not endpoint.tls:
            return link
        from gorae.client.tls import secure

        try:
            return secure(link, endpoint)
        except BaseException:
            link.close()
            raise
    except PermissionError as error:
        raise Unavailable(
            f"permission denied while trying to connect to {endpoint}: run as root or join the socket's group"
        ) from error
    except OSError as error:
        raise Unavailable(f"{failed} ({error.strerror or error})") from error
