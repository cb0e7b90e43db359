"""The library of images on a real data root: host, import, load, save, names, removal, prune."""

# ruff: noqa: ASYNC240 (the test's own files)

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.storage.tars import directory, hardlink, member, symlink, tar

from gorae.engine.image.images import Images
from gorae.engine.image.model import Deleted, ImageEvent, Loaded, Progress, Untagged
from gorae.errors import Conflict, CorruptData, InvalidArgument, NotFound, Unsupported
from gorae.storage.root import DataRoot

pytestmark = pytest.mark.kernel


class World:
    def __init__(self, root: DataRoot) -> None:
        self.root = root
        self.events: list[ImageEvent] = []
        self.users: list[tuple[str, bool]] = []
        self.used = ""
        self.images: Images

    async def open(self) -> None:
        self.images = await Images.open(
            self.root, in_use=lambda image: self.users if image == self.used else (), publish=self.events.append
        )

    def counts(self) -> tuple[int, int, int]:
        """Blobs, committed snapshots, images: what must go back to what it was."""
        kinds = [info.kind for info in self.root.snapshots.walk()]
        assert set(kinds) <= {"committed"}
        return len(self.root.content.walk()), len(kinds), len(self.images.list())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with await DataRoot.open(tmp_path / "data") as root:
        world = World(root)
        await world.open()
        yield world
        await world.images.aclose()


async def chunks(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


ROOTFS = tar(
    directory("bin", mode=0o755),
    member("bin/hello", b"#!/bin/sh\necho hello\n", mode=0o755),
    symlink("sbin", "bin"),
    directory("home", uid=1000, gid=1000, mtime=12345, mode=0o2775),
)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def load(world: World, data: bytes) -> list[Loaded]:
    return [step async for step in world.images.load(chunks(data)) if isinstance(step, Loaded)]


async def save(world: World, *names: str) -> bytes:
    return b"".join([part async for part in world.images.save(names)])


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {info.name: tar.extractfile(info) for info in tar.getmembers()}
        return {name: file.read() for name, file in files.items() if file is not None}


async def test_the_host_image(world: World, tmp_path: Path) -> None:
    [summary] = world.images.list()
    assert summary.repo_tags == ("host:latest",)
    assert summary.builtin
    image = world.images.get("host")
    assert image.id == summary.id == world.images.get("host:latest").id == world.images.get(image.id[7:19]).id
    assert image.config.cmd in (("/bin/bash",), ("/bin/sh",))
    assert any(item.startswith("PATH=/usr/local/sbin:") for item in image.config.env)
    assert (image.size, image.layers, image.os) == (0, (), "linux")
    key = await world.images.rootfs("host")
    [mount] = await world.root.snapshots.prepare("c", key)
    assert mount.options[1] == "lowerdir=/"
    assert world.root.snapshots.hidden("c") == (str(tmp_path / "data").lstrip("/"),)
    assert len(world.images.history("host")) == 1


async def test_the_host_image_is_the_same_after_a_restart_and_cannot_be_touched(world: World) -> None:
    before = world.images.get("host")
    await world.open()
    assert world.images.get("host").id == before.id
    for reference in ("host", before.id, before.id[7:15]):
        with pytest.raises(Conflict, match="built in"):
            await world.images.remove(reference, force=True)
    with pytest.raises(Unsupported, match="machine itself"):
        await save(world, "host")
    await world.images.import_(chunks(ROOTFS), repository="r")
    calls = (
        world.images.tag("r", "host"),
        world.images.tag("r", "host", "x"),
        world.images.import_(chunks(ROOTFS), repository="host"),
    )
    for call in calls:
        with pytest.raises(InvalidArgument, match="built-in"):
            await call
    await world.images.tag("host", "mine", "1")
    assert world.images.get("mine:1").repo_tags == ("host:latest", "mine:1")
    await world.images.prune(dangling=False)
    assert [image.builtin for image in world.images.list()] == [True]


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
async def test_import(world: World, pack) -> None:
    data = pack(ROOTFS)
    image = await world.images.import_(
        chunks(data, 700),
        repository="team/rootfs",
        tag="v1",
        message="by hand",
        changes=['CMD ["/bin/hello"]', "ENV A=1 B=$A2x", "EXPOSE 80"],
    )
    assert image.repo_tags == ("team/rootfs:v1",)
    assert image.layers == (sha256(ROOTFS),)
    assert image.size == len(b"#!/bin/sh\necho hello\n")
    assert (image.config.cmd, image.config.exposed_ports, image.comment) == (("/bin/hello",), ("80/tcp",), "by hand")
    assert image.last_tagged is not None
    assert [item.comment for item in world.images.history("team/rootfs:v1")] == ["by hand"]
    key = await world.images.rootfs(image.id)
    assert key == sha256(ROOTFS)
    upper = world.root.snapshots.upper(key)
    assert Path(upper, "sbin/hello").read_bytes() == b"#!/bin/sh\necho hello\n"
    home = os.stat(os.path.join(upper, "home"))
    assert (home.st_uid, home.st_gid, home.st_mtime, home.st_mode & 0o7777) == (1000, 1000, 12345, 0o2775)
    blobs = {info.digest for info in world.root.content.walk()}
    assert blobs == {image.id, sha256(data), world.images.get("host").id}
    config = json.loads(world.root.content.read(image.id, 1 << 20))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [sha256(ROOTFS)]}
    assert world.events[-1] == ImageEvent(action="import", id=image.id, name="team/rootfs:v1")


