"""Pulling from registries that behave: what arrives, what is told, what is not fetched again."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.remote.conftest import EMPTY, Library, OpenLibrary
from tests.engine.remote.faulty import Faulty, sha256, stall, tar_of

from gorae.engine.image.model import Progress, Pulled
from gorae.engine.remote.rules import Credentials
from gorae.errors import InvalidArgument, NotFound, Unsupported
from gorae.oci import media_type

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
async def test_a_pull(library: Library, registry: Faulty, compression: str) -> None:
    registry.image(compression=compression)
    name = f"{registry.host}/team/app:v1"
    steps = await library.pull(name)
    image = library.images.get(name)
    digest = sha256(registry.manifests["v1"][0])
    assert image.repo_tags == (name,)
    assert image.repo_digests == (f"{registry.host}/team/app@{digest}",)
    assert await library.content(name) == {"one": b"1" * 100_000, "two": b"2" * 50_000}
    told = [step.status for step in steps if isinstance(step, Progress)]
    assert steps[0] == Progress(status="Pulling from team/app", id="v1")
    assert told[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}"]
    assert told.count("Pulling fs layer") == told.count("Pull complete") == told.count("Download complete") == 2
    assert isinstance(steps[-1], Pulled)
    assert steps[-1].fresh
    assert [event.action for event in library.events] == ["pull"]
    assert library.left() == {"leases": 0, "snapshots": 2, "active": 0, "ingest": 0, "blobs": 4, "images": 1}


async def test_the_same_again_fetches_nothing(library: Library, registry: Faulty) -> None:
    registry.image()
    name = f"{registry.host}/app:v1"
    await library.pull(name)
    before = registry.seen["blob"]
    steps = await library.pull(name)
    assert registry.seen["blob"] == before
    assert steps[-2] == Progress(status=f"Status: Image is up to date for {name}")
    assert steps[-1] == Pulled(id=library.images.get(name).id, reference=name, digest=steps[-1].digest, fresh=False)  # type: ignore[union-attr]


async def test_a_layer_that_is_here_is_not_fetched(library: Library, registry: Faulty) -> None:
    shared = tar_of(one=b"1" * 1000)
    registry.image("v1", [shared])
    registry.image("v2", [shared, tar_of(two=b"2")])
    await library.pull(f"{registry.host}/app:v1")
    before = registry.seen["blob"]
    steps = await library.pull(f"{registry.host}/app:v2")
    assert registry.seen["blob"] == before + 2  # configuration and the new layer
    assert [step.status for step in steps if isinstance(step, Progress)].count("Already exists") == 1
    assert await library.content(f"{registry.host}/app:v2") == {"one": b"1" * 1000, "two": b"2"}


async def test_one_layer_twice(library: Library, registry: Faulty) -> None:
    layer = tar_of(one=b"1")
    registry.image("v1", [layer, tar_of(two=b"2"), layer])
    await library.pull(f"{registry.host}/app:v1")
    assert await library.content(f"{registry.host}/app:v1") == {"one": b"1", "two": b"2"}


async def test_an_image_without_layers(library: Library, registry: Faulty) -> None:
    manifest = registry.image("v1", [tar_of(one=b"1")])
    import json

    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    described = manifest["config"] | {"digest": registry.blob(config), "size": len(config)}
    registry.put("v1", manifest | {"config": described, "layers": []})
    await library.pull(f"{registry.host}/app:v1")
    assert library.images.get(f"{registry.host}/app:v1").layers == ()


async def test_by_digest(library: Library, registry: Faulty) -> None:
    registry.image()
    name = f"{registry.host}/app@{sha256(registry.manifests['v1'][0])}"
    await library.pull(name)
    image = library.images.get(name)
    assert (image.repo_tags, image.repo_digests) == ((), (name,))
    with pytest.raises(NotFound, match="manifest unknown"):
        await library.pull(f"{registry.host}/app@sha256:{'0' * 64}")


async def test_all_tags(library: Library, registry: Faulty) -> None:
    registry.image("v1", [tar_of(one=b"1")])
    registry.image("v2", [tar_of(two=b"2")])
    await library.pull(f"{registry.host}/app")
    assert {tag for image in library.images.list() for tag in image.repo_tags if "app" in tag} == {
        f"{registry.host}/app:v1",
        f"{registry.host}/app:v2",
    }


def an_index(registry: Faulty, tag: str = "many") -> None:
    entries = []
    for machine in ("arm64", "amd64"):
        registry.image(machine, [tar_of(machine=machine.encode())], architecture=machine)
        data, kind = registry.manifests[machine]
        platform = {"os": "linux", "architecture": machine}
        entries.append({"mediaType": kind, "digest": sha256(data), "size": len(data), "platform": platform})
    attestation = entries[0] | {"platform": {"os": "unknown", "architecture": "unknown"}}
    registry.put(tag, {"schemaVersion": 2, "mediaType": media_type.OCI_INDEX, "manifests": [attestation, *entries]})


async def test_an_index_and_its_platforms(library: Library, registry: Faulty) -> None:
    an_index(registry)
    name = f"{registry.host}/app:many"
    await library.pull(name, platform="linux/arm64")
    image = library.images.get(name)
    assert image.architecture == "arm64"
    assert image.repo_digests == (f"{registry.host}/app@{sha256(registry.manifests['many'][0])}",)
    await library.pull(name, platform="linux/amd64")
    assert await library.content(name) == {"machine": b"amd64"}
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        await library.pull(name, platform="linux/s390x")
    with pytest.raises(NotFound, match="does not match the specified platform"):
        await library.pull(f"{registry.host}/app:arm64", platform="linux/s390x")
    found = await library.images.look_up(name)
    assert (found.media_type, found.platforms) == (media_type.OCI_INDEX, (("linux", "arm64", ""), ("linux", "amd64", "")))


async def test_names_without_a_registry(library: Library, libraries: OpenLibrary, registry: Faulty, other: Faulty) -> None:
    with pytest.raises(InvalidArgument, match="names no registry, and no registry-mirrors are configured"):
        await library.pull("app:v1")
    registry.image()
    mirrored = await libraries(mirrors=(f"http://{other.host}", f"http://{registry.host}"), default="registry.example")
    await mirrored.pull("app:v1")  # the first mirror does not have it
    assert other.seen["manifest"] == 2
    assert mirrored.images.get("app:v1").repo_tags == ("app:v1",)
    steps = await mirrored.pull("registry.example/library/app:v1")
    assert steps[-1] == Pulled(id=mirrored.images.get("app:v1").id, reference="app:v1", digest=steps[-1].digest, fresh=False)  # type: ignore[union-attr]


async def test_foreign_layers_and_artifacts_are_refused(library: Library, registry: Faulty) -> None:
    manifest = registry.image()
    for kind in sorted(media_type.FOREIGN):
        foreign = manifest["layers"][0] | {"mediaType": kind, "urls": [f"http://{registry.host}/elsewhere"]}
        registry.put("foreign", manifest | {"layers": [foreign, *manifest["layers"][1:]]})
        with pytest.raises(Unsupported, match="foreign layer"):
            await library.pull(f"{registry.host}/app:foreign")
    registry.put("chart", manifest | {"config": manifest["config"] | {"mediaType": "application/vnd.chart.v1+json"}})
    with pytest.raises(Unsupported, match="no container image, but an artifact of type"):
        await library.pull(f"{registry.host}/app:chart")
    registry.put("odd", manifest | {"layers": [manifest["layers"][0] | {"mediaType": "text/plain"}]})
    with pytest.raises(Unsupported, match="unknown media type text/plain"):
        await library.pull(f"{registry.host}/app:odd")
    assert library.left() == EMPTY


async def test_two_at_once_fetch_once(library: Library, registry: Faulty) -> None:
    registry.image("v1", [tar_of(one=b"1" * 3_000_000)])
    registry.manifests["v2"] = registry.manifests["v1"]
    await asyncio.gather(library.pull(f"{registry.host}/app:v1"), library.pull(f"{registry.host}/app:v2"))
    assert registry.seen["blob"] == 3  # the configuration twice, the layer once
    assert len(library.images.get(f"{registry.host}/app:v1").repo_tags) == 2


async def test_a_cancelled_pull_leaves_nothing(library: Library, registry: Faulty) -> None:
    registry.image("v1", [tar_of(one=b"1"), tar_of(two=bytes(range(256)) * 8000)], compression="")
    registry.fault["blob"] = [lambda self, request: _right(self, request), stall, stall]
    steps = library.images.pull(f"{registry.host}/app:v1")
    assert (await anext(steps)).status.startswith("Pulling")  # type: ignore[union-attr]
    await registry.held.wait()
    await steps.aclose()
    assert library.left() == EMPTY


async def _right(registry: Faulty, request):  # type: ignore[no-untyped-def]
    return registry.right(request)


@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_credentials(library: Library, registry: Faulty, kind: str) -> None:
    registry.image()
    registry.basic, registry.bearer = ("me:word", "") if kind == "basic" else ("", "a.token")
    if kind == "basic":
        with pytest.raises(NotFound, match="pull access denied for 127"):
            await library.pull(f"{registry.host}/app:v1")
        with pytest.raises(NotFound, match="pull access denied"):
            await library.pull(f"{registry.host}/app:v1", credentials=Credentials("me", "wrong"))
    await library.pull(f"{registry.host}/app:v1", credentials=Credentials("me", "word", server=registry.host))
    asked = [value for where, value in registry.authorizations if where == "token"]
    assert (len(asked) > 0) == (kind == "bearer")
    assert all(value.startswith("Basic ") for value in asked)
