"""Registries that fail or lie: what may be tried again is, what is wrong is refused, and nothing stays behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.remote.conftest import EMPTY, Library, OpenLibrary
from tests.engine.remote.faulty import (
    Fault,
    Faulty,
    body,
    chunked,
    no_ranges,
    redirect,
    reset,
    reset_midway,
    sha256,
    stall,
    status,
    tar_of,
    wrong_range,
)

from gorae.engine.image.model import Progress
from gorae.engine.remote.rules import Credentials
from gorae.errors import CorruptData, Forbidden, GoraeError, InvalidArgument, NotFound, Unavailable, Unsupported
from gorae.oci import media_type

pytestmark = pytest.mark.kernel

async def right(registry: Faulty, request: Any) -> Any:
    return registry.right(request)


PASSING: dict[str, dict[str, list[Fault]]] = {
    "manifest 429": {"manifest": [status(429), status(429, Retry_After="0")]},
    "manifest 500": {"manifest": [status(500), status(502), status(503), status(504)]},
    "manifest reset": {"manifest": [reset, reset]},
    "manifest cut": {"manifest": [reset_midway]},
    "ping 503": {"ping": [reset, status(503), status(503)]},
    "blob 429": {"blob": [status(429, Retry_After="0")] * 3},
    "blob 500": {"blob": [status(500), status(503)]},
    "blob reset": {"blob": [reset, reset]},
    "blob cut": {"blob": [reset_midway, reset_midway, reset_midway]},
    "blob silent": {"blob": [stall]},
    "blob shorter, without a length": {"blob": [right, chunked(lambda data: data[:-10])]},
}


@pytest.mark.parametrize("name", PASSING)
async def test_what_passes_is_tried_again(library: Library, registry: Faulty, name: str) -> None:
    registry.image("v1", [tar_of(one=bytes(range(256)) * 2000)], compression="")
    registry.fault = {kind: list(faults) for kind, faults in PASSING[name].items()}
    await library.pull(f"{registry.host}/app:v1")
    assert await library.content(f"{registry.host}/app:v1") == {"one": bytes(range(256)) * 2000}
    assert not any(registry.fault.values())


async def test_half_a_blob_is_resumed(library: Library, registry: Faulty) -> None:
    plain = tar_of(one=bytes(range(256)) * 2000)
    registry.image("v1", [plain], compression="")
    registry.fault["blob"] = [right, reset_midway]
    steps = await library.pull(f"{registry.host}/app:v1")
    assert len(registry.ranges) == 1
    assert int(registry.ranges[0][6:-1]) >= len(plain) // 2 - 1
    assert any(isinstance(step, Progress) and step.status.startswith("Retrying") for step in steps)


async def test_a_registry_without_ranges(library: Library, registry: Faulty) -> None:
    registry.image("v1", [tar_of(one=bytes(range(256)) * 2000)], compression="")
    registry.fault["blob"] = [right, reset_midway, no_ranges]
    await library.pull(f"{registry.host}/app:v1")
    assert await library.content(f"{registry.host}/app:v1") == {"one": bytes(range(256)) * 2000}


async def test_another_range_than_was_asked_for(library: Library, registry: Faulty) -> None:
    registry.image("v1", [tar_of(one=bytes(range(256)) * 2000)], compression="")
    registry.fault["blob"] = [right, reset_midway, wrong_range]
    with pytest.raises(CorruptData, match="another range"):
        await library.pull(f"{registry.host}/app:v1")
    assert library.left() == EMPTY


LASTING: dict[str, tuple[str, Fault, int]] = {
    "manifest 429": ("manifest", status(429), 5),
    "manifest 500": ("manifest", status(500), 5),
    "manifest reset": ("manifest", reset, 5),
    "ping 500": ("ping", status(500), 5),
    "wait for an hour": ("manifest", status(429, Retry_After="3600"), 1),
    "blob 500": ("blob", status(500), 5),
    "blob silent": ("blob", stall, 5),
}


@pytest.mark.parametrize("name", LASTING)
async def test_what_lasts_is_given_up(library: Library, registry: Faulty, name: str) -> None:
    registry.image()
    kind, fault, tries = LASTING[name]
    registry.always[kind] = fault
    with pytest.raises(Unavailable):
        await library.pull(f"{registry.host}/app:v1")
    # A connection that was used before is tried once more by itself when it turns out to be closed.
    assert tries <= registry.seen[kind] <= 2 * tries + 1
    assert library.left() == EMPTY


def changed(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(json.loads(data) | changes).encode()


def descriptor_with(which: str, **changes: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        document = json.loads(data)
        if which == "config":
            document["config"] |= changes
        else:
            document["layers"][0] |= changes
        return json.dumps(document).encode()

    return change


REFUSED: dict[str, tuple[str, Fault, type[GoraeError]]] = {
    "another digest in the header": ("manifest", body(bytes, Docker_Content_Digest="sha256:" + "0" * 64), CorruptData),
    "no digest in the header": ("manifest", body(bytes, Docker_Content_Digest="../../etc"), InvalidArgument),
    "a manifest of 5 MiB": ("manifest", body(lambda data: data + b" " * (5 << 20)), CorruptData),
    "a manifest of 5 MiB, without a length": ("manifest", chunked(lambda data: data + b" " * (5 << 20)), CorruptData),
    "a manifest and an index": ("manifest", body(changed(manifests=[])), InvalidArgument),
    "sent as an index": ("manifest", body(bytes, Content_Type=media_type.OCI_INDEX), InvalidArgument),
    "no JSON": ("manifest", body(lambda data: b"<html>"), InvalidArgument),
    "schema 1": ("manifest", body(changed(schemaVersion=1)), Unsupported),
    "schema 3": ("manifest", body(changed(schemaVersion=3)), InvalidArgument),
    "deep JSON": ("manifest", body(lambda data: b"[" * 100_000 + b"]" * 100_000), InvalidArgument),
    "a member twice": ("manifest", body(lambda data: data[:-1] + b',"schemaVersion":2}'), InvalidArgument),
    "a digest that is a path": ("manifest", body(descriptor_with("layer", digest="sha256:../../../etc/passwd")), InvalidArgument),
    "a digest of an unknown kind": ("manifest", body(descriptor_with("layer", digest="md5:" + "0" * 32)), InvalidArgument),
    "a negative size": ("manifest", body(descriptor_with("layer", size=-1)), InvalidArgument),
    "a smaller size": ("manifest", body(descriptor_with("layer", size=10)), CorruptData),
    "a larger size": ("manifest", body(descriptor_with("layer", size=10**9)), CorruptData),
    "a huge configuration": ("manifest", body(descriptor_with("config", size=1 << 30)), InvalidArgument),
    "no configuration": ("manifest", body(descriptor_with("config", digest="sha256:" + "0" * 64)), CorruptData),
    "other bytes in a blob": ("blob", body(lambda data: bytes([data[0] ^ 1]) + data[1:]), CorruptData),
    "more bytes in a blob": ("blob", body(lambda data: data + b"x"), CorruptData),
    "more bytes in a blob, without a length": ("blob", chunked(lambda data: data + b"x"), CorruptData),
    "fewer bytes in a blob": ("blob", body(lambda data: data[:-1]), CorruptData),
    "no blob": ("blob", status(404), CorruptData),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_wrong_is_refused(library: Library, registry: Faulty, name: str) -> None:
    registry.image("v1", [tar_of(one=bytes(range(256)) * 2000)], compression="")
    kind, fault, error = REFUSED[name]
    registry.always[kind] = fault
    with pytest.raises(error):
        await library.pull(f"{registry.host}/app:v1")
    assert registry.seen[kind] <= 2
    assert library.left() == EMPTY


LAYER_FAULTS = {name: fault for name, (kind, fault, _) in REFUSED.items() if kind == "blob"}


@pytest.mark.parametrize("name", LAYER_FAULTS)
async def test_a_wrong_layer_beside_right_ones(library: Library, registry: Faulty, name: str) -> None:
    """The configuration and a layer come as they should; nothing of them is visible or stays."""
    registry.image("v1", [tar_of(one=b"1" * 5000), tar_of(two=bytes(range(256)) * 2000), tar_of(three=b"3")], compression="")
    registry.fault["blob"] = [right, right, LAYER_FAULTS[name]]
    with pytest.raises(CorruptData):
        await library.pull(f"{registry.host}/app:v1")
    assert library.left() == EMPTY


async def test_by_digest_another_manifest_is_refused(library: Library, registry: Faulty) -> None:
    registry.image("v1")
    registry.image("v2", [tar_of(x=b"x")])
    asked = sha256(registry.manifests["v1"][0])
    registry.manifests[asked] = registry.manifests["v2"]
    with pytest.raises(CorruptData, match="its digest is"):
        await library.pull(f"{registry.host}/app@{asked}")
    assert library.left() == EMPTY


async def test_a_layer_of_other_content_than_announced(library: Library, registry: Faulty) -> None:
    """The blob is right, but its plain bytes are not what the configuration says."""
    manifest = registry.image("v1", [tar_of(one=b"1")])
    config = json.loads(registry.blobs[manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    data = json.dumps(config).encode()
    described = manifest["config"] | {"digest": registry.blob(data), "size": len(data)}
    registry.put("v1", manifest | {"config": described})
    with pytest.raises(CorruptData, match="has the content"):
        await library.pull(f"{registry.host}/app:v1")
    registry.put("v1", manifest | {"layers": []})
    with pytest.raises(CorruptData, match="tells of 1 layers"):
        await library.pull(f"{registry.host}/app:v1")
    assert library.left() == EMPTY


async def test_a_layer_that_is_no_archive(library: Library, registry: Faulty) -> None:
    registry.image("v1", [b"this is no tar at all, " * 100_000], compression="")
    with pytest.raises(CorruptData):
        await library.pull(f"{registry.host}/app:v1")
    assert library.left() == EMPTY


async def test_an_index_that_lies(library: Library, registry: Faulty) -> None:
    registry.image("v1")
    data, kind = registry.manifests["v1"]
    entry = {"mediaType": kind, "digest": sha256(data), "size": len(data), "platform": {"os": "linux", "architecture": "amd64"}}
    for change in ({"size": len(data) - 1}, {"mediaType": media_type.DOCKER_MANIFEST}, {"digest": "sha256:" + "1" * 64}):
        registry.put("many", {"schemaVersion": 2, "mediaType": media_type.OCI_INDEX, "manifests": [entry | change]})
        with pytest.raises((CorruptData, InvalidArgument, NotFound)):
            await library.pull(f"{registry.host}/app:many")
    itself = entry | {"mediaType": media_type.OCI_INDEX}
    for depth in range(5):
        digest = registry.put(f"d{depth}", {"schemaVersion": 2, "mediaType": media_type.OCI_INDEX, "manifests": [itself]})
        itself = itself | {"digest": digest, "size": len(registry.manifests[digest][0])}
    with pytest.raises((CorruptData, InvalidArgument), match=r"too deep|mediaType"):
        await library.pull(f"{registry.host}/app:d4")
    assert library.left() == EMPTY


# Credentials


MINE = Credentials("me", "word")


async def test_credentials_do_not_follow_a_redirect(library: Library, registry: Faulty, other: Faulty) -> None:
    registry.image()
    registry.basic = "me:word"
    other.blobs = registry.blobs
    registry.always["blob"] = redirect(f"http://{other.host}")
    await library.pull(f"{registry.host}/app:v1", credentials=MINE)
    assert other.seen["blob"] == 3
    assert all(value == "" for _, value in other.authorizations)


async def test_a_realm_elsewhere_gets_nothing(library: Library, libraries: OpenLibrary, registry: Faulty, other: Faulty) -> None:
    registry.image()
    registry.bearer = other.bearer = "a.token"
    registry.realm = f"http://{other.host}/token"
    with pytest.raises(Forbidden, match="registry-token-origins"):
        await library.pull(f"{registry.host}/app:v1", credentials=MINE)
    assert other.authorizations == []
    allowing = await libraries(token_origins=(f"http://{other.host}",))
    await allowing.pull(f"{registry.host}/app:v1", credentials=MINE)
    assert {value[:6] for _, value in other.authorizations} == {"Basic "}
    assert library.left() == EMPTY


async def test_foreign_urls_are_not_asked(library: Library, registry: Faulty, other: Faulty) -> None:
    manifest = registry.image()
    registry.basic = other.basic = "me:word"
    elsewhere = [layer | {"urls": [f"http://{other.host}/v2/x/blobs/{layer['digest']}"]} for layer in manifest["layers"]]
    registry.put("v1", manifest | {"layers": elsewhere})
    await library.pull(f"{registry.host}/app:v1", credentials=MINE)
    assert other.authorizations == []


async def test_a_mirror_gets_no_credentials(libraries: OpenLibrary, registry: Faulty) -> None:
    registry.image()
    library = await libraries(mirrors=(f"http://{registry.host}",))
    registry.basic = "me:word"
    with pytest.raises(NotFound, match="pull access denied"):
        await library.pull("app:v1", credentials=MINE)
    assert {value for _, value in registry.authorizations} == {""}


async def test_redirects_have_an_end(library: Library, registry: Faulty) -> None:
    registry.image()
    for target in (f"http://{registry.host}", "ftp://127.0.0.1", f"http://me:word@{registry.host}"):
        registry.always["manifest"] = redirect(target)
        with pytest.raises((Unavailable, Forbidden)):
            await library.pull(f"{registry.host}/app:v1")
    assert library.left() == EMPTY


async def test_nobody_there_and_no_registry(library: Library, registry: Faulty) -> None:
    with pytest.raises(Unavailable, match="cannot reach"):
        await library.pull("127.0.0.1:1/app:v1")
    registry.always["ping"] = status(404)
    with pytest.raises(GoraeError, match="is no registry"):
        await library.pull(f"{registry.host}/app:v1")
    assert library.left() == EMPTY
