"""Which endpoint answers a request.

    Route("GET", "/containers/{id}/json", endpoint)     {id} is one segment of the path
    Route("GET", "/images/{name…}/json", endpoint)      {name…} may have slashes, as names of images do
    Route("POST", "/images/load", endpoint, upload=True)    it reads its body itself, as it arrives; all others are given it whole

The path is matched as it was sent, so that nobody in front of us (an authorization plugin, a proxy) who reads it plainly takes
`/containers/%63reate` for something else; only what a {name} stands for is decoded, afterwards.

Routes are tried in the order in which they were given, among those with the same method and first segment.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple
from urllib.parse import unquote

from aiohttp.web_response import StreamResponse

from gorae.api.call import Call
from gorae.errors import InvalidArgument

Endpoint = Callable[[Call], Awaitable[StreamResponse]]


class Route(NamedTuple):
    method: str
    path: str
    endpoint: Endpoint
    upload: bool = False


class Router:
    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: defaultdict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = defaultdict(list)
        for route in routes:
            if "{" in route.path:
                self._patterns[route.method, _first(route.path)].append((_compile(route.path), route))
            else:
                self._fixed[route.method, route.path] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and what the path's names stand for; InvalidArgument for a name that is not UTF-8 or has NUL."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed, {}
        for pattern, route in self._patterns.get((method, _first(path)), ()):
            found = pattern.fullmatch(path)
            if found is not None:
                return route, {name: _decoded(value) for name, value in found.groupdict().items()}
        return None


def _decoded(value: str) -> str:
    try:
        text = unquote(value, errors="strict")
        text.encode()
    except UnicodeError:
        raise InvalidArgument(f"invalid path: {ascii(value)[1:-1]} is not UTF-8") from None
    if "\0" in text:
        raise InvalidArgument("invalid path: it contains NUL")
    return text


def _first(path: str) -> str:
    return path[: path.find("/", 1)]


def _compile(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(…?)\}", path)
    pattern = ""
    for index in range(0, len(parts) - 1, 3):
        text, name, slashes = parts[index : index + 3]
        pattern += re.escape(text) + f"(?P<{name}>{'.+' if slashes else '[^/]+'})"
    return re.compile(pattern + re.escape(parts[-1]), re.DOTALL)