async def test_an_import_that_fails_leaves_nothing(world: World) -> None:
    before = world.counts()
    cases: list[tuple[bytes, dict[str, object], type[Exception]]] = [
        (b"", {}, InvalidArgument),
        (b"no archive at all" * 100, {}, CorruptData),
        (ROOTFS[:700], {}, CorruptData),
        (gzip.compress(ROOTFS)[:-20], {}, CorruptData),
        (tar(member("../../etc/passwd", b"x")), {}, CorruptData),
        (ROOTFS, {"changes": ["FROM scratch"]}, InvalidArgument),
        (ROOTFS, {"repository": "UPPER"}, InvalidArgument),
        (ROOTFS, {"repository": "a", "tag": "no/tag"}, InvalidArgument),
        (ROOTFS, {"platform": "windows/amd64"}, InvalidArgument),
    ]
    for data, options, error in cases:
        with pytest.raises(error):
            await world.images.import_(chunks(data), **options)  # type: ignore[arg-type]
    await world.root.collect_garbage()
    world.root.snapshots.trash.finish()
    assert world.counts() == before
    assert os.listdir(os.path.join(world.root.content.directory, "ingest")) == []
    assert len(os.listdir(world.root.snapshots.directory)) == 2  # host and trash


async def test_an_import_whose_sender_goes_away_leaves_nothing(world: World) -> None:
    before = world.counts()

    async def broken() -> AsyncIterator[bytes]:
        yield ROOTFS[:1000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await world.images.import_(broken())
    with pytest.raises(ConnectionResetError):
        await anext(world.images.load(broken()))
    await world.root.collect_garbage()
    assert world.counts() == before


async def test_a_large_import(world: World) -> None:
    big = os.urandom(3 << 20)
    image = await world.images.import_(chunks(tar(*(member(f"f{number}", big) for number in range(5)))), repository="big")
    upper = Path(world.root.snapshots.upper(await world.images.rootfs("big")))
    assert all((upper / f"f{number}").read_bytes() == big for number in range(5))
    assert image.size == 5 * len(big)


@pytest.mark.parametrize("wrong", ["nothing", "host:other", "sha256:" + "0" * 64, "0" * 64, "abcdef0", "sha256:abcdef0"])
async def test_unknown_images(world: World, wrong: str) -> None:
    with pytest.raises(NotFound, match="No such image: "):
        world.images.get(wrong)
    with pytest.raises(NotFound):
        await world.images.remove(wrong)
    with pytest.raises(NotFound):
        await save(world, wrong)
    with pytest.raises(NotFound):
        await world.images.rootfs(wrong)


async def test_what_cannot_be_a_name(world: World) -> None:
    for name in ("", "A", "a b", "a:b:c", "../x", "a@sha256:0"):
        with pytest.raises(InvalidArgument):
            world.images.get(name)


async def two_layers(world: World) -> tuple[bytes, str]:
    """A docker-archive as old versions wrote it: one image, two layers, one of them twice through a link."""
    lower = tar(directory("a"), member("a/keep", b"1"), member("a/gone", b"2"))
    upper = tar(member("a/.wh.gone", b""), member("b", b"3"), hardlink("again", "a/keep"))
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-05-06T07:08:09.123Z",
            "config": {"Cmd": ["sh"], "Env": ["X=y"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(lower), sha256(upper)]},
            "history": [{"created_by": "one"}, {"created_by": "two", "empty_layer": True}, {"created_by": "three", "comment": "c"}],
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": ["two:layers", "two:again"], "Layers": ["1/layer.tar", "2/layer.tar"]}]
    archive = tar(
        member("1/layer.tar", lower),
        member("2/VERSION", b"1.0"),
        member("shared/layer.tar", gzip.compress(upper)),
        symlink("2/layer.tar", "../shared/layer.tar"),
        member("config.json", config),
        member("manifest.json", json.dumps(manifest).encode()),
    )
    return archive, sha256(config)


async def test_load_a_docker_archive(world: World) -> None:
    archive, id = await two_layers(world)
    steps = [step async for step in world.images.load(chunks(archive, 1000))]
    loaded = [step for step in steps if isinstance(step, Loaded)]
    assert loaded == [Loaded(id=id, name="two:layers"), Loaded(id=id, name="two:again")]
    assert len([step for step in steps if isinstance(step, Progress)]) == 2
    image = world.images.get("two:again")
    assert (image.id, image.created, image.size) == (id, 1714979289_123000000, 4)
    assert [item.created_by for item in world.images.history(id)] == ["three", "two", "one"]
    assert [item.size for item in world.images.history(id)] == [2, 0, 2]
    assert world.images.history(id)[0].tags == ("two:again", "two:layers")
    key = await world.images.rootfs(id)
    upper = Path(world.root.snapshots.upper(key))
    assert sorted(path.name for path in upper.iterdir()) == ["a", "again", "b"]
    assert (upper / "a/gone").is_char_device()
    assert (upper / "again").read_bytes() == b"1"  # a hard link to a file of the layer below is a copy
    assert world.root.snapshots.stat(key).parent == image.layers[0]


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: data], ids=["gzip", "plain"])
async def test_save_and_load_again(world: World, pack) -> None:
    archive, id = await two_layers(world)
    await load(world, pack(archive))
    await world.images.import_(chunks(gzip.compress(ROOTFS)), repository="other", tag="x")
    before = world.images.get(id)
    saved = await save(world, "two:layers", "other:x", "two:again")
    assert saved == await save(world, "two:layers", "other:x", "two:again")
    files = unpacked(saved)
    assert {"manifest.json", "index.json", "oci-layout", "repositories"} <= set(files)
    for path, data in files.items():
        if path.startswith("blobs/"):
            assert sha256(data) == path.removeprefix("blobs/").replace("/", ":")
    assert json.loads(files["manifest.json"])[0]["RepoTags"] == ["two:layers", "two:again"]
    for name in (id, "other:x"):
        await world.images.remove(name, force=True)
    assert len(world.images.list()) == 1
    assert {loaded.name for loaded in await load(world, saved)} == {"two:layers", "two:again", "other:x"}
    after = world.images.get(id)
    assert after.layers == before.layers
    assert after.size == before.size
    del files["manifest.json"], files["repositories"]
    as_layout = tar(*(member(path, data) for path, data in files.items()))
    await world.images.prune(dangling=False)
    assert {loaded.name for loaded in await load(world, as_layout)} == {"two:layers", "two:again", "other:x"}


