"""Which endpoint answers a request.

    Route("GET", "/containers/{id}/json", endpoint)     {id} is one segment of the path
    Route("GET", "/images/{name…}/json", endpoint)      {name…} may have slashes, as names of images do

Routes are tried in the order in which they were given, among those with the same method and first segment.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from aiohttp.web_response import StreamResponse

from gorae.api.call import Call

Endpoint = Callable[[Call], Awaitable[StreamResponse]]


class Route(NamedTuple):
    method: str
    path: str
    endpoint: Endpoint


class Router:
    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Endpoint] = {}
        self._patterns: defaultdict[tuple[str, str], list[tuple[re.Pattern[str], Endpoint]]] = defaultdict(list)
        for method, path, endpoint in routes:
            if "{" in path:
                self._patterns[method, _first(path)].append((_compile(path), endpoint))
            else:
                self._fixed[method, path] = endpoint

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint and what the path's names stand for."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed, {}
        for pattern, endpoint in self._patterns.get((method, _first(path)), ()):
            found = pattern.fullmatch(path)
            if found is not None:
                return endpoint, found.groupdict()
        return None


def _first(path: str) -> str:
    return path[: path.find("/", 1)]


def _compile(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(…?)\}", path)
    pattern = ""
    for index in range(0, len(parts) - 1, 3):
        text, name, slashes = parts[index : index + 3]
        pattern += re.escape(text) + f"(?P<{name}>{'.+' if slashes else '[^/]+'})"
    return re.compile(pattern + re.escape(parts[-1]), re.DOTALL)
