"""Pull-through caches, in front of our own registry and of one that misbehaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.registry.conftest import Serve
from tests.registry.house import CONFIG, Client, descriptor, digest_of, encode, image_of, index_of

from gorae.errors import InvalidArgument
from gorae.oci import media_type
from gorae.registry.auth import keys, passwords
from gorae.registry.store.directory import Directory
from gorae.registry.upstream.challenge import Challenge, parse_challenge
from gorae.registry.upstream.mirror import parse_upstream
from gorae.registry.upstream.remote import Remote, read_credentials

LAYER = os.urandom(700_000)


@pytest.fixture
async def origin(serve: Serve, tmp_path: Path) -> Client:
    return await serve(store=Directory(tmp_path / "origin"))


async def stop(client: Client) -> None:
    assert client.registry is not None
    await client.registry.aclose(0)


async def test_what_is_pulled_is_kept(serve: Serve, origin: Client) -> None:
    digest = await origin.push_image("a/b", "v1", LAYER)
    mirror = await serve(upstreams=(origin.base,))
    answer = await mirror.get("/v2/a/b/manifests/v1")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
    assert (await mirror.ask("HEAD", f"/v2/a/b/blobs/{digest_of(LAYER)}")).headers["Content-Length"] == str(len(LAYER))
    for data in (CONFIG, LAYER):
        assert (await mirror.get(f"/v2/a/b/blobs/{digest_of(data)}")).body == data
    assert (await mirror.get("/v2/a/b/tags/list")).json["tags"] == ["v1"]
    await stored(mirror, "a/b", LAYER)
    await stop(origin)
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{digest_of(LAYER)}", "tags/list"):
        assert (await mirror.get(f"/v2/a/b/{path}")).status == 200
    assert (await mirror.get("/v2/_catalog")).json["repositories"] == ["a/b"]


async def stored(mirror: Client, name: str, data: bytes) -> None:
    """A transfer is over for its reader a little before it is for the store."""
    assert mirror.registry is not None
    async with asyncio.timeout(10):
        while mirror.registry.upstreams._fills:
            await mirror.get("/v2/")
    assert await mirror.registry.store.stat(f"repositories/{name}/_blobs/sha256/{digest_of(data)[7:]}") is not None


async def test_stale_is_better_than_nothing(serve: Serve, origin: Client) -> None:
    old = await origin.push_image("a/b", "v1", b"old")
    mirror = await serve(upstreams=(origin.base,), fresh=0.0)
    assert (await mirror.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == old
    new = await origin.push_image("a/b", "v1", b"new")
    assert (await mirror.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == new
    await stop(origin)
    assert (await mirror.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == new
    answer = await mirror.get("/v2/a/b/manifests/never-asked")
    assert (answer.status, answer.code) == (502, "UNKNOWN")
    assert (await mirror.get(f"/v2/a/b/blobs/{digest_of(b'new')}")).status == 502


async def test_what_they_have_deleted_is_gone(serve: Serve, origin: Client) -> None:
    await origin.push_image("a/b", "v1", LAYER)
    mirror = await serve(upstreams=(origin.base,), fresh=0.0)
    assert (await mirror.get("/v2/a/b/manifests/v1")).status == 200
    await origin.ask("DELETE", "/v2/a/b/manifests/v1")
    assert (await mirror.get("/v2/a/b/manifests/v1")).status == 404


async def test_fresh_is_not_asked_for_again(serve: Serve, origin: Client) -> None:
    old = await origin.push_image("a/b", "v1", b"old")
    mirror = await serve(upstreams=(origin.base,), fresh=600.0)
    assert (await mirror.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == old
    await origin.push_image("a/b", "v1", b"new")
    assert (await mirror.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == old


async def test_several_upstreams_by_name(serve: Serve, origin: Client, tmp_path: Path) -> None:
    other = await serve(store=Directory(tmp_path / "other"))
    first, second = await origin.push_image("x", "v1", b"1"), await other.push_image("x", "v1", b"2")
    mirror = await serve(upstreams=(f"one={origin.base}", f"two={other.base}"))
    assert (await mirror.get("/v2/one/x/manifests/v1")).headers["Docker-Content-Digest"] == first
    assert (await mirror.get("/v2/two/x/manifests/v1")).headers["Docker-Content-Digest"] == second
    assert (await mirror.get(f"/v2/two/x/blobs/{digest_of(b'2')}")).body == b"2"
    assert (await mirror.get("/v2/x/manifests/v1")).status == 404
    await mirror.push_image("x", "v1", b"ours")
    assert (await mirror.ask("POST", "/v2/one/x/blobs/uploads/")).status == 405


async def test_the_next_one_when_the_first_has_it_not(serve: Serve, origin: Client, tmp_path: Path) -> None:
    other = await serve(store=Directory(tmp_path / "other"))
    digest = await other.push_image("x", "v1", LAYER)
    mirror = await serve(upstreams=(origin.base, other.base))
    assert (await mirror.get("/v2/x/manifests/v1")).headers["Docker-Content-Digest"] == digest
    assert (await mirror.get(f"/v2/x/blobs/{digest_of(LAYER)}")).body == LAYER
    assert (await mirror.get("/v2/nobody/manifests/v1")).status == 404
    assert (await mirror.get(f"/v2/x/blobs/{digest_of(b'none')}")).status == 404


async def test_indexes_and_referrers(serve: Serve, origin: Client) -> None:
    digest = await origin.push_image("a/b", "child", LAYER)
    child = descriptor(encode(image_of(LAYER)), media_type.OCI_MANIFEST)
    await origin.put_manifest("a/b", "all", index_of(child), media_type.OCI_INDEX)
    about = image_of(subject=child)
    await origin.put_manifest("a/b", "about", about)
    mirror = await serve(upstreams=(origin.base,))
    assert (await mirror.get("/v2/a/b/manifests/all")).headers["Content-Type"] == media_type.OCI_INDEX
    assert (await mirror.get(f"/v2/a/b/manifests/{digest}")).status == 200
    found = (await mirror.get(f"/v2/a/b/referrers/{digest}")).json["manifests"]
    assert [each["digest"] for each in found] == [digest_of(encode(about))]


async def test_one_transfer_for_all_who_ask(serve: Serve) -> None:
    upstream = await Faulty().start()
    gate = asyncio.Event()

    async def blob(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(LAYER)
        await response.prepare(request)
        if request.method == "GET":
            await response.write(LAYER[:300_000])
            await gate.wait()
            await response.write(LAYER[300_000:])
        return response

    upstream.handler = blob
    mirror = await serve(upstreams=(upstream.base,))
    async with mirror.session.get(f"{mirror.base}/v2/a/blobs/{digest_of(LAYER)}") as first:
        assert await first.content.readexactly(200_000) == LAYER[:200_000]  # before the rest has come
        others = [asyncio.create_task(mirror.get(f"/v2/a/blobs/{digest_of(LAYER)}", Range="bytes=5-")) for _ in range(3)]
        await upstream.asked("HEAD", 4)
        gate.set()
        assert await first.content.read() == LAYER[200_000:]
    assert {answer.body for answer in await asyncio.gather(*others)} == {LAYER[5:]}
    assert upstream.requests.count("GET /v2/a/blobs/" + digest_of(LAYER)) == 1
    await upstream.aclose()


class Faulty:
    """An upstream whose answers the test writes."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.handler: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self._news = asyncio.Condition()
        self.base = ""

    async def start(self) -> Faulty:
        self._runner = web.ServerRunner(web.Server(self._handle))  # type: ignore[arg-type]
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def asked(self, method: str, times: int) -> None:
        async with self._news, asyncio.timeout(10):
            await self._news.wait_for(lambda: sum(each.startswith(method) for each in self.requests) >= times)

    async def aclose(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: Any) -> web.StreamResponse:
        async with self._news:
            self.requests.append(f"{request.method} {request.path}")
            self.authorizations.append(request.headers.get("Authorization"))
            self._news.notify_all()
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def faulty() -> AsyncIterator[Faulty]:
    made = await Faulty().start()
    yield made
    await made.aclose()