async def test_save_by_id_has_no_name(world: World) -> None:
    image = await world.images.import_(chunks(ROOTFS), repository="a")
    saved = await save(world, image.id)
    assert json.loads(unpacked(saved)["manifest.json"])[0]["RepoTags"] is None
    await world.images.remove("a")
    assert await load(world, saved) == [Loaded(id=image.id)]
    assert world.images.list()[0].repo_tags == ()


def archive_with(**files: bytes | None) -> bytes:
    layer = tar(member("f", b"x"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]}}
    whole: dict[str, bytes | None] = {
        "layer.tar": layer,
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": ["x:y"], "Layers": ["layer.tar"]}]).encode(),
    }
    whole |= {name.replace("_", "."): data for name, data in files.items()}
    return tar(*(member(name, data) for name, data in whole.items() if data is not None))


BAD_ARCHIVES: dict[str, bytes] = {
    "noise": os.urandom(2000),
    "empty": tar(),
    "a root file system": ROOTFS,
    "no config": archive_with(config_json=None),
    "no layer": archive_with(layer_tar=None),
    "another layer": archive_with(layer_tar=tar(member("f", b"other"))),
    "a layer that is no tar": archive_with(layer_tar=b"hello" * 500),
    "config is no JSON": archive_with(config_json=b"{"),
    "config too deep": archive_with(config_json=b"[" * 10_000),
    "config of windows": archive_with(
        config_json=b'{"architecture":"amd64","os":"windows","rootfs":{"type":"layers","diff_ids":[]}}'
    ),
    "config with other layers": archive_with(
        config_json=b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    ),
    "config with a path for a digest": archive_with(
        config_json=b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}'
    ),
    "manifest is an object": archive_with(manifest_json=b"{}"),
    "manifest leads out": archive_with(manifest_json=b'[{"Config":"../../../etc/passwd","Layers":[]}]'),
    "manifest with a name that is none": archive_with(
        manifest_json=b'[{"Config":"config.json","RepoTags":["X Y"],"Layers":["layer.tar"]}]'
    ),
    "manifest with the built-in name": archive_with(
        manifest_json=b'[{"Config":"config.json","RepoTags":["host:latest"],"Layers":["layer.tar"]}]'
    ),
    "links in a circle": tar(symlink("manifest.json", "index.json"), symlink("index.json", "manifest.json")),
    "an index without its marker": tar(member("index.json", b'{"schemaVersion":2,"manifests":[]}')),
    "an index of nothing": tar(
        member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), member("index.json", b'{"schemaVersion":2,"manifests":[]}')
    ),
}


