"""What `store.seam` promises, asked of every store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.registry.conftest import memory_bucket

from gorae.errors import CorruptData, InvalidArgument, StorageFull, Unavailable
from gorae.oci.digest import Digest
from gorae.registry.store import bucket, directory
from gorae.registry.store.directory import Directory
from gorae.registry.store.opening import open_store
from gorae.registry.store.seam import OutOfOrder, Store, UnknownUpload

UPLOAD = "repositories/a/_uploads/0123"


@pytest.fixture(params=["directory", "memory", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "directory":
        made: Store = Directory(tmp_path / "storage")
    elif request.param == "memory":
        made = memory_bucket()
    else:
        request.getfixturevalue("s3_environment")
        made = open_store(f"s3://images/{tmp_path.name}-{request.node.name[:20].replace('[', '-')}")
    yield made
    await made.aclose()


async def chunks(*pieces: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


async def content(store: Store, key: str) -> bytes | None:
    opened = await store.open(key)
    if opened is None:
        return None
    try:
        return b"".join([piece async for piece in opened.chunks(0, opened.size)])
    finally:
        opened.close()


async def test_objects(store: Store) -> None:
    assert await store.read("a/b") is None
    assert await store.stat("a/b") is None
    assert await store.open("a/b") is None
    await store.write("a/b", b"one")
    await store.write("a/b", b"two", durable=False)
    assert await store.read("a/b") == b"two"
    entry = await store.stat("a/b")
    assert entry is not None
    assert (entry.key, entry.size) == ("a/b", 3)
    assert abs(entry.modified - time.time()) < 60
    await store.delete("a/b")
    assert await store.read("a/b") is None
    await store.delete("a/b")


async def test_a_prefix_is_no_object(store: Store) -> None:
    await store.write("a/b/c", b"")
    assert await store.read("a/b") is None
    assert await store.read("a/b/c/d") is None
    assert await store.read("a/b/c") == b""


async def test_create_has_one_winner(store: Store) -> None:
    won = await asyncio.gather(*(store.create("claim", str(number).encode()) for number in range(8)))
    assert sum(won) == 1
    assert await store.read("claim") == str(won.index(True)).encode()


async def test_entries(store: Store) -> None:
    for key in ("x/1", "x/y/2", "x/y/z/3", "xy/4"):
        await store.write(key, b"12")
    found = {entry.key: entry.size async for entry in store.entries("x")}
    assert found == {"x/1": 2, "x/y/2": 2, "x/y/z/3": 2}
    assert [entry async for entry in store.entries("nothing")] == []


async def test_content_by_ranges(store: Store) -> None:
    data = os.urandom(3_000_000)
    await store.write("blob", data)
    opened = await store.open("blob")
    assert opened is not None
    assert opened.size == len(data)
    for start, stop in ((0, 1), (5, 5), (999_999, 2_500_001), (2_999_999, 3_000_000)):
        pieces = [piece async for piece in opened.chunks(start, stop)]
        assert b"".join(pieces) == data[start:stop]
        assert all(len(piece) <= 2 << 20 for piece in pieces)
    opened.close()


async def test_an_upload_grows_and_is_committed(store: Store) -> None:
    data = os.urandom(700_000)
    await store.begin(UPLOAD)
    assert await store.offset(UPLOAD) == 0
    assert await store.append(UPLOAD, 0, chunks(data[:10], data[10:400_000])) == 400_000
    assert await store.offset(UPLOAD) == 400_000
    assert await store.append(UPLOAD, None, chunks(data[400_000:])) == 700_000
    digest = Digest.of(data)
    assert await store.commit(UPLOAD, digest, "blobs/x") == 700_000
    assert await content(store, "blobs/x") == data
    assert await store.cancel(UPLOAD)
    assert not await store.cancel(UPLOAD)
    with pytest.raises(UnknownUpload):
        await store.offset(UPLOAD)


async def test_an_empty_upload(store: Store) -> None:
    await store.begin(UPLOAD)
    assert await store.append(UPLOAD, 0, chunks()) == 0
    await store.commit(UPLOAD, Digest.of(b""), "blobs/empty")
    assert await content(store, "blobs/empty") == b""


async def test_out_of_order_is_refused_and_changes_nothing(store: Store) -> None:
    await store.begin(UPLOAD)
    await store.append(UPLOAD, 0, chunks(b"12345"))
    for offset in (0, 4, 6):
        with pytest.raises(OutOfOrder) as caught:
            await store.append(UPLOAD, offset, chunks(b"x"))
        assert caught.value.offset == 5
    assert await store.append(UPLOAD, 5, chunks(b"6")) == 6


async def test_what_was_never_begun(store: Store) -> None:
    with pytest.raises(UnknownUpload):
        await store.append(UPLOAD, 0, chunks(b"x"))
    with pytest.raises(UnknownUpload):
        await store.commit(UPLOAD, Digest.of(b"x"), "blobs/x")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_wrong_digest_makes_nothing(store: Store, algorithm: str) -> None:
    await store.begin(UPLOAD)
    await store.append(UPLOAD, 0, chunks(os.urandom(3 << 20)))
    with pytest.raises(CorruptData):
        await store.commit(UPLOAD, Digest.of(b"other", algorithm), "blobs/x")
    assert await store.stat("blobs/x") is None
    assert await store.offset(UPLOAD) == 3 << 20


async def test_a_cut_off_append_keeps_a_prefix(store: Store) -> None:
    await store.begin(UPLOAD)
    with pytest.raises(ConnectionResetError):
        await store.append(UPLOAD, 0, chunks(b"a" * 300_000, b"b" * 5, then=ConnectionResetError()))
    size = await store.offset(UPLOAD)
    assert size == 300_005
    await store.append(UPLOAD, size, chunks(b"c"))
    await store.commit(UPLOAD, Digest.of(b"a" * 300_000 + b"bbbbbc"), "blobs/x")


async def test_of_two_appends_at_once_one_is_refused(store: Store) -> None:
    await store.begin(UPLOAD)
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        begun.set()
        await gate.wait()

    first = asyncio.create_task(store.append(UPLOAD, 0, slow()))
    await begun.wait()

    async def second() -> int:
        try:
            return await store.append(UPLOAD, 0, chunks(b"other"))
        except OutOfOrder:
            return -1
        finally:
            gate.set()

    outcomes = [await second()]
    try:
        outcomes.append(await first)
    except OutOfOrder:
        outcomes.append(-1)
    assert sorted(outcomes) == [-1, 5]
    assert await store.offset(UPLOAD) == 5


async def test_commit_leaves_what_is_there(store: Store) -> None:
    data = b"same" * 1000
    for number in (1, 2):
        await store.begin(f"{UPLOAD}{number}")
        await store.append(f"{UPLOAD}{number}", 0, chunks(data))
        await store.commit(f"{UPLOAD}{number}", Digest.of(data), "blobs/x")
    assert await content(store, "blobs/x") == data


async def test_many_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PART", 1 << 20)
    piece = os.urandom(1 << 20)
    await store.begin(UPLOAD)
    await store.append(UPLOAD, 0, chunks(*[piece] * 11))
    await store.append(UPLOAD, None, chunks(b"end"))
    assert await store.commit(UPLOAD, Digest.of(piece * 11 + b"end"), "blobs/x") == 11 * len(piece) + 3
    assert hashlib.sha256(await content(store, "blobs/x") or b"").digest() == hashlib.sha256(piece * 11 + b"end").digest()


async def test_a_committed_file_never_grows(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    await store.begin(UPLOAD)
    await store.append(UPLOAD, 0, chunks(b"data"))
    await store.commit(UPLOAD, Digest.of(b"data"), "blobs/x")
    with pytest.raises(UnknownUpload):
        await store.append(UPLOAD, 4, chunks(b"evil"))
    assert await content(store, "blobs/x") == b"data"


async def test_another_instance_goes_on(tmp_path: Path) -> None:
    """The hash so far was in the memory of the first."""
    first, second = Directory(tmp_path), Directory(tmp_path)
    await first.begin(UPLOAD)
    await first.append(UPLOAD, 0, chunks(b"one"))
    await second.append(UPLOAD, 3, chunks(b"two"))
    await first.append(UPLOAD, 6, chunks(b"three"))
    await second.commit(UPLOAD, Digest.of(b"onetwothree"), "blobs/x")
    assert await content(first, "blobs/x") == b"onetwothree"


async def test_forgotten_hashes_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_HASHES", 1)
    store = Directory(tmp_path)
    for number in range(3):
        await store.begin(f"{UPLOAD}{number}")
        await store.append(f"{UPLOAD}{number}", 0, chunks(b"a"))
    for number in range(3):
        await store.append(f"{UPLOAD}{number}", 1, chunks(b"b"))
        await store.commit(f"{UPLOAD}{number}", Digest.of(b"ab"), f"blobs/{number}")


async def test_a_full_disk_has_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Directory(tmp_path)
    await store.begin(UPLOAD)

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory.os, "pwrite", full)
    with pytest.raises(StorageFull):
        await store.append(UPLOAD, 0, chunks(b"x"))
    with pytest.raises(StorageFull):
        await store.write("a", b"x")
    monkeypatch.undo()
    assert os.listdir(tmp_path / "scratch") == []


def test_old_scratch_is_swept(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    scratch = os.path.join(store.root, "scratch")
    for name in ("old", "young"):
        os.mknod(os.path.join(scratch, name))
    os.utime(os.path.join(scratch, "old"), (0, 0))
    Directory(tmp_path)
    assert os.listdir(scratch) == ["young"]


def test_opening(tmp_path: Path) -> None:
    assert isinstance(open_store(str(tmp_path / "a")), Directory)
    assert isinstance(open_store(f"file://{tmp_path}/b%20c"), Directory)
    assert (tmp_path / "b c").is_dir()
    assert isinstance(open_store("memory:///"), bucket.Bucket)
    for words in ("http://somewhere/x", "nonsense://x"):
        with pytest.raises(InvalidArgument):
            open_store(words)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        open_store(str(tmp_path / "file"))
