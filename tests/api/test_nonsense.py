"""Every endpoint, with nonsense in every place: an answer that says so, never a 500, never silence."""

from __future__ import annotations

import json
import random
from urllib.parse import quote

import pytest
from tests.api.conftest import Client

from gorae.api.app import FAMILIES

WORDS = [
    "", "0", "-1", "1.5", "x", "true", "null", "9" * 30, "\0", "é", "../..", "a b", "%", "{", "[]", '{"a":["b"]}', "a" * 5000,
    "one", "\n",
]  # fmt: skip
BODIES: list[object] = [
    b"", b"{", b"null", b"[]", b"\xff", b'{"Image":5}', b"0" * 70000, {}, {"Cmd": None}, {"Cmd": [None]}, {"Tty": True},
    {"Detach": 1}, {"Image": "image", "Labels": []}, {"HostConfig": {"Mounts": [None]}}, {"Cmd": ["a"], "Env": {"a": "b"}},
    {"ConsoleSize": [1, 2, 3]},
]  # fmt: skip
PARAMETERS = [
    "all", "limit", "size", "filters", "h", "w", "t", "signal", "name", "force", "v", "link", "noprune", "since", "until",
    "tail", "follow", "stdout", "stderr", "timestamps", "logs", "stream", "stdin", "detachKeys", "condition", "fromSrc",
    "fromImage", "repo", "tag", "message", "changes", "platform", "quiet", "names", "type", "verbose", "ps_args", "checkpoint",
]  # fmt: skip
ROUTES = [route for family in FAMILIES for route in family.ROUTES]
CONTENT_TYPES = ["application/json", "text/plain", "", "application/json;;;", "multipart/form-data"]


@pytest.mark.parametrize("seed", range(12))
async def test_nonsense(api: Client, seed: int) -> None:
    chosen = random.Random(seed)
    await api.create()
    for route in chosen.sample(ROUTES, len(ROUTES)):
        path = route.path
        while "{" in path:
            head, _, rest = path.partition("{")
            word = chosen.choice(["one", *WORDS[4:]])
            path = head + quote(word, safe="") + rest.partition("}")[2]
        names = chosen.sample(PARAMETERS, 6)
        query = "&".join(f"{name}={quote(chosen.choice(WORDS))}" for name in names)
        if route.path == "/events":
            query += "&until=1"
        if route.path.endswith("/wait") or "attach" in route.path:
            path = path.replace("/one/", "/nobody/")  # an answer that would rightly take for ever
        body = chosen.choice(BODIES) if route.method in ("POST", "PUT") else None
        headers = {"Content_Type": chosen.choice(CONTENT_TYPES)} if isinstance(body, bytes) else {}
        answer = await api.call(route.method, f"/v1.{chosen.randint(24, 56)}{path}?{query}", body, **headers)
        where = (route.method, path, query, body)
        assert answer.status < 500 or answer.status == 501, (where, answer.body)
        if answer.status >= 400 and route.method != "HEAD":
            assert json.loads(answer.body)["message"], where
    assert (await api.call("GET", "/_ping")).status == 200