@pytest.mark.parametrize("what", BAD_ARCHIVES)
async def test_archives_that_are_refused_leave_nothing(world: World, what: str) -> None:
    before = world.counts()
    with pytest.raises((CorruptData, InvalidArgument)) as raised:
        await load(world, BAD_ARCHIVES[what])
    assert "Traceback" not in str(raised.value)
    await world.root.collect_garbage()
    assert world.counts() == before
    assert await load(world, archive_with()) == [Loaded(id=world.images.get("x:y").id, name="x:y")]


async def test_names_move(world: World) -> None:
    first = await world.images.import_(chunks(ROOTFS), repository="r", tag="t")
    second = await world.images.import_(chunks(tar(member("x"))), repository="r", tag="t")
    assert world.images.get("r:t").id == second.id
    assert world.images.get(first.id).repo_tags == ()
    await world.images.tag(first.id[7:20], "r")
    assert world.images.get("r").id == first.id
    with pytest.raises(InvalidArgument, match="digest"):
        await world.images.tag("r", "x@sha256:" + "0" * 64)


async def test_an_ambiguous_beginning_of_an_id(world: World) -> None:
    ids = set()
    number = 0
    while len({id[7] for id in ids}) == len(ids):
        ids.add((await world.images.import_(chunks(tar(member(str(number)))))).id)
        number += 1
    twice = next(id[7] for id in ids if sum(other[7] == id[7] for other in ids) > 1)
    with pytest.raises(InvalidArgument, match="several"):
        world.images.get(f"sha256:{twice}")


async def test_removal_by_name(world: World) -> None:
    before = world.counts()
    image = await world.images.import_(chunks(ROOTFS), repository="r")
    await world.images.tag("r", "s")
    assert await world.images.remove("s") == (Untagged("s:latest"),)
    assert await world.images.remove("r") == (Untagged("r:latest"), Deleted(image.id), Deleted(image.layers[0]))
    assert world.counts() == before
    told = [(event.action, event.name) for event in world.events[-3:]]
    assert told == [("untag", "s:latest"), ("untag", "r:latest"), ("delete", "")]


async def test_removal_by_id(world: World) -> None:
    image = await world.images.import_(chunks(ROOTFS), repository="r")
    await world.images.tag("r", "s")
    with pytest.raises(Conflict, match=r"must be forced.*multiple repositories"):
        await world.images.remove(image.id)
    removed = await world.images.remove(image.id[7:19], force=True)
    assert set(removed) >= {Untagged("r:latest"), Untagged("s:latest"), Deleted(image.id)}
    with pytest.raises(NotFound):
        world.images.get(image.id)


