"""The OCI distribution specification 1.1, a test a MUST or SHOULD, named by its endpoint; on a directory and on a bucket."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from tests.registry.house import CONFIG, OCTETS, Client, descriptor, digest_of, encode, image_of, index_of

from gorae.oci import media_type

LAYER = b"layer" * 1000
UNKNOWN = digest_of(b"nobody has this")


async def begin(client: Client, name: str = "a/b") -> str:
    answer = await client.ask("POST", f"/v2/{name}/blobs/uploads/", headers={"Content-Length": "0"})
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    return answer.headers["Location"]


# end-1


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
async def test_version(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert answer.headers["Content-Type"] == "application/json"


# end-2


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_pull_blob(client: Client, algorithm: str, size: int) -> None:
    data = b"x" * size
    digest = await client.push_blob("a/b", data, algorithm)
    answer = await client.get(f"/v2/a/b/blobs/{digest}")
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Length"] == str(size)
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    looked = await client.ask("HEAD", f"/v2/a/b/blobs/{digest}")
    assert (looked.status, looked.body) == (200, b"")
    assert looked.headers["Content-Length"] == str(size)
    assert looked.headers["Docker-Content-Digest"] == digest


async def test_pull_unknown_blob(client: Client) -> None:
    await client.push_blob("a/b", LAYER)
    answer = await client.get(f"/v2/a/b/blobs/{UNKNOWN}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert (await client.ask("HEAD", f"/v2/a/b/blobs/{UNKNOWN}")).status == 404


async def test_a_blob_of_another_repository_is_unknown(client: Client) -> None:
    digest = await client.push_blob("a/b", LAYER)
    assert (await client.get(f"/v2/a/c/blobs/{digest}")).status == 404
    assert (await client.ask("HEAD", f"/v2/a/c/blobs/{digest}")).status == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=100000-", 100_000, 200_000), ("bytes=-7", 199_993, 200_000),
     ("bytes=0-999999", 0, 200_000), ("bytes=-999999", 0, 200_000)],
)  # fmt: skip
async def test_pull_part_of_a_blob(client: Client, asked: str, start: int, stop: int) -> None:
    data = bytes(range(250)) * 800
    digest = await client.push_blob("a/b", data)
    answer = await client.get(f"/v2/a/b/blobs/{digest}", Range=asked)
    assert (answer.status, answer.body) == (206, data[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_a_range_behind_the_end(client: Client) -> None:
    digest = await client.push_blob("a/b", LAYER)
    answer = await client.get(f"/v2/a/b/blobs/{digest}", Range="bytes=5000-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */5000"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "lines=1-2", "bytes=5-2", "bytes=-", "nonsense"])
async def test_other_ranges_are_ignored(client: Client, asked: str) -> None:
    digest = await client.push_blob("a/b", LAYER)
    assert (await client.get(f"/v2/a/b/blobs/{digest}", Range=asked)).status == 200


async def test_caches_are_told_that_nothing_has_changed(client: Client) -> None:
    digest = await client.push_blob("a/b", LAYER)
    etag = (await client.get(f"/v2/a/b/blobs/{digest}")).headers["ETag"]
    assert (await client.get(f"/v2/a/b/blobs/{digest}", **{"If-None-Match": etag})).status == 304
    assert (await client.get(f"/v2/a/b/blobs/{digest}", **{"If-Range": '"other"', "Range": "bytes=0-1"})).status == 200
    assert (await client.get(f"/v2/a/b/blobs/{digest}", **{"If-Range": etag, "Range": "bytes=0-1"})).status == 206


# end-3


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_pull_manifest(client: Client, by: str) -> None:
    digest = await client.push_image("a/b", "v1", LAYER)
    answer = await client.get(f"/v2/a/b/manifests/{'v1' if by == 'tag' else digest}", Accept=media_type.OCI_MANIFEST)
    assert (answer.status, answer.body) == (200, encode(image_of(LAYER)))
    assert answer.headers["Content-Type"] == media_type.OCI_MANIFEST
    assert answer.headers["Docker-Content-Digest"] == digest
    looked = await client.ask("HEAD", f"/v2/a/b/manifests/{'v1' if by == 'tag' else digest}")
    assert (looked.status, looked.body) == (200, b"")
    assert looked.headers["Content-Length"] == str(len(answer.body))
    assert looked.headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("reference", ["nothing", UNKNOWN])
async def test_pull_unknown_manifest(client: Client, reference: str) -> None:
    await client.push_image("a/b", "v1", LAYER)
    answer = await client.get(f"/v2/a/b/manifests/{reference}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    assert (await client.ask("HEAD", f"/v2/a/b/manifests/{reference}")).status == 404
    assert (await client.get(f"/v2/nobody/manifests/{reference}")).status == 404


async def test_a_manifest_is_not_pulled_as_another_repositorys(client: Client) -> None:
    digest = await client.push_image("a/b", "v1", LAYER)
    assert (await client.get(f"/v2/a/c/manifests/{digest}")).status == 404


# end-4a and end-6: POST, then PUT


async def test_push_in_two_requests(client: Client) -> None:
    place = await begin(client)
    digest = digest_of(LAYER)
    answer = await client.ask("PUT", f"{place}?digest={digest}", LAYER, OCTETS)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest
    assert (await client.get(answer.headers["Location"])).body == LAYER


# end-4b


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_push_in_one_request(client: Client, algorithm: str) -> None:
    digest = digest_of(LAYER, algorithm)
    answer = await client.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest}", LAYER, OCTETS)
    assert answer.status == 201
    assert (await client.get(answer.headers["Location"])).body == LAYER


# end-5


async def test_push_in_chunks(client: Client) -> None:
    place = await begin(client)
    for start, stop in pairwise((0, 1000, 1001, 4000)):
        answer = await client.ask("PATCH", place, LAYER[start:stop], {**OCTETS, "Content-Range": f"{start}-{stop - 1}"})
        assert answer.status == 202
        assert answer.headers["Range"] == f"0-{stop - 1}"
        place = answer.headers["Location"]
    last = {**OCTETS, "Content-Range": f"4000-{len(LAYER) - 1}"}
    answer = await client.ask("PUT", f"{place}?digest={digest_of(LAYER)}", LAYER[4000:], last)
    assert answer.status == 201
    assert (await client.get(answer.headers["Location"])).body == LAYER


async def test_push_as_docker_does(client: Client) -> None:
    """One PATCH without a length, then an empty PUT."""

    async def body():  # type: ignore[no-untyped-def]
        yield LAYER[:10]
        yield LAYER[10:]

    place = await begin(client)
    answer = await client.ask("PATCH", place, body())
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(LAYER) - 1}")
    answer = await client.ask("PUT", f"{answer.headers['Location']}?digest={digest_of(LAYER)}")
    assert answer.status == 201


@pytest.mark.parametrize("start", [0, 4, 6])
async def test_chunks_out_of_order(client: Client, start: int) -> None:
    place = await begin(client)
    first = await client.ask("PATCH", place, LAYER[:5], {"Content-Range": "0-4"})
    assert first.status == 202
    answer = await client.ask("PATCH", place, b"12", {"Content-Range": f"{start}-{start + 1}"})
    assert answer.status == 416
    assert answer.headers["Range"] == "0-4"
    last = {"Content-Range": f"{start}-{start + len(LAYER) - 6}"}
    assert (await client.ask("PUT", f"{place}?digest={digest_of(LAYER)}", LAYER[5:], last)).status == 416
    rest = await client.ask("PUT", f"{place}?digest={digest_of(LAYER)}", LAYER[5:], {"Content-Range": f"5-{len(LAYER) - 1}"})
    assert rest.status == 201


async def test_the_first_chunk_begins_at_zero(client: Client) -> None:
    place = await begin(client)
    assert (await client.ask("PATCH", place, b"x", {"Content-Range": "1-1"})).status == 416


async def test_chunk_minimum_is_told(serve) -> None:  # type: ignore[no-untyped-def]
    client = await serve(chunk_minimum=1 << 20)
    answer = await client.ask("POST", "/v2/a/b/blobs/uploads/")
    assert answer.headers["OCI-Chunk-Min-Length"] == str(1 << 20)


# end-13, end-14: status of an upload, and its end


async def test_resume(client: Client) -> None:
    place = await begin(client)
    await client.ask("PATCH", place, LAYER[:1234])
    answer = await client.get(place)
    assert (answer.status, answer.headers["Range"]) == (204, "0-1233")
    assert answer.headers["Location"] == place


async def test_cancel(client: Client) -> None:
    place = await begin(client)
    assert (await client.ask("DELETE", place)).status == 204
    for method, path in (("GET", place), ("DELETE", place), ("PATCH", place), ("PUT", f"{place}?digest={digest_of(b'')}")):
        answer = await client.ask(method, path, b"x" if method == "PATCH" else None)
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_an_upload_is_of_its_repository(client: Client) -> None:
    place = await begin(client)
    assert (await client.get(place.replace("a/b", "a/c"))).status == 404


# end-11


async def test_mount(client: Client) -> None:
    digest = await client.push_blob("a/b", LAYER)
    answer = await client.ask("POST", f"/v2/c/d/blobs/uploads/?mount={digest}&from=a/b")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/c/d/blobs/{digest}"
    assert (await client.get(answer.headers["Location"])).body == LAYER


@pytest.mark.parametrize("source", ["&from=a/c", "&from=nobody", ""])
async def test_a_mount_of_what_is_not_there_begins_an_upload(client: Client, source: str) -> None:
    await client.push_blob("a/b", LAYER)
    answer = await client.ask("POST", f"/v2/c/d/blobs/uploads/?mount={UNKNOWN}{source}")
    assert answer.status == 202
    assert (await client.get(answer.headers["Location"])).status == 204


async def test_mount_from_anywhere(client: Client) -> None:
    digest = await client.push_blob("a/b", LAYER)
    assert (await client.ask("POST", f"/v2/c/d/blobs/uploads/?mount={digest}")).status == 201
    assert (await client.ask("HEAD", f"/v2/c/d/blobs/{digest}")).status == 200


# end-7


async def test_push_manifest(client: Client) -> None:
    for data in (CONFIG, LAYER):
        await client.push_blob("a/b", data)
    document = json.dumps(image_of(LAYER), indent=3).encode()
    answer = await client.put_manifest("a/b", "v1", document)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest_of(document)
    assert (await client.get(answer.headers["Location"])).body == document  # byte for byte
    assert "OCI-Subject" not in answer.headers


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_push_manifest_by_digest(client: Client, algorithm: str) -> None:
    await client.push_blob("a/b", CONFIG)
    data = encode(image_of())
    answer = await client.put_manifest("a/b", digest_of(data, algorithm), data)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest_of(data, algorithm)
    found = await client.get(answer.headers["Location"])
    assert (found.body, found.headers["Docker-Content-Digest"]) == (data, digest_of(data, algorithm))


async def test_push_by_digest_with_tags(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    data = encode(image_of())
    answer = await client.put_manifest("a/b", f"{digest_of(data)}?tag=one&tag=two", data)
    assert (answer.status, answer.headers.getall("OCI-Tag")) == (201, ["one", "two"])  # type: ignore[attr-defined]
    assert (await client.get("/v2/a/b/tags/list")).json["tags"] == ["one", "two"]


async def test_a_tag_moves(client: Client) -> None:
    first = await client.push_image("a/b", "v1", LAYER)
    second = await client.push_image("a/b", "v1", b"another")
    assert (await client.get("/v2/a/b/manifests/v1")).headers["Docker-Content-Digest"] == second
    assert (await client.get(f"/v2/a/b/manifests/{first}")).status == 200


async def test_a_manifest_names_missing_blobs(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    await client.push_blob("c/d", LAYER)
    answer = await client.put_manifest("a/b", "v1", image_of(LAYER))
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json["errors"][0]["detail"] == [{"digest": digest_of(LAYER)}]
    assert (await client.get("/v2/a/b/manifests/v1")).status == 404
    assert (await client.get(f"/v2/a/b/manifests/{digest_of(encode(image_of(LAYER)))}")).status == 404


async def test_layers_that_may_not_be_distributed_need_not_be_there(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    foreign = descriptor(b"elsewhere", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    answer = await client.put_manifest("a/b", "v1", {**image_of(), "layers": [foreign]})
    assert answer.status == 201
    assert answer.warnings[0].startswith('299 - "')


async def test_members_nobody_knows_are_kept(client: Client) -> None:
    digest = await client.push_image("a/b", "v1", LAYER, **{"org.example.custom": {"a": [1]}, "annotations": {"k": "v"}})
    assert (await client.get(f"/v2/a/b/manifests/{digest}")).json["org.example.custom"] == {"a": [1]}


async def test_descriptors_with_data(client: Client) -> None:
    await client.push_blob("a/b", b"{}")
    config = {**descriptor(b"{}", media_type.OCI_EMPTY), "data": "e30="}
    answer = await client.put_manifest("a/b", "v1", image_of(config=config, artifactType="application/x"))
    assert answer.status == 201


async def test_an_index_and_an_index_of_indexes(client: Client) -> None:
    data = encode(image_of(LAYER))
    await client.push_image("a/b", "child", LAYER)
    inner = encode(index_of(descriptor(data, media_type.OCI_MANIFEST)))
    answer = await client.put_manifest("a/b", "inner", inner, media_type.OCI_INDEX)
    assert (answer.status, answer.warnings) == (201, [])
    outer = index_of(descriptor(inner, media_type.OCI_INDEX))
    assert (await client.put_manifest("a/b", "outer", outer, media_type.OCI_INDEX)).status == 201
    assert (await client.get("/v2/a/b/manifests/outer")).headers["Content-Type"] == media_type.OCI_INDEX


async def test_a_sparse_index_is_taken_with_a_warning(client: Client) -> None:
    index = index_of({"mediaType": media_type.OCI_MANIFEST, "digest": UNKNOWN, "size": 7})
    answer = await client.put_manifest("a/b", "sparse", index, media_type.OCI_INDEX)
    assert answer.status == 201
    assert answer.warnings == ['299 - "the index names manifests that this repository does not have"']


async def test_dockers_media_types(client: Client) -> None:
    for data in (CONFIG, LAYER):
        await client.push_blob("a/b", data)
    document = image_of(LAYER) | {"mediaType": media_type.DOCKER_MANIFEST, "config": descriptor(CONFIG, media_type.DOCKER_CONFIG)}
    assert (await client.put_manifest("a/b", "v1", document, media_type.DOCKER_MANIFEST)).status == 201
    child = {**descriptor(encode(document), media_type.DOCKER_MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}}
    index = index_of(child) | {"mediaType": media_type.DOCKER_INDEX}
    assert (await client.put_manifest("a/b", "all", index, media_type.DOCKER_INDEX)).status == 201
    whole = await client.get("/v2/a/b/manifests/all", Accept=media_type.DOCKER_INDEX)
    assert whole.headers["Content-Type"] == media_type.DOCKER_INDEX
    assert (await client.get("/v2/a/b/manifests/all")).headers["Content-Type"] == media_type.DOCKER_INDEX
    single = await client.get("/v2/a/b/manifests/all", Accept=media_type.DOCKER_MANIFEST)
    assert single.headers["Content-Type"] == media_type.DOCKER_MANIFEST
    assert single.headers["Docker-Content-Digest"] == digest_of(encode(document))


# end-8


async def test_tags(client: Client) -> None:
    words = ["v10", "v2", "V3", "alpha", "Beta", "_x", "latest"]
    for word in words:
        await client.push_image("a/b", word, LAYER)
    answer = await client.get("/v2/a/b/tags/list")
    assert answer.status == 200
    ordered = ["_x", "alpha", "Beta", "latest", "v10", "v2", "V3"]
    assert answer.json == {"name": "a/b", "tags": ordered}

    page = await client.get("/v2/a/b/tags/list?n=3")
    assert page.json["tags"] == ordered[:3]
    assert page.headers["Link"] == '</v2/a/b/tags/list?n=3&last=Beta>; rel="next"'
    seen, link = list(page.json["tags"]), page.headers.get("Link")
    while link:
        page = await client.get(link[1 : link.index(">")])
        seen += page.json["tags"]
        link = page.headers.get("Link")
    assert seen == ordered
    assert (await client.get("/v2/a/b/tags/list?last=latest")).json["tags"] == ordered[4:]
    assert (await client.get("/v2/a/b/tags/list?n=2&last=beta5")).json["tags"] == ["latest", "v10"]
    nothing = await client.get("/v2/a/b/tags/list?n=0")
    assert (nothing.json["tags"], "Link" in nothing.headers) == ([], False)
    everything = await client.get("/v2/a/b/tags/list?n=7")
    assert (everything.json["tags"], "Link" in everything.headers) == (ordered, False)


async def test_tags_of_nobody(client: Client) -> None:
    answer = await client.get("/v2/nobody/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


async def test_a_repository_without_tags(client: Client) -> None:
    await client.push_image("a/b", "v1", LAYER)
    await client.ask("DELETE", "/v2/a/b/manifests/v1")
    assert (await client.get("/v2/a/b/tags/list")).json == {"name": "a/b", "tags": []}


# end-9


async def test_delete_tag(client: Client) -> None:
    digest = await client.push_image("a/b", "v1", LAYER)
    assert (await client.ask("DELETE", "/v2/a/b/manifests/v1")).status == 202
    assert (await client.get("/v2/a/b/manifests/v1")).status == 404
    assert (await client.get(f"/v2/a/b/manifests/{digest}")).status == 200
    again = await client.ask("DELETE", "/v2/a/b/manifests/v1")
    assert (again.status, again.code) == (404, "MANIFEST_UNKNOWN")


async def test_delete_manifest(client: Client) -> None:
    digest = await client.push_image("a/b", "v1", LAYER)
    await client.put_manifest("a/b", "v2", image_of(LAYER))
    other = await client.push_image("a/b", "v3", b"other")
    assert (await client.ask("DELETE", f"/v2/a/b/manifests/{digest}")).status == 202
    for reference in (digest, "v1", "v2"):
        assert (await client.get(f"/v2/a/b/manifests/{reference}")).status == 404
    assert (await client.get("/v2/a/b/tags/list")).json["tags"] == ["v3"]
    assert (await client.get(f"/v2/a/b/manifests/{other}")).status == 200
    assert (await client.ask("DELETE", f"/v2/a/b/manifests/{digest}")).status == 404
    assert (await client.ask("DELETE", f"/v2/nobody/manifests/{digest}")).status == 404
    assert (await client.put_manifest("a/b", "v1", image_of(LAYER))).status == 201


# end-10


async def test_delete_blob(client: Client) -> None:
    digest = await client.push_blob("a/b", LAYER)
    await client.push_blob("c/d", LAYER)
    assert (await client.ask("DELETE", f"/v2/a/b/blobs/{digest}")).status == 202
    answer = await client.get(f"/v2/a/b/blobs/{digest}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert (await client.get(f"/v2/c/d/blobs/{digest}")).status == 200
    assert (await client.ask("DELETE", f"/v2/a/b/blobs/{digest}")).status == 404
    assert await client.push_blob("a/b", LAYER) == digest


# end-12


async def test_referrers(client: Client) -> None:
    subject = await client.push_image("a/b", "v1", LAYER)
    await client.push_blob("a/b", b"{}")
    about = {"mediaType": media_type.OCI_MANIFEST, "digest": subject, "size": len(encode(image_of(LAYER)))}
    empty = descriptor(b"{}", media_type.OCI_EMPTY)
    sbom = image_of(config=empty, artifactType="application/x.sbom", subject=about, annotations={"by": "somebody"})
    plain = image_of(LAYER, subject=about)
    index = index_of(subject=about, artifactType="application/x.signature")
    for document, kind in ((sbom, media_type.OCI_MANIFEST), (plain, media_type.OCI_MANIFEST), (index, media_type.OCI_INDEX)):
        answer = await client.put_manifest("a/b", digest_of(encode(document)), document, kind)
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject)

    answer = await client.get(f"/v2/a/b/referrers/{subject}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, media_type.OCI_INDEX)
    assert "OCI-Filters-Applied" not in answer.headers
    assert (answer.json["schemaVersion"], answer.json["mediaType"]) == (2, media_type.OCI_INDEX)
    found = {each["digest"]: each for each in answer.json["manifests"]}
    assert found[digest_of(encode(sbom))] == {
        "mediaType": media_type.OCI_MANIFEST,
        "digest": digest_of(encode(sbom)),
        "size": len(encode(sbom)),
        "artifactType": "application/x.sbom",
        "annotations": {"by": "somebody"},
    }
    assert found[digest_of(encode(plain))]["artifactType"] == media_type.OCI_CONFIG
    assert found[digest_of(encode(index))]["artifactType"] == "application/x.signature"

    filtered = await client.get(f"/v2/a/b/referrers/{subject}?artifactType=application/x.sbom")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [each["digest"] for each in filtered.json["manifests"]] == [digest_of(encode(sbom))]

    seen, link = [], f"</v2/a/b/referrers/{subject}?n=2>"
    while link:
        page = await client.get(link[1 : link.index(">")])
        seen += [each["digest"] for each in page.json["manifests"]]
        link = page.headers.get("Link", "")
    assert sorted(seen) == sorted(found)

    assert (await client.ask("DELETE", f"/v2/a/b/manifests/{digest_of(encode(sbom))}")).status == 202
    assert len((await client.get(f"/v2/a/b/referrers/{subject}")).json["manifests"]) == 2


async def test_a_subject_that_is_not_there(client: Client) -> None:
    await client.push_blob("a/b", CONFIG)
    about = {"mediaType": media_type.OCI_MANIFEST, "digest": UNKNOWN, "size": 7}
    answer = await client.put_manifest("a/b", "v1", image_of(subject=about))
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, UNKNOWN)
    assert len((await client.get(f"/v2/a/b/referrers/{UNKNOWN}")).json["manifests"]) == 1


async def test_nobody_refers_to_it(client: Client) -> None:
    answer = await client.get(f"/v2/nobody/referrers/{UNKNOWN}")
    assert (answer.status, answer.json["manifests"]) == (200, [])
    assert (await client.get("/v2/a/b/referrers/nonsense")).status == 400


# Beyond the endpoints


async def test_catalog(client: Client) -> None:
    for name in ("b", "a/c", "a-b/c"):
        await client.push_image(name, "v1", LAYER)
    assert (await client.get("/v2/_catalog")).json == {"repositories": ["a-b/c", "a/c", "b"]}
    page = await client.get("/v2/_catalog?n=2")
    assert page.headers["Link"] == '</v2/_catalog?n=2&last=a%2Fc>; rel="next"'
    assert (await client.get("/v2/_catalog?n=2&last=a%2Fc")).json == {"repositories": ["b"]}
    assert (await client.get("/v2/_catalog?n=0")).json == {"repositories": []}


async def test_warnings(serve) -> None:  # type: ignore[no-untyped-def]
    client = await serve(warnings=("this registry moves", "soon"))
    digest = await client.push_blob("a/b", LAYER)
    for path in ("/v2/", f"/v2/a/b/blobs/{digest}", "/v2/a/b/manifests/none"):
        assert (await client.get(path)).warnings == ['299 - "this registry moves"', '299 - "soon"']


async def test_methods_that_are_nobodys(client: Client) -> None:
    answer = await client.ask("PATCH", "/v2/a/b/manifests/v1")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, PUT"


async def test_a_client_that_waits_for_leave_to_send(client: Client) -> None:
    place = await begin(client)
    assert (await client.ask("PATCH", place, LAYER, expect100=True)).status == 202
