"""One request, as endpoints see it, and the shapes of answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from gorae.registry.auth.access import Access
from gorae.registry.errors import Refusal
from gorae.registry.repository import Repository

if TYPE_CHECKING:
    from gorae.registry.http.app import Registry

JSON = "application/json"
_HOST = re.compile(r"[A-Za-z0-9.\-_\[\]:]{1,255}")


class Call:
    """`name` is the repository, checked; `word` what the path ends with, not yet checked."""

    def __init__(self, request: BaseRequest, registry: Registry, access: Access, name: str, word: str) -> None:
        self.request = request
        self.registry = registry
        self.access = access
        self.name = name
        self.word = word
        self.repository = Repository(registry.store, name)

    def query(self, key: str) -> str | None:
        value: str | None = self.request.query.get(key)
        return value

    def header(self, key: str) -> str | None:
        value: str | None = self.request.headers.get(key)
        return value


def base_of(request: BaseRequest, configured: str) -> str:
    """Our own address: as configured, or as this client has reached us."""
    host = request.headers.get("Host", "")
    if configured or not _HOST.fullmatch(host):
        return configured
    return f"{'https' if request.secure else 'http'}://{host}"


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None, kind: str = JSON) -> Response:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(body=body, status=status, headers={"Content-Type": kind, **(headers or {})})


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """Without a body; 204 and 304 without its length either."""
    return Response(status=status, headers=headers)


def refusal_answer(refusal: Refusal) -> Response:
    error: dict[str, object] = {"code": refusal.code, "message": str(refusal)}
    if refusal.detail is not None:
        error["detail"] = refusal.detail
    return json_answer({"errors": [error]}, refusal.status, refusal.headers)