async def test_an_image_in_use_stays(world: World) -> None:
    image = await world.images.import_(chunks(ROOTFS), repository="r")
    world.used, world.users = image.id, [("c" * 64, True)]
    for force in (False, True):
        with pytest.raises(Conflict, match=r"cannot be forced.*running container cccccccccccc"):
            await world.images.remove(image.id, force=force)
    with pytest.raises(Conflict, match="must force"):
        await world.images.remove("r")
    world.users = [("c" * 64, False)]
    with pytest.raises(Conflict, match=r"must be forced.*stopped container"):
        await world.images.remove(image.id)
    assert await world.images.remove("r", force=True) == (Untagged("r:latest"),)
    with pytest.raises(Conflict, match="cannot be forced"):
        await world.images.remove(image.id, force=True)
    assert (await world.images.prune()).removed == ()
    world.users = []
    pruned = await world.images.prune()
    assert pruned.removed == (Deleted(image.id), Deleted(image.layers[0]))
    assert pruned.reclaimed > 0


async def test_prune_takes_what_it_is_told(world: World) -> None:
    await world.images.import_(chunks(tar(member("a"))), repository="a")
    dangling = await world.images.import_(chunks(tar(member("b"))))
    assert (await world.images.prune(keep=lambda image: image.id == dangling.id)).removed == ()
    assert Deleted(dangling.id) in (await world.images.prune()).removed
    assert world.images.get("a")
    assert Untagged("a:latest") in (await world.images.prune(dangling=False)).removed


async def test_shared_layers_are_kept_once_and_as_long_as_needed(world: World) -> None:
    one = await world.images.import_(chunks(ROOTFS), repository="one")
    two = await world.images.import_(chunks(ROOTFS), repository="two", changes=["CMD sh"])
    assert one.layers == two.layers
    assert world.counts() == (4, 2, 3)
    assert await world.images.remove("one") == (Untagged("one:latest"), Deleted(one.id))
    assert os.path.exists(world.root.snapshots.upper(await world.images.rootfs("two")))


async def test_a_tree_that_a_container_uses_survives_its_image(world: World) -> None:
    await world.images.import_(chunks(ROOTFS), repository="r")
    await world.root.snapshots.prepare("container", await world.images.rootfs("r"))
    await world.images.remove("r")
    lower = world.root.snapshots.lowers("container")[0]
    assert os.path.exists(os.path.join(lower, "bin/hello"))
    await world.root.snapshots.remove("container")
    await world.root.collect_garbage()
    assert not os.path.exists(lower)


async def test_a_missing_tree_is_unpacked_again(world: World) -> None:
    archive, id = await two_layers(world)
    await load(world, archive)
    key = await world.images.rootfs(id)
    await world.root.snapshots.remove(key)
    await world.root.snapshots.remove(world.images.get(id).layers[0])
    assert await world.images.rootfs(id) == key
    assert Path(world.root.snapshots.upper(key), "b").read_bytes() == b"3"


async def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    async with await DataRoot.open(tmp_path / "data") as root:
        world = World(root)
        await world.open()
        image = await world.images.import_(chunks(ROOTFS), repository="r")
        with pytest.raises(Conflict, match="another daemon"):
            await DataRoot.open(tmp_path / "data")
    async with await DataRoot.open(tmp_path / "data") as root:
        world = World(root)
        await world.open()
        again = world.images.get("r")
        assert (again.id, again.layers, again.config) == (image.id, image.layers, image.config)
        assert os.path.exists(root.snapshots.upper(await world.images.rootfs("r")))


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 3


async def test_the_same_image_from_many_sides_while_garbage_is_collected(world: World) -> None:
    archive, id = await two_layers(world)

    async def collect() -> None:
        while len(done) < 6:
            await world.root.collect_garbage()
            await asyncio.sleep(0)

    async def bring() -> None:
        done.append(await load(world, archive))

    done: list[list[Loaded]] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(collect())
        for _ in range(6):
            group.create_task(bring())
    assert all(loaded[0].id == id for loaded in done)
    assert world.counts() == (1 + 3, 1 + 2, 2)
    upper = world.root.snapshots.upper(await world.images.rootfs(id))
    assert sorted(os.listdir(upper)) == ["a", "again", "b"]


async def test_a_load_that_is_cancelled_leaves_nothing(world: World) -> None:
    archive, _ = await two_layers(world)
    before = world.counts()
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield archive[:3000]
        reached.set()
        await asyncio.Event().wait()

    for run in (lambda: load_from(world, endless()), lambda: world.images.import_(endless())):
        reached.clear()
        task = asyncio.create_task(run())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await world.root.collect_garbage()
        assert world.counts() == before
        assert os.listdir(os.path.join(world.root.content.directory, "ingest")) == []


async def load_from(world: World, stream: AsyncIterator[bytes]) -> None:
    async for _ in world.images.load(stream):
        pass
