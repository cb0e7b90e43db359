"""The engine's calls, one method each, answered as decoded JSON with Docker's names.

A connection is opened at the first call and kept; streams (events, logs, wait, attach) get connections of their own. The API
version is negotiated by the first `/_ping`, as the stock client does: the lower of what both speak.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gorae.client.endpoint import Endpoint
from gorae.client.http import Connection, Response
from gorae.errors import Conflict, Forbidden, GoraeError, InvalidArgument, NotFound, NotModified, Unavailable, Unsupported
from gorae.version import API_VERSION

ERRORS: dict[int, type[GoraeError]] = {
    304: NotModified, 400: InvalidArgument, 401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 501: Unsupported, 503:
    Unavailable,
}  # fmt: skip

UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@")

Query = Mapping[str, "str | int | bool | Mapping[str, list[str]] | None"]


class Engine:
    """Not safe for several threads at once. Errors of the engine come as `gorae.errors`, with the engine's own message."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection: Connection | None = None
        self._version = ""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ping(self, timeout: float | None = None) -> dict[str, str]:
        """Connects if need be; the response's headers."""
        if self._connection is None:
            self._connection = Connection(self.endpoint, timeout)
        response = self._connection.request("HEAD", "/_ping")
        response.read()
        self._connection.socket.settimeout(None)
        theirs = response.headers.get("api-version", API_VERSION)
        self._version = min(theirs, API_VERSION, key=lambda version: [int(part) for part in version.split(".")])
        return response.headers

    @property
    def version(self) -> str:
        if not self._version:
            self.ping()
        return self._version

    # Any call: the others are these with a path.

    def call(
        self, method: str, path: str, query: Query | None = None, body: object = None, headers: dict[str, str] | None = None
    ) -> Any:
        """A whole answer: decoded JSON, or None where there is no content."""
        target = self._target(path, query)
        sent = dict(headers or {})
        content: bytes | None = None
        if body is not None:
            content = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        if self._connection is None:
            self._connection = Connection(self.endpoint)
        response = checked(self._connection.request(method, target, sent, content))
        text = response.read()
        if response.headers.get("connection", "").lower() == "close":
            self.close()
        return json.loads(text) if text.strip() else None

    def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """An answer that is read while it grows, on a connection of its own; close `response.connection`."""
        connection = Connection(self.endpoint)
        try:
            return checked(connection.request(method, self._target(path, query), headers, body))
        except BaseException:
            connection.close()
            raise

    def hijack(self, path: str, query: Query | None = None, body: object = None) -> Response:
        """A connection that has become a pair of raw streams; its socket belongs to the caller."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}
        connection = Connection(self.endpoint)
        try:
            response = connection.request("POST", self._target(path, query), headers, content)
            if response.status not in (101, 200):
                checked(response)
            return response
        except BaseException:
            connection.close()
            raise

    def _target(self, path: str, query: Query | None) -> str:
        words = {}
        for name, value in (query or {}).items():
            if value is None or value is False:
                continue
            words[name] = "1" if value is True else json.dumps(value) if isinstance(value, Mapping) else str(value)
        text = "&".join(f"{name}={quote(value)}" for name, value in words.items())
        return f"/v{self.version}{path}" + (f"?{text}" if text else "")

    # Containers.

    def create(self, config: Mapping[str, object], name: str = "", platform: str = "") -> dict[str, Any]:
        query = {"name": name or None, "platform": platform or None}
        answer: dict[str, Any] = self.call("POST", "/containers/create", query, config)
        return answer

    def start(self, container: str, *, explain: bool = False) -> None:
        self.call("POST", f"/containers/{quote(container)}/start", headers={"X-Gorae-Explain": "1"} if explain else None)

    def birth(self, container: str) -> dict[str, Any]:
        """The steps of the container's last birth, when it was started with `explain`."""
        answer: dict[str, Any] = self.call("GET", f"/gorae/containers/{quote(container)}/birth")
        return answer

    def act(self, container: str, action: str, **query: str | int | None) -> None:
        """Calls without an answer: start, stop, kill, restart, pause, unpause, rename, resize."""
        self.call("POST", f"/containers/{quote(container)}/{action}", query)

    def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        self.call("DELETE", f"/containers/{quote(container)}", {"force": force, "v": volumes})

    def inspect(self, container: str, *, size: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", f"/containers/{quote(container)}/json", {"size": size})
        return answer

    def containers(self, query: Query) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.call("GET", "/containers/json", query)
        return answer

    def wait(self, container: str, condition: str = "") -> Response:
        """Answered at once with its head; the body, `{"StatusCode": n}`, comes when the container has ended."""
        return self.stream("POST", f"/containers/{quote(container)}/wait", {"condition": condition or None})

    def attach(self, container: str, query: Query) -> Response:
        return self.hijack(f"/containers/{quote(container)}/attach", query)

    def logs(self, container: str, query: Query) -> Response:
        return self.stream("GET", f"/containers/{quote(container)}/logs", query)

    def exec_create(self, container: str, config: Mapping[str, object]) -> str:
        answer: str = self.call("POST", f"/containers/{quote(container)}/exec", body=config)["Id"]
        return answer

    def exec_start(self, identity: str, *, tty: bool) -> Response:
        return self.hijack(f"/exec/{identity}/start", body={"Detach": False, "Tty": tty})

    def exec_detach(self, identity: str) -> None:
        self.call("POST", f"/exec/{identity}/start", body={"Detach": True})

    def exec_inspect(self, identity: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", f"/exec/{identity}/json")
        return answer

    # Images.

    def images(self, query: Query) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.call("GET", "/images/json", query)
        return answer

    def image(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", f"/images/{quote(name)}/json")
        return answer

    def tag(self, source: str, repository: str, tag: str) -> None:
        self.call("POST", f"/images/{quote(source)}/tag", {"repo": repository, "tag": tag})

    def remove_image(self, name: str, *, force: bool = False, no_prune: bool = False) -> list[dict[str, str]]:
        answer: list[dict[str, str]] = self.call("DELETE", f"/images/{quote(name)}", {"force": force, "noprune": no_prune})
        return answer

    # The system.

    def events(self, query: Query) -> Iterator[dict[str, Any]]:
        response = self.stream("GET", "/events", query)
        try:
            for line in response.lines():
                yield json.loads(line)
        finally:
            response.connection.close()


def quote(text: str) -> str:
    """Percent-encoding (RFC 3986) for a path or a query; `urllib.parse` would cost a third of the command line's start."""
    return "".join(chr(byte) if chr(byte) in UNRESERVED else f"%{byte:02X}" for byte in text.encode(errors="surrogateescape"))


def checked(response: Response) -> Response:
    """The response, or the engine's message raised as the error of its status."""
    if response.status < 400 and response.status != 304:
        return response
    text = response.read()
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace").strip() or f"the engine answered {response.status} {response.reason}"
    raise ERRORS.get(response.status, GoraeError)(str(message))
