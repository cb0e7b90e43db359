"""The page for people, metrics, and what hostile words do in them: nothing."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.registry.house import CONFIG, Client, descriptor, digest_of, encode, image_of, index_of

from gorae.oci import media_type
from gorae.registry.page.html import Markup, anchor, size, tag

EVIL = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Text and links of a page; any script, handler or unknown element is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        allowed = {"html", "head", "meta", "title", "style", "body", "header", "main", "a", "h1", "h2", "p", "pre", "code", "span",
                   "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip
        assert tag in allowed
        assert {name for name, _ in attributes} <= {"href", "class", "lang", "charset", "name", "content"}
        self.links += [value or "" for name, value in attributes if name == "href"]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(body: bytes) -> Reader:
    reader = Reader()
    reader.feed(body.decode())
    reader.close()
    assert reader.open == []
    return reader


async def test_from_repositories_to_layers(client: Client) -> None:
    config = json.loads(CONFIG) | {
        "rootfs": {"type": "layers", "diff_ids": [digest_of(b"x")]},
        "history": [{"created_by": "RUN " + EVIL}, {"created_by": "CMD x", "empty_layer": True}],
    }
    data = encode(config)
    for each in (data, b"layer" * 1000):
        await client.push_blob("team/app", each)
    document = image_of(b"layer" * 1000, annotations={"org.example": EVIL}) | {"config": descriptor(data, media_type.OCI_CONFIG)}
    await client.put_manifest("team/app", "v1", document)
    child = descriptor(encode(document), media_type.OCI_MANIFEST) | {"platform": {"os": "linux", "architecture": "arm64"}}
    sparse = {"mediaType": media_type.OCI_MANIFEST, "digest": digest_of(b"else"), "size": 3}
    await client.put_manifest("team/app", "all", index_of(child, sparse), media_type.OCI_INDEX)
    subject = {key: child[key] for key in ("mediaType", "digest", "size")}
    await client.push_blob("team/app", CONFIG)
    await client.put_manifest("team/app", "sbom", image_of(subject=subject, artifactType="application/x.sbom"))

    front = await client.get("/")
    assert front.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = read(front.body)
    assert "1 repository" in page.text
    assert "/repository/team/app" in page.links

    tags = read((await client.get("/repository/team/app")).body)
    assert {"all", "sbom", "v1"} <= set(tags.text)
    assert "linux/arm64" in tags.text
    assert "2024-02-03" in tags.text

    image = await client.get("/repository/team/app?reference=v1")
    assert EVIL.encode() not in image.body
    seen = read(image.body)
    text = "".join(seen.text)
    assert f"RUN {EVIL}" in text
    assert "5.0 kB" in seen.text
    assert "application/x.sbom" in text
    sbom = digest_of(encode(image_of(subject=subject, artifactType="application/x.sbom")))
    assert f"/repository/team/app?reference={sbom.replace(':', '%3A')}" in seen.links

    index = read((await client.get("/repository/team/app?reference=all")).body)
    assert "elsewhere" in index.text
    for link in index.links:
        assert (await client.get(link)).status == 200


async def test_strange_manifests_do_not_break_it(client: Client) -> None:
    await client.push_blob("a", b"no configuration")
    odd = image_of() | {"config": descriptor(b"no configuration", media_type.OCI_CONFIG)}
    assert (await client.put_manifest("a", "odd", odd)).status == 201
    for path in ("/", "/repository/a", "/repository/a?reference=odd"):
        assert (await client.get(path)).status == 200


@pytest.mark.parametrize("path", ["/repository/none", "/repository/", "/repository/A", "/repository/a?reference=none",
                                  "/repository/a?reference=<b>", "/repository/../x"])  # fmt: skip
async def test_what_is_not_there(client: Client, path: str) -> None:
    await client.push_image("a", "v1", b"x")
    answer = await client.get(path)
    assert answer.status in (400, 404)
    assert b"<b>" not in answer.body


async def test_an_empty_registry(client: Client) -> None:
    assert "Nothing has been pushed yet." in read((await client.get("/")).body).text


def test_pieces() -> None:
    assert tag("p", EVIL, kind='"x') == '<p class="&quot;x">&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;</p>'
    assert anchor("<", '/a b"', x="&") == '<a href="/a%20b%22?x=%26">&lt;</a>'
    assert isinstance(tag("p"), Markup)
    assert [size(number) for number in (0, 999, 1000, 99_949, 3_400_000, 2 * 10**9, 5 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "99.9 kB", "3.4 MB", "2.0 GB", "5.0 TB",
    ]  # fmt: skip


async def test_metrics(client: Client) -> None:
    digest = await client.push_blob("a/b", b"x" * 100_000)
    await client.get(f"/v2/a/b/blobs/{digest}")
    await client.get("/v2/a/b/manifests/none")
    await client.ask("PROPFIND", "/v2/")
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert 'gorae_registry_requests_total{route="manifest",method="GET",status="404"} 1\n' in text
    assert 'gorae_registry_requests_total{route="version",method="other",status="405"} 1\n' in text
    assert "gorae_registry_received_bytes_total 100000\n" in text
    assert 'gorae_registry_request_seconds_count{route="blob"} 1\n' in text
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [0-9.e+-]+')
    for line in text.splitlines():
        assert line.startswith("# ") or sample.fullmatch(line), line


@pytest.mark.peer
async def test_in_chromium(client: Client, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not here (apt-get install chromium): the page was not looked at")
    await client.push_image("team/app", "v1", b"layer")
    picture = tmp_path / "page.png"
    process = await asyncio.create_subprocess_exec(
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--window-size=900,500",
        f"--screenshot={picture}", f"{client.base}/repository/team/app?reference=v1",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        _, told = await process.communicate()
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 5000
    assert b"Content Security Policy" not in told
