"""A registry in the test's own event loop, or as a process of its own, and images to push into it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gorae.oci import media_type
from gorae.registry.http.app import Registry

PATIENCE = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The specification's code of an error."""
        errors = self.json["errors"]
        assert len(errors) == 1
        assert set(errors[0]) <= {"code", "message", "detail"}
        return str(errors[0]["code"])

    @property
    def warnings(self) -> list[str]:
        return self.headers.getall("Warning", [])  # type: ignore[attr-defined, no-any-return]


@dataclass
class Client:
    """Talks to `base`; `registry` is the one behind it when it lives in this process."""

    base: str
    session: aiohttp.ClientSession
    registry: Registry | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, data: Any = None, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        url = path if path.startswith("http") else self.base + path
        async with self.session.request(
            method, url, data=data, headers={**self.headers, **(headers or {})}, allow_redirects=False, **more
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, headers=headers)

    async def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> str:
        digest = digest_of(data, algorithm)
        begun = await self.ask("POST", f"/v2/{name}/blobs/uploads/")
        assert begun.status == 202, begun
        done = await self.ask("PUT", f"{begun.headers['Location']}?digest={digest}", data, OCTETS)
        assert done.status == 201, done
        return digest

    async def put_manifest(self, name: str, reference: str, document: Any, kind: str = media_type.OCI_MANIFEST) -> Answer:
        data = document if isinstance(document, bytes) else encode(document)
        return await self.ask("PUT", f"/v2/{name}/manifests/{reference}", data, {"Content-Type": kind})

    async def push_image(self, name: str, tag: str, *layers: bytes, **members: Any) -> str:
        """An image with these layers; its digest."""
        document = image_of(*layers, **members)
        for data in (CONFIG, *layers):
            await self.push_blob(name, data)
        answer = await self.put_manifest(name, tag, document)
        assert answer.status == 201, answer
        return digest_of(encode(document))


OCTETS = {"Content-Type": "application/octet-stream"}
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-02-03T04:05:06Z",
        "config": {"Cmd": ["sh", "-c", "echo '<b>'"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
).encode()


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(data: bytes, kind: str, algorithm: str = "sha256") -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(data, algorithm), "size": len(data)}


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def image_of(*layers: bytes, **members: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media_type.OCI_MANIFEST,
        "config": descriptor(CONFIG, media_type.OCI_CONFIG),
        "layers": [descriptor(each, media_type.OCI_LAYER_GZIP) for each in layers],
        **members,
    }


def index_of(*manifests: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": media_type.OCI_INDEX, "manifests": list(manifests), **members}


class Process:
    """`gorae registry serve` for real, on a port of its own."""

    def __init__(self, storage: str, folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
        self.log = folder / f"registry-{time.monotonic_ns()}.log"
        command = [
            sys.executable,
            "-I",
            "-m",
            "gorae.cli.main",
            "registry",
            "serve",
            "--storage",
            storage,
            "--address",
            "127.0.0.1:0",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
            )
        self.base = self._wait()

    @property
    def host(self) -> str:
        return urlsplit(self.base).netloc

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def peak(self) -> int:
        """Bytes of memory at most so far."""
        return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0]) * 1024

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.kill()

    def _end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def _wait(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(r"(https?://\S+)", self.log.read_text())
            if found:
                return found[1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)
        raise AssertionError(f"no address in {self.log.read_text()}")
