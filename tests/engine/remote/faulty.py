"""A registry whose answers the test chooses: right ones, unless a fault has been set for the path's kind.

    registry.fault["blob"] = [reset, status(500)]     the next two requests for blobs; then right again
    registry.always["manifest"] = status(429)         each of them

kinds: ping, manifest, blob, token
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import zstandard
from aiohttp import web

from gorae.oci import media_type

Fault = Callable[["Faulty", web.Request], Awaitable[web.StreamResponse]]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def packed(plain: bytes, compression: str) -> tuple[bytes, str]:
    if compression == "gzip":
        return gzip.compress(plain, mtime=0), media_type.OCI_LAYER_GZIP
    if compression == "zstd":
        return zstandard.compress(plain), media_type.OCI_LAYER_ZSTD
    return plain, media_type.OCI_LAYER


class Faulty:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.fault: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.seen: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.authorizations: list[tuple[str, str]] = []
        self.basic = ""  # user:password that is wanted
        self.bearer = ""  # token that is wanted
        self.realm = ""
        self.release = asyncio.Event()
        self.held = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.upload = b""
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        self.release.set()
        if self._runner is not None:
            await self._runner.cleanup()

    # Content

    def blob(self, data: bytes) -> str:
        self.blobs[sha256(data)] = data
        return sha256(data)

    def image(
        self, tag: str = "v1", layers: Iterable[bytes] = (), compression: str = "gzip", architecture: str = "amd64", **changes: Any
    ) -> dict[str, Any]:
        """The manifest, as it was put; `changes` are made to it before."""
        plain = list(layers) or [tar_of(one=b"1" * 100_000), tar_of(two=b"2" * 50_000)]
        described = []
        for each in plain:
            data, kind = packed(each, compression)
            described.append({"mediaType": kind, "digest": self.blob(data), "size": len(data)})
        config = json.dumps(
            {"architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
             "rootfs": {"type": "layers", "diff_ids": [sha256(each) for each in plain]}}
        ).encode()  # fmt: skip
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type.OCI_MANIFEST,
            "config": {"mediaType": media_type.OCI_CONFIG, "digest": self.blob(config), "size": len(config)},
            "layers": described,
        } | changes
        self.put(tag, manifest)
        return manifest

    def put(self, tag: str, document: Any, kind: str | None = None) -> str:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = kind or (document["mediaType"] if isinstance(document, dict) else media_type.OCI_MANIFEST)
        self.manifests[tag] = self.manifests[sha256(data)] = (data, kind)
        return sha256(data)

    # Answers

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        kind = next((word for word in ("upload", "manifest", "blob", "token") if f"/{word}" in path), "ping")
        self.seen[kind] += 1
        self.authorizations.append((kind, request.headers.get("Authorization", "")))
        waiting = self.fault.get(kind)
        if waiting:
            return await waiting.pop(0)(self, request)
        if kind in self.always:
            return await self.always[kind](self, request)
        return await self.take(request) if kind == "upload" or request.method == "PUT" else self.right(request)

    async def take(self, request: web.Request) -> web.Response:
        """What is pushed: one upload at a time."""
        if "/manifests/" in request.path:
            self.put(request.path.rpartition("/")[2], await request.read(), request.headers["Content-Type"])
            return web.Response(status=201)
        if request.method == "POST":
            self.upload = b""
        elif request.method == "PATCH":
            span = request.headers.get("Content-Range", "0-")
            assert int(span.partition("-")[0]) == len(self.upload)
            self.upload += await request.read()
        elif request.method == "PUT":
            assert sha256(self.upload) == request.query["digest"]
            self.blob(self.upload)
            return web.Response(status=201)
        told = {"Location": "/v2/app/blobs/uploads/one", "Range": f"0-{max(0, len(self.upload) - 1)}"}
        return web.Response(status=204 if request.method == "GET" else 202, headers=told)

    def right(self, request: web.Request) -> web.Response:
        path = request.path
        if path == "/token":
            return web.json_response({"token": self.bearer, "expires_in": 300})
        if (refusal := self._unauthorized(request)) is not None:
            return refusal
        if path == "/v2/":
            return web.json_response({})
        if found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            known = self.manifests.get(found[2])
            if known is None:
                return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, status=404)
            return web.Response(body=known[0], headers={"Content-Type": known[1], "Docker-Content-Digest": sha256(known[0])})
        if found := re.fullmatch(r"/v2/(.+)/blobs/(.+)", path):
            data = self.blobs.get(found[2])
            if data is None:
                return web.json_response({"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown"}]}, status=404)
            span = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
            if span is None:
                return web.Response(body=data)
            self.ranges.append(request.headers["Range"])
            start = int(span[1])
            return web.Response(
                body=data[start:], status=206, headers={"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            )
        if path.endswith("/tags/list"):
            return web.json_response({"name": "x", "tags": [tag for tag in self.manifests if ":" not in tag]})
        return web.json_response({}, status=404)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        import base64

        given = request.headers.get("Authorization", "")
        if self.basic and given != f"Basic {base64.b64encode(self.basic.encode()).decode()}":
            return self._challenge('Basic realm="test"')
        if self.bearer and given != f"Bearer {self.bearer}":
            realm = self.realm or f"http://{self.host}/token"
            return self._challenge(f'Bearer realm="{realm}",service="test",scope="repository:x:pull"')
        return None

    def _challenge(self, words: str) -> web.Response:
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return web.json_response(body, status=401, headers={"WWW-Authenticate": words})


# Faults


def status(number: int, **headers: str) -> Fault:
    async def fault(registry: Faulty, request: web.Request) -> web.StreamResponse:
        return web.Response(status=number, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return fault


async def reset(registry: Faulty, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def reset_midway(registry: Faulty, request: web.Request) -> web.StreamResponse:
    """Half of it, announced in full."""
    right = registry.right(request)
    assert isinstance(right.body, bytes)
    response = web.StreamResponse(status=right.status, headers={"Content-Length": str(len(right.body))})
    if "Content-Range" in right.headers:
        response.headers["Content-Range"] = right.headers["Content-Range"]
    await response.prepare(request)
    await response.write(right.body[: len(right.body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def stall(registry: Faulty, request: web.Request) -> web.StreamResponse:
    """Half of it, then silence."""
    right = registry.right(request)
    assert isinstance(right.body, bytes)
    response = web.StreamResponse(status=right.status, headers={"Content-Length": str(len(right.body))})
    await response.prepare(request)
    await response.write(right.body[: len(right.body) // 2])
    registry.held.set()
    await registry.release.wait()
    return response


def body(change: Callable[[bytes], bytes], **headers: str) -> Fault:
    async def fault(registry: Faulty, request: web.Request) -> web.StreamResponse:
        right = registry.right(request)
        assert isinstance(right.body, bytes)
        given = {name: value for name, value in right.headers.items() if name not in ("Content-Length", "Docker-Content-Digest")}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=change(right.body), status=right.status, headers=given)

    return fault


def chunked(change: Callable[[bytes], bytes]) -> Fault:
    """Without a length, so that only counting and hashing help."""

    async def fault(registry: Faulty, request: web.Request) -> web.StreamResponse:
        right = registry.right(request)
        assert isinstance(right.body, bytes)
        response = web.StreamResponse(status=200)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(change(right.body))
        await response.write_eof()
        return response

    return fault


def redirect(url: str) -> Fault:
    async def fault(registry: Faulty, request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": url + request.path})

    return fault


async def cut_upload(registry: Faulty, request: web.Request) -> web.StreamResponse:
    """Takes a third of what is sent, and hangs up."""
    whole = int(request.headers["Content-Length"])
    registry.upload += await request.content.readexactly(whole // 3)
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def no_ranges(registry: Faulty, request: web.Request) -> web.StreamResponse:
    data = registry.blobs[request.path.rpartition("/")[2]]
    registry.ranges.append(request.headers.get("Range", ""))
    return web.Response(body=data)


async def wrong_range(registry: Faulty, request: web.Request) -> web.StreamResponse:
    data = registry.blobs[request.path.rpartition("/")[2]]
    return web.Response(body=data, status=206, headers={"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"})
