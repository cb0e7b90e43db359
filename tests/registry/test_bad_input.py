"""What clients do wrong, by accident or on purpose: the specification's code each time, and nothing half-made to be seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from tests.registry.conftest import Serve
from tests.registry.house import CONFIG, Client, descriptor, digest_of, encode, image_of, index_of
from yarl import URL

from gorae.oci import media_type
from gorae.registry.http.body import Patience

LAYER = b"layer" * 1000


async def begin(client: Client) -> str:
    return (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]


async def nothing_to_see(client: Client, digest: str) -> None:
    assert (await client.get(f"/v2/a/b/blobs/{digest}")).status == 404
    assert client.registry is not None
    assert [entry async for entry in client.registry.store.entries("blobs")] == []


@pytest.mark.parametrize("way", ["POST", "PUT", "PATCH"])
async def test_wrong_digest(client: Client, way: str) -> None:
    wrong = digest_of(b"something else")
    if way == "POST":
        answer = await client.ask("POST", f"/v2/a/b/blobs/uploads/?digest={wrong}", LAYER)
    else:
        place = await begin(client)
        if way == "PATCH":
            await client.ask("PATCH", place, LAYER)
        answer = await client.ask("PUT", f"{place}?digest={wrong}", LAYER if way == "PUT" else None)
        assert (await client.get(place)).status == 404
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    await nothing_to_see(client, wrong)
    await nothing_to_see(client, digest_of(LAYER))


@pytest.mark.parametrize(
    "digest", ["", "sha256", "sha256:", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:../../"
    + "0" * 58,
     "sha256:" + "0" * 65, "sha256:" + "0" * 64 + "\n"],
)  # fmt: skip
async def test_what_is_no_digest(client: Client, digest: str) -> None:
    place = await begin(client)
    answers = [
        await client.ask("PUT", place, LAYER, params={"digest": digest}),
        await client.ask("POST", "/v2/a/b/blobs/uploads/", LAYER, params={"digest": digest}),
        await client.ask("POST", "/v2/a/b/blobs/uploads/", params={"mount": digest, "from": "c"}),
    ]
    assert [(each.status, each.code) for each in answers] == [(400, "DIGEST_INVALID")] * 3


async def test_no_digest_at_the_end(client: Client) -> None:
    answer = await client.ask("PUT", await begin(client), LAYER)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("told", ["nonsense", "5", "a-b", "9-3", "-5", "0-99999999999999999999"])
async def test_a_range_that_makes_no_sense(client: Client, told: str) -> None:
    answer = await client.ask("PATCH", await begin(client), b"x", {"Content-Range": told})
    assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")


async def test_a_chunk_of_another_length_than_its_range(client: Client) -> None:
    place = await begin(client)
    answer = await client.ask("PATCH", place, b"12345", {"Content-Range": "0-9"})
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert (await client.get(place)).headers["Range"] == "0-0"

    async def too_much() -> AsyncIterator[bytes]:
        yield b"x" * 20

    answer = await client.ask("PATCH", place, too_much(), {"Content-Range": "0-9"})
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")


async def test_a_truncated_upload_can_go_on(client: Client) -> None:
    """The connection breaks after half of the body."""
    place = await begin(client)
    parts = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode() + LAYER[:3000])
    await writer.drain()
    await received(client, 3000)
    writer.transport.abort()
    offset = 0
    async with asyncio.timeout(10):
        while offset != 3000:
            offset = int((await client.get(place)).headers["Range"].split("-")[1]) + 1
    async with asyncio.timeout(10):
        while (await client.ask("PATCH", place, LAYER[3000:], {"Content-Range": "3000-4999"})).status != 202:
            pass  # the broken append still holds the upload for a moment
    assert (await client.ask("PUT", f"{place}?digest={digest_of(LAYER)}")).status == 201
    del reader


async def received(client: Client, count: int) -> None:
    assert client.registry is not None
    async with asyncio.timeout(10):
        while client.registry.metrics.received_bytes < count:
            await client.get("/v2/")


# Manifests


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schemaVersion": 2}', b'{"schemaVersion": 1, "fsLayers": [], "history": []}',
     b'{"schemaVersion": 2, "schemaVersion": 2}', b"[" * 100_000, encode(image_of() | {"manifests": []}),
     encode(image_of() | {"Layers": []}), encode(image_of() | {"schemaVersion": 3}), encode(image_of() | {"mediaType": "a/b"}),
     encode(image_of() | {"config": {"mediaType": "a/b", "digest": "sha256:../../../etc/passwd", "size": 1}}),
     encode(image_of() | {"config": descriptor(CONFIG, media_type.OCI_CONFIG) | {"size": -1}})],
)  # fmt: skip
async def test_what_is_no_manifest(client: Client, body: bytes) -> None:
    await client.push_blob("a/b", CONFIG)
    answer = await client.put_manifest("a/b", "v1", body)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert (await client.get("/v2/a/b/tags/list")).json["tags"] == []


async def test_a_manifest_sent_as_another_type(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    for document, kind in ((image_of(), media_type.OCI_INDEX), (index_of(), media_type.OCI_MANIFEST), (image_of(), "text/html")):
        answer = await client.put_manifest("a/b", "v1", document, kind)
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


async def test_a_manifest_that_lies_about_a_size(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    document = image_of() | {"config": descriptor(CONFIG, media_type.OCI_CONFIG) | {"size": len(CONFIG) - 1}}
    assert (await client.put_manifest("a/b", "v1", document)).code == "MANIFEST_INVALID"


async def test_a_manifest_under_a_wrong_digest(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    answer = await client.put_manifest("a/b", digest_of(b"other"), image_of())
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_huge_manifest(client: Client, announced: bool) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * (64 << 10)

    data = b" " * (80 * (64 << 10)) if announced else body()
    answer = await client.ask("PUT", "/v2/a/b/manifests/v1", data, {"Content-Type": media_type.OCI_MANIFEST})
    assert (answer.status, answer.code) == (413, "MANIFEST_INVALID")


async def test_the_largest_manifest(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    document = encode(image_of())
    document = document[:-1] + b" " * ((4 << 20) - len(document)) + b"}"
    assert (await client.put_manifest("a/b", "v1", document)).status == 201
    assert (await client.get("/v2/a/b/manifests/v1")).body == document


# Paths


@pytest.mark.parametrize(
    "path",
    ["/v2/../manifests/v1", "/v2/a/../b/manifests/v1", "/v2/a%2f..%2fb/manifests/v1", "/v2/a//b/manifests/v1", "/v2/A/manifests/v1",
     "/v2/_blobs/manifests/v1", "/v2/a/_tags/manifests/v1", "/v2/a%00/manifests/v1", "/v2/-a/manifests/v1", "/v2/a./manifests/v1",
     f"/v2/{'a' * 256}/manifests/v1", "/v2/a%0a/manifests/v1", "/v2/%c3%a9/manifests/v1", "/v2/a=b/manifests/v1"],
)  # fmt: skip
async def test_names_that_are_none(client: Client, path: str) -> None:
    async with client.session.get(URL(client.base + path, encoded=True)) as response:
        assert response.status == 400
        assert (await response.json())["errors"][0]["code"] == "NAME_INVALID"


@pytest.mark.parametrize("tag", ["-x", ".x", "a" * 129, "a%2fb", "%2e%2e", "a%00", "a%20b"])
async def test_tags_that_are_none(client: Client, tag: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        async with client.session.request(
            method, URL(f"{client.base}/v2/a/b/manifests/{tag}", encoded=True), data=encode(image_of()) if method == "PUT" else None
        ) as response:
            assert response.status in (400, 404)
            assert (await response.json())["errors"][0]["code"] in ("TAG_INVALID", "UNSUPPORTED", "NAME_INVALID")


@pytest.mark.parametrize("identifier", ["x", "../../../../etc/passwd", "0" * 31, "0" * 33, "G" * 32, "begun"])
async def test_uploads_that_are_none(client: Client, identifier: str) -> None:
    answer = await client.get(f"/v2/a/b/blobs/uploads/{quote(identifier, safe='')}")
    assert answer.status in (400, 404)


@pytest.mark.parametrize("n", ["-1", "x", "1.5", "9" * 30, "", "٣"])
async def test_pages_that_are_none(client: Client, n: str) -> None:
    await client.push_image("a/b", "v1", LAYER)
    for path in ("/v2/a/b/tags/list", "/v2/_catalog"):
        answer = await client.ask("GET", path, params={"n": n})
        assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/a/b", "/v2/a/b/blobs", "/nothing", "/v2/a/b/tags"])
async def test_pages_that_are_nobodys(client: Client, path: str) -> None:
    answer = await client.ask("DELETE", path)
    assert answer.status in (404, 405)


# Limits


async def test_too_many_at_once(serve: Serve) -> None:
    client = await serve(most_requests=1)
    place = (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]
    gate, begun = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        begun.set()
        await gate.wait()

    first = asyncio.create_task(client.ask("PATCH", place, body()))
    await begun.wait()
    async with asyncio.timeout(10):
        while (answer := await client.get("/v2/")).status != 429:
            pass
    assert answer.code == "TOOMANYREQUESTS"
    assert answer.headers["Retry-After"] == "1"
    gate.set()
    assert (await first).status == 202


async def test_a_blob_that_is_too_large(serve: Serve) -> None:
    client = await serve(blob_limit=1000)
    place = (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]
    assert (await client.ask("PATCH", place, b"x" * 1001)).status == 413

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 1001

    assert (await client.ask("PATCH", place, body())).code == "SIZE_INVALID"
    assert (await client.ask("PATCH", place, b"x" * 999)).status == 202


async def test_a_body_that_stops_coming(serve: Serve) -> None:
    client = await serve(patience=Patience(stall=0.1))
    place = (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]
    parts = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf".encode())
    async with asyncio.timeout(10):
        assert b" 408 " in await reader.readline()
    writer.close()
    assert (await client.get(place)).headers["Range"] == "0-3"


async def test_a_body_that_drips(serve: Serve) -> None:
    client = await serve(patience=Patience(stall=10, warm_up=0.05, slowest=1 << 30))
    place = (await client.ask("POST", "/v2/a/b/blobs/uploads/")).headers["Location"]

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"drop"
            await asyncio.sleep(0.01)

    try:
        assert (await client.ask("PATCH", place, body())).status == 408
    except aiohttp.ClientConnectionError:
        assert (await client.get(place)).status == 204  # it has closed on us while we were still sending


async def test_half_a_head_is_not_waited_for(serve: Serve) -> None:
    client = await serve(idle=0.2)
    parts = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /v2/ HTTP/1.1\r\nHo")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_too_many_connections(serve: Serve) -> None:
    client = await serve(most_connections=2)
    parts = urlsplit(client.base)
    held = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(3)]
    async with asyncio.timeout(10):
        assert await held[2][0].read() == b""
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("head", [f"X: {'x' * 20_000}", "\r\n".join(f"X-{number}: x" for number in range(1000))])
async def test_a_head_that_is_too_large(serve: Serve, head: str) -> None:
    client = await serve()
    parts = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET /v2/ HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] in (b"400", b"431")
    writer.close()


async def test_read_only(serve: Serve, client: Client) -> None:
    assert client.registry is not None
    await client.push_image("a/b", "v1", LAYER)
    reader = await serve(store=client.registry.store, read_only=True)
    assert (await reader.get("/v2/a/b/manifests/v1")).status == 200
    assert (await reader.ask("HEAD", f"/v2/a/b/blobs/{digest_of(LAYER)}")).status == 200
    for method, path in (
        ("POST", "/v2/a/b/blobs/uploads/"),
        ("PUT", "/v2/a/b/manifests/v2"),
        ("DELETE", "/v2/a/b/manifests/v1"),
        ("DELETE", f"/v2/a/b/blobs/{digest_of(LAYER)}"),
    ):
        answer = await reader.ask(method, path, b"" if method == "PUT" else None)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")


async def test_a_failing_store_tells_nothing_of_itself(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await serve()
    assert client.registry is not None

    async def broken(key: str) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(client.registry.store, "stat", broken)
    answer = await client.get(f"/v2/a/b/blobs/{digest_of(LAYER)}")
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert b"secret" not in answer.body


async def test_errors_are_the_specifications_json(client: Client) -> None:
    answer = await client.get("/v2/a/b/manifests/none")
    assert answer.headers["Content-Type"] == "application/json"
    assert list(json.loads(answer.body)) == ["errors"]
