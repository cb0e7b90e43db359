"""Blobs are verified on every way in, resumable, and never collected under a lease."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from gorae.errors import Conflict, CorruptData, InvalidArgument, NotFound
from gorae.storage.content.garbage import forget
from gorae.storage.content.lease import Lease, Leases
from gorae.storage.content.store import KEPT_FOR, Store
from gorae.storage.db.database import Database


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def ingests(store: Store) -> list[str]:
    return os.listdir(os.path.join(store.directory, "ingest"))


def overwrite(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


async def collect(store: Store) -> None:
    garbage = await store.database.write(forget)
    await store.unlink_forgotten(garbage.digests)


async def test_what_goes_in_comes_out(store: Store, lease: Lease) -> None:
    data = os.urandom(3_500_000)
    async with await store.writer(lease=lease.id, expected=sha256(data), size=len(data)) as ingest:
        grown: list[int] = []
        ingest.follow = grown.append
        for start in range(0, len(data), 300_001):
            await ingest.write(data[start : start + 300_001])
        info = await ingest.commit(media_type="x/y")
    assert (info.digest, info.size, info.media_type) == (sha256(data), len(data), "x/y")
    assert grown == sorted(grown)
    assert grown[-1] == len(data)
    assert store.info(info.digest) == info
    assert store.read(info.digest, len(data)) == data
    assert b"".join([part async for part in store.stream(info.digest)]) == data
    assert b"".join([part async for part in store.stream(info.digest, 10, 2_000_000)]) == data[10:2_000_010]
    assert os.stat(store.path(info.digest)).st_mode & 0o777 == 0o600
    assert ingests(store) == []


async def test_sha512(store: Store, lease: Lease) -> None:
    digest = "sha512:" + hashlib.sha512(b"x").hexdigest()
    assert (await store.add(b"x", lease=lease.id, expected=digest)).digest == digest
    assert store.read(digest, 1) == b"x"


@pytest.mark.parametrize("announced", [{"expected": sha256(b"other")}, {"size": 4}, {"size": 6}])
async def test_what_does_not_match_leaves_nothing(store: Store, lease: Lease, announced: dict[str, object]) -> None:
    async def bring() -> None:
        async with await store.writer(lease=lease.id, **announced) as ingest:  # type: ignore[arg-type]
            await ingest.write(b"hello")
            await ingest.commit()

    with pytest.raises(CorruptData):
        await bring()
    assert ingests(store) == []
    assert store.walk() == ()
    assert os.listdir(os.path.join(store.directory, "blobs", "sha256")) == []


async def test_left_without_commit_is_gone(store: Store, lease: Lease) -> None:
    async with await store.writer(lease=lease.id) as ingest:
        await ingest.write(b"x" * 2_000_000)
    assert ingests(store) == []


async def test_a_cancelled_writer_is_gone(store: Store, lease: Lease) -> None:
    started = asyncio.Event()

    async def write() -> None:
        async with await store.writer(lease=lease.id) as ingest:
            while True:
                await ingest.write(b"x" * 1_000_000)
                started.set()

    task = asyncio.create_task(write())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ingests(store) == []


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:" + "0" * 64 + "\n", "../x"],
)
async def test_what_is_no_digest_never_becomes_a_path(store: Store, digest: str) -> None:
    with pytest.raises(InvalidArgument):
        store.path(digest)
    with pytest.raises(InvalidArgument):
        store.open_blob(digest)


async def test_an_interrupted_ingest_is_resumed_by_reference(store: Store, lease: Lease, database: Database) -> None:
    data = os.urandom(2_500_000)
    async with await store.writer(lease=lease.id, expected=sha256(data), reference="pull-1") as ingest:
        await ingest.write(data[:2_000_000])
    again = await Store.open(store.directory, database)
    async with await again.writer(lease=lease.id, expected=sha256(data), size=len(data), reference="pull-1") as ingest:
        assert ingest.offset == 2_000_000
        with pytest.raises(Conflict):
            await again.writer(lease=lease.id, reference="pull-1")
        await ingest.write(data[2_000_000:])
        await ingest.commit()
    assert again.read(sha256(data), len(data)) == data
    assert ingests(again) == []


async def test_a_resumed_ingest_that_proves_wrong_starts_anew(store: Store, lease: Lease) -> None:
    async with await store.writer(lease=lease.id, reference="r") as ingest:
        await ingest.write(b"garbage")
    with pytest.raises(CorruptData):
        async with await store.writer(lease=lease.id, expected=sha256(b"good"), reference="r") as ingest:
            await ingest.commit()
    async with await store.writer(lease=lease.id, expected=sha256(b"good"), reference="r") as ingest:
        assert ingest.offset == 0
        await ingest.write(b"good")
        await ingest.commit()


async def test_the_same_bytes_twice_at_once(store: Store, lease: Lease) -> None:
    data = b"same" * 100_000
    infos = await asyncio.gather(*(store.add(data, lease=lease.id) for _ in range(20)))
    assert {info.digest for info in infos} == {sha256(data)}
    assert len(store.walk()) == 1
    assert ingests(store) == []


async def test_a_blob_without_a_lease_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="lease"):
        await store.add(b"x", lease="gone")
    assert store.walk() == ()
    assert ingests(store) == []


async def test_a_flipped_bit_is_noticed(store: Store, lease: Lease) -> None:
    info = await store.add(b"hello", lease=lease.id)
    overwrite(store.path(info.digest), b"hellp")
    with pytest.raises(CorruptData, match="does not match"):
        store.read(info.digest, 100)
    with pytest.raises(CorruptData, match="more than"):
        store.read(info.digest, 3)


async def test_the_start_sweeps_what_a_crash_left(store: Store, lease: Lease, database: Database) -> None:
    kept = await store.add(b"kept", lease=lease.id)
    lost = await store.add(b"lost", lease=lease.id)
    os.unlink(store.path(lost.digest))
    directory = Path(store.directory)
    (directory / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"renamed, not recorded")
    (directory / "ingest" / "token").write_bytes(b"half")
    (directory / "ingest" / "named-fresh").write_bytes(b"half")
    old = directory / "ingest" / "named-old"
    old.write_bytes(b"half")
    os.utime(old, (old.stat().st_mtime - KEPT_FOR - 10,) * 2)
    again = await Store.open(store.directory, database)
    assert [info.digest for info in again.walk()] == [kept.digest]
    assert os.listdir(directory / "blobs" / "sha256") == [kept.digest.partition(":")[2]]
    assert ingests(again) == ["named-fresh"]


async def test_garbage_is_what_no_root_reaches(store: Store, database: Database) -> None:
    leases = await Leases.open(database)
    lease = await leases.take("pull")
    layer = await store.add(b"layer", lease=lease.id)
    config = await store.add(b"config", lease=lease.id, children=[layer.digest])
    stray = await store.add(b"stray", lease=lease.id)
    await collect(store)
    assert len(store.walk()) == 3
    other = await leases.take("build")
    assert await other.hold("content", [config.digest, sha256(b"missing")]) == {config.digest}
    await lease.release()
    await collect(store)
    assert {info.digest for info in store.walk()} == {config.digest, layer.digest}
    assert stray.digest.partition(":")[2] not in os.listdir(os.path.join(store.directory, "blobs", "sha256"))
    await other.release()
    await collect(store)
    assert store.walk() == ()


async def test_a_lease_of_a_dead_process_is_dropped_at_the_start_and_a_timed_one_is_not(database: Database, store: Store) -> None:
    leases = await Leases.open(database)
    await store.add(b"dead", lease=(await leases.take("pull")).id)
    timed = await leases.take("upload", seconds=3600)
    kept = await store.add(b"timed", lease=timed.id)
    expired = await leases.take("upload", seconds=-1)
    await store.add(b"expired", lease=expired.id)
    await Leases.open(database)
    await collect(store)
    assert [info.digest for info in store.walk()] == [kept.digest]


async def test_collecting_while_blobs_arrive_never_loses_one(store: Store, database: Database) -> None:
    leases = await Leases.open(database)

    async def bring(number: int) -> None:
        data = str(number % 5).encode() * 1000
        async with await leases.take(str(number)) as lease:
            info = await store.add(data, lease=lease.id)
            assert store.read(info.digest, 1000) == data

    async def sweep() -> None:
        for _ in range(30):
            await collect(store)

    await asyncio.gather(sweep(), *(bring(number) for number in range(60)))
    await collect(store)
    assert store.walk() == ()
    assert os.listdir(os.path.join(store.directory, "blobs", "sha256")) == []


async def test_delete_keeps_what_came_again(store: Store, lease: Lease) -> None:
    info = await store.add(b"x" * 5000, lease=lease.id)
    assert await store.delete([info.digest]) >= 4096
    with pytest.raises(NotFound):
        store.info(info.digest)
    await store.add(b"x" * 5000, lease=lease.id)
    assert await store.unlink_forgotten([info.digest]) == 0
    assert store.read(info.digest, 5000) == b"x" * 5000


async def test_a_layer_is_found_by_its_uncompressed_digest(store: Store, lease: Lease) -> None:
    packed = await store.add(b"packed", lease=lease.id)
    assert store.find_uncompressed(sha256(b"plain")) is None
    await store.know_uncompressed(packed.digest, sha256(b"plain"))
    found = store.find_uncompressed(sha256(b"plain"))
    assert found is not None
    assert found.digest == packed.digest
    plain = await store.add(b"plain", lease=lease.id)
    assert store.find_uncompressed(plain.digest) == plain
