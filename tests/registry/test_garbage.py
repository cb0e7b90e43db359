"""The collector: what it takes, what it leaves, and pushes at the worst moment, step by step."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.registry.conftest import Serve
from tests.registry.house import CONFIG, Client, descriptor, digest_of, encode, image_of, index_of

from gorae.errors import CorruptData
from gorae.oci import media_type
from gorae.oci.digest import Digest
from gorae.registry import condemned, layout, push, terms
from gorae.registry.errors import Refusal
from gorae.registry.garbage import Collector, Report
from gorae.registry.repository import Repository
from gorae.registry.store.directory import Directory

OLD = time.time() - 10 * 86400
LAYER = b"layer" * 100


@pytest.fixture
async def store(tmp_path: Any) -> Directory:
    return Directory(tmp_path / "storage")


@pytest.fixture
async def client(serve: Serve, store: Directory) -> Client:
    return await serve(store=store)


def age(store: Directory) -> None:
    """Everything was written long ago."""
    for folder, _, files in os.walk(store.root):
        for name in files:
            os.utime(os.path.join(folder, name), (OLD, OLD))


async def collect(store: Directory, **options: Any) -> Report:
    report = await Collector(store, **options).collect()
    assert report is not None
    return report


async def blobs(store: Directory) -> set[str]:
    return {str(layout.digest_of(entry.key)) async for entry in store.entries(layout.BLOBS)}


async def test_only_what_nothing_names_goes(client: Client, store: Directory) -> None:
    kept = await client.push_image("a/b", "v1", LAYER)
    gone = await client.push_image("a/b", "v2", b"other layer")
    loose = await client.push_blob("c/d", b"never named")
    await client.ask("DELETE", f"/v2/a/b/manifests/{gone}")
    age(store)
    report = await collect(store)
    assert await blobs(store) == {kept, digest_of(LAYER), digest_of(CONFIG)}
    assert (report.deleted, report.manifests) == (3, 1)
    assert report.freed == len(b"other layer") + len(b"never named") + len(encode(image_of(b"other layer")))
    assert (await client.get(f"/v2/c/d/blobs/{loose}")).status == 404
    assert [entry.key async for entry in store.entries("garbage")] == [layout.term(0)]
    assert {entry.key async for entry in store.entries("repositories/c")} == set()
    assert (await client.get("/v2/a/b/manifests/v1")).status == 200
    assert (await collect(store)).deleted == 0


async def test_what_is_young_stays(client: Client, store: Directory) -> None:
    await client.push_blob("a/b", LAYER)
    assert (await collect(store)).deleted == 0
    age(store)
    # A push asks whether the blob is there, and relies on the answer.
    assert (await client.ask("HEAD", f"/v2/a/b/blobs/{digest_of(LAYER)}")).status == 200
    assert (await collect(store)).deleted == 0
    age(store)
    assert (await client.get(f"/v2/a/b/blobs/{digest_of(LAYER)}")).status == 200  # a pull relies on nothing
    assert (await collect(store)).deleted == 1


async def test_uploads_and_empty_repositories(client: Client, store: Directory) -> None:
    await client.push_image("a/b", "v1", LAYER)
    await client.ask("DELETE", f"/v2/a/b/manifests/{digest_of(encode(image_of(LAYER)))}")
    await client.ask("POST", "/v2/c/d/blobs/uploads/")
    age(store)
    report = await collect(store)
    assert (report.deleted, report.uploads) == (3, 1)
    age(store)
    await collect(store)
    assert (await client.get("/v2/_catalog")).json == {"repositories": []}


async def test_looking_only(client: Client, store: Directory) -> None:
    await client.push_blob("a/b", LAYER)
    age(store)
    assert (await collect(store, dry=True)).deleted == 1
    assert await blobs(store) == {digest_of(LAYER)}


async def test_untagged(client: Client, store: Directory) -> None:
    child = encode(image_of(LAYER))
    await client.push_image("a/b", "moving", LAYER)
    await client.put_manifest("a/b", "index", index_of(descriptor(child, media_type.OCI_MANIFEST)), media_type.OCI_INDEX)
    about = {"mediaType": media_type.OCI_MANIFEST, "digest": digest_of(child), "size": len(child)}
    sbom = image_of(subject=about)
    await client.put_manifest("a/b", digest_of(encode(sbom)), sbom)
    loose = await client.push_image("a/b", "moving", b"once")
    await client.push_image("a/b", "moving", b"twice")
    age(store)
    assert (await collect(store)).untagged == 0
    assert (await collect(store, untagged=True)).untagged == 1
    assert (await client.get(f"/v2/a/b/manifests/{loose}")).status == 404
    for reference in ("moving", "index", digest_of(child), digest_of(encode(sbom))):
        assert (await client.get(f"/v2/a/b/manifests/{reference}")).status == 200
    assert digest_of(b"once") not in await blobs(store)


async def test_a_manifest_that_cannot_be_read_stops_it(client: Client, store: Directory) -> None:
    digest = Digest(await client.push_image("a/b", "v1", LAYER))
    await client.push_blob("a/b", b"loose")
    await store.write(layout.blob(digest), b"broken")
    age(store)
    with pytest.raises(CorruptData):
        await collect(store)
    assert digest_of(b"loose") in await blobs(store)


async def test_one_at_a_time(store: Directory) -> None:
    term = await terms.Term.begin(store)
    assert term is not None
    async with term:
        assert await Collector(store).collect() is None
    assert await Collector(store).collect() is not None


async def test_a_dead_ones_term_runs_out(store: Directory) -> None:
    assert await terms.Term.begin(store) is not None  # and dies
    assert await Collector(store).collect() is None
    os.utime(os.path.join(store.root, layout.term(0)), (OLD, OLD))
    assert await Collector(store).collect() is not None
    assert [entry.key async for entry in store.entries(layout.TERMS)] == [layout.term(1)]


async def test_a_term_has_one_winner(store: Directory) -> None:
    assert sum(term is not None for term in await asyncio.gather(*(terms.Term.begin(store) for _ in range(8)))) == 1


# At the worst moment: `interrupt` runs between two steps of the collector.

Act = Callable[[Repository], Awaitable[object]]


class Interrupted(Directory):
    """Lets a push happen just before or after the collector's n-th change of the store."""

    def __init__(self, root: str, at: int, act: Act, name: str) -> None:
        super().__init__(root)
        self.changes = 0
        self.at = at
        self.act = act
        self.outcome: object = None
        self.task: asyncio.Task[object] | None = None
        self.name = name

    async def _step(self) -> None:
        if self.changes == self.at:
            # In a store of its own, as from another instance; it may have to wait for the collector, so nobody waits for it here.
            self.task = asyncio.create_task(_settled(self.act(Repository(Directory(self.root), self.name))))
            await asyncio.wait([self.task], timeout=0.15)
        self.changes += 1

    async def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        await self._step()
        await super().write(key, data, durable=durable)

    async def create(self, key: str, data: bytes) -> bool:
        await self._step()
        return await super().create(key, data)

    async def delete(self, key: str) -> None:
        await self._step()
        await super().delete(key)