@pytest.mark.parametrize("fault", ["other bytes", "truncated", "too many", "500", "429"])
async def test_a_wrong_blob_is_neither_kept_nor_given_out(serve: Serve, faulty: Faulty, fault: str) -> None:
    async def blob(request: web.Request) -> web.StreamResponse:
        if fault.isdigit():
            return web.Response(status=int(fault))
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "10"})
        if fault == "truncated":
            response = web.StreamResponse(headers={"Content-Length": "10"})
            await response.prepare(request)
            await response.write(b"01234")
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(body=b"x" * 10 if fault == "other bytes" else b"0123456789-")

    faulty.handler = blob
    mirror = await serve(upstreams=(faulty.base,))
    digest = digest_of(b"0123456789")
    try:
        status = (await mirror.get(f"/v2/a/blobs/{digest}")).status
    except aiohttp.ClientPayloadError:
        status = 599  # the answer was broken off before its end
    assert status >= 500
    assert mirror.registry is not None
    assert [entry async for entry in mirror.registry.store.entries("blobs")] == []


async def test_a_wrong_manifest(serve: Serve, faulty: Faulty) -> None:
    async def manifest(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": media_type.OCI_MANIFEST})

    faulty.handler = manifest
    mirror = await serve(upstreams=(faulty.base,), fresh=0.0)
    body = b"{}"
    assert (await mirror.get("/v2/a/manifests/v1")).status == 502
    body = b" " * (5 << 20)
    assert (await mirror.get("/v2/a/manifests/v1")).status == 502
    body = encode(image_of())
    assert (await mirror.get(f"/v2/a/manifests/{digest_of(b'other')}")).status == 502
    assert (await mirror.get("/v2/a/manifests/v1")).status == 200


async def test_tags_that_are_none_are_left_out(serve: Serve, faulty: Faulty) -> None:
    async def tags(request: web.Request) -> web.StreamResponse:
        return web.json_response({"tags": ["ok", "../x", 7, "<b>", "a:b"]})

    faulty.handler = tags
    mirror = await serve(upstreams=(faulty.base,))
    assert (await mirror.get("/v2/a/tags/list")).json["tags"] == ["ok"]


# Credentials


def credentials(path: Path, origin: str, *token_origins: str) -> str:
    listed = ", ".join(f'"{each}"' for each in token_origins)
    path.write_text(f'[[credential]]\norigin = "{origin}"\nusername = "boss"\npassword = "secret"\ntoken_origins = [{listed}]\n')
    return str(path)


@pytest.mark.parametrize("kind", ["basic", "token"])
async def test_a_mirror_logs_in(serve: Serve, tmp_path: Path, kind: str) -> None:
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text(passwords.make("boss", "secret", 4))
    token: dict[str, Any] = {}
    if kind == "token":
        keys.make(str(tmp_path / "key"))
        token = {"token_key": str(tmp_path / "key")}
    store = Directory(tmp_path / "origin")
    await (await serve(store=store)).push_image("a/b", "v1", LAYER)
    guarded = await serve(store=store, htpasswd=str(htpasswd), **token)
    stranger = await serve(store=Directory(tmp_path / "stranger"), upstreams=(guarded.base,))
    assert (await stranger.get("/v2/a/b/manifests/v1")).status == 404
    told = credentials(tmp_path / "credentials.toml", guarded.base)
    mirror = await serve(upstreams=(guarded.base,), upstream_credentials=told)
    assert (await mirror.get("/v2/a/b/manifests/v1")).status == 200
    assert (await mirror.get(f"/v2/a/b/blobs/{digest_of(LAYER)}")).body == LAYER


async def test_credentials_do_not_follow_a_redirect(serve: Serve, faulty: Faulty, tmp_path: Path) -> None:
    other = await Faulty().start()
    data = b"from elsewhere"

    async def blob(request: web.Request) -> web.StreamResponse:
        return web.Response(body=data)

    async def redirect(request: web.Request) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return web.Response(status=307, headers={"Location": f"{other.base}/elsewhere"})

    faulty.handler, other.handler = redirect, blob
    mirror = await serve(upstreams=(faulty.base,), upstream_credentials=credentials(tmp_path / "c.toml", faulty.base))
    assert (await mirror.get(f"/v2/a/blobs/{digest_of(data)}")).body == data
    assert any(faulty.authorizations)
    assert other.requests
    assert other.authorizations == [None] * len(other.requests)
    await other.aclose()


async def test_a_hostile_realm_gets_nothing(serve: Serve, faulty: Faulty, tmp_path: Path) -> None:
    other = await Faulty().start()

    async def token(request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "t"})

    async def challenge(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == "Bearer t":
            return web.Response(body=encode(image_of()), headers={"Content-Type": media_type.OCI_MANIFEST})
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{other.base}/token",service="s"'})

    faulty.handler, other.handler = challenge, token
    mirror = await serve(upstreams=(faulty.base,), upstream_credentials=credentials(tmp_path / "c.toml", faulty.base), fresh=0.0)
    assert (await mirror.get("/v2/a/manifests/v1")).status == 502
    assert other.requests == []
    listed = credentials(tmp_path / "d.toml", faulty.base, other.base)
    trusting = await serve(store=Directory(tmp_path / "t"), upstreams=(faulty.base,), upstream_credentials=listed, fresh=0.0)
    assert (await trusting.get("/v2/a/manifests/v1")).status == 200
    assert len(other.authorizations) == 1
    assert (other.authorizations[0] or "").startswith("Basic ")
    await other.aclose()


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://x/", "http://user:pass@127.0.0.1/x", "LOOP"])
async def test_redirects_that_are_not_followed(serve: Serve, faulty: Faulty, place: str) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": str(request.url) if place == "LOOP" else place})

    faulty.handler = redirect
    mirror = await serve(upstreams=(faulty.base,))
    assert (await mirror.get("/v2/a/manifests/v1")).status == 502
    assert len(faulty.requests) <= 6


def test_challenges() -> None:
    told = 'Bearer realm="https://auth/token",service="a, \\"b\\"",scope="repository:x:pull,push"'
    assert parse_challenge(told) == Challenge("bearer", "https://auth/token", 'a, "b"', "repository:x:pull,push")
    assert parse_challenge("basic realm=x") == Challenge("basic", "x")
    assert parse_challenge("Basic") == Challenge("basic")
    assert parse_challenge("Digest realm=x") is None
    assert parse_challenge("") is None


def test_upstreams_by_word(tmp_path: Path) -> None:
    assert parse_upstream("https://one?x=y") == ("", "https://one?x=y")
    assert parse_upstream("a/b=https://one") == ("a/b", "https://one")
    for url in ("ftp://x", "https://", "https://host/path", "nonsense", "https://u:p@host"):
        with pytest.raises(InvalidArgument):
            Remote(url)
    with pytest.raises(InvalidArgument):
        read_credentials(str(tmp_path / "nothing"))
    (tmp_path / "bad.toml").write_text("[[credential]]\nuser = 1")
    with pytest.raises(InvalidArgument):
        read_credentials(str(tmp_path / "bad.toml"))