async def _settled(work: Awaitable[object]) -> object:
    try:
        return await work
    except Refusal as refusal:
        return refusal


async def upload_again(repository: Repository) -> object:
    async def chunks():  # type: ignore[no-untyped-def]
        yield LAYER

    identifier = await repository.begin_upload()
    await repository.append(identifier, 0, chunks())
    await repository.commit(identifier, Digest.of(LAYER))
    return "uploaded"


async def mount(repository: Repository) -> object:
    return "mounted" if await repository.adopt(Digest.of(LAYER)) else "absent"


async def name_it(repository: Repository) -> object:
    return await push.receive(repository, "v1", encode(image_of(LAYER)), media_type.OCI_MANIFEST)


@pytest.mark.parametrize("act", [upload_again, mount, name_it], ids=lambda act: act.__name__)
async def test_pushes_between_every_two_steps(client: Client, store: Directory, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was acknowledged is there afterwards, for every moment at which the push may come."""
    monkeypatch.setattr(condemned, "_PAUSE", 0.001)
    at = 0
    seen = set()
    while True:
        for data in (CONFIG, LAYER):
            await client.push_blob("a/b", data)
        age(store)
        name = "other" if act is mount else "a/b"
        interrupted = Interrupted(store.root, at, act, name)
        await collect(interrupted)  # type: ignore[arg-type]
        if interrupted.task is None:
            break
        outcome = await interrupted.task
        seen.add(type(outcome).__name__ if not isinstance(outcome, str) else outcome)
        repository = Repository(store, name)
        there = await repository.blob_size(Digest.of(LAYER)) is not None
        if outcome in ("uploaded", "mounted"):
            assert there, f"step {at}: acknowledged, and gone"
        elif isinstance(outcome, push.Receipt):
            assert there, f"step {at}"
            assert await repository.blob_size(Digest.of(CONFIG)) is not None, f"step {at}"
            await push.remove(repository, outcome.digest)
        else:
            assert outcome == "absent" or (isinstance(outcome, Refusal) and outcome.code == "MANIFEST_BLOB_UNKNOWN")
        assert await repository.resolve("v1") is None
        assert not [entry async for entry in store.entries(layout.CONDEMNED)], f"step {at}"
        at += 1
    assert at > 8
    assert seen == {upload_again: {"uploaded"}, mount: {"mounted", "absent"}, name_it: {"Receipt", "Refusal"}}[act]  # type: ignore[index]


async def test_a_collector_that_dies_between_every_two_steps(
    client: Client, store: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushes go on afterwards, and the next collector finishes."""
    monkeypatch.setattr(condemned, "_PAUSE", 0.001)
    monkeypatch.setattr(condemned, "_PATIENCE", 0.01)

    class Dying(Interrupted):
        async def _step(self) -> None:
            if self.changes >= self.at:
                raise KeyboardInterrupt  # nothing catches it on the way: as if killed
            self.changes += 1

    at = 0
    while True:
        await client.push_blob("a/b", LAYER)
        age(store)
        try:
            await collect(Dying(store.root, at, mount, "a/b"))  # type: ignore[arg-type]
            break
        except KeyboardInterrupt:
            pass
        age(store)  # its term runs out
        assert await upload_again(Repository(store, "a/b")) == "uploaded", f"step {at}"
        assert await Repository(store, "a/b").blob_size(Digest.of(LAYER)) == len(LAYER), f"step {at}"
        age(store)
        assert (await collect(store)).deleted == 1, f"step {at}"
        age(store)
        at += 1
    assert at >= 8


async def test_gc_by_command(client: Client, store: Directory, tmp_path: Any) -> None:
    from click.testing import CliRunner

    from gorae.cli.registry import registry

    await client.push_blob("a/b", LAYER)
    age(store)
    done = await asyncio.to_thread(CliRunner().invoke, registry, ["gc", "--storage", store.root, "--grace", "1d"])
    assert "1 blobs with 500 bytes deleted" in done.output, done.output
    assert json.dumps(sorted(await blobs(store))) == "[]"
