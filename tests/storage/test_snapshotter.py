"""The interface of snapshotters, as its page says. Every implementation is a parameter of `snapshots`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gorae.errors import Conflict, NotFound
from gorae.storage.db.database import Database
from gorae.storage.snapshot.overlay import OverlaySnapshotter
from gorae.storage.snapshot.snapshotter import Snapshotter


@pytest.fixture(params=["overlay"])
async def snapshots(tmp_path: Path, database: Database) -> AsyncIterator[Snapshotter]:
    snapshots = await OverlaySnapshotter.open(str(tmp_path / "snapshots"), database)
    yield snapshots
    await snapshots.aclose()


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


async def committed(snapshots: Snapshotter, name: str, parent: str = "") -> str:
    await snapshots.prepare(f"making {name}", parent)
    write(os.path.join(snapshots.upper(f"making {name}"), name), name)
    await snapshots.commit(name, f"making {name}")
    return name


async def test_the_life_of_a_layer(snapshots: Snapshotter) -> None:
    await committed(snapshots, "base")
    mounts = await snapshots.prepare("container", "base")
    assert mounts == snapshots.mounts("container")
    assert [(info.key, info.kind, info.parent) for info in snapshots.walk()] == [
        ("base", "committed", ""),
        ("container", "active", "base"),
    ]
    assert snapshots.stat("container") == snapshots.walk()[1]
    assert snapshots.lowers("container") == (snapshots.upper("base"),)
    assert os.listdir(snapshots.upper("base")) == ["base"]
    assert os.listdir(snapshots.upper("container")) == []
    await snapshots.remove("container")
    await snapshots.remove("base")
    assert snapshots.walk() == ()


async def test_lowers_are_nearest_first(snapshots: Snapshotter) -> None:
    await committed(snapshots, "one")
    await committed(snapshots, "two", "one")
    await snapshots.prepare("three", "two")
    assert snapshots.lowers("three") == (snapshots.upper("two"), snapshots.upper("one"))


async def test_the_root_directory_looks_like_the_parents(snapshots: Snapshotter) -> None:
    await snapshots.prepare("a")
    os.chmod(snapshots.upper("a"), 0o1777)
    os.chown(snapshots.upper("a"), 7, 8)
    await snapshots.commit("base", "a")
    await snapshots.prepare("b", "base")
    found = os.stat(snapshots.upper("b"))
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o1777, 7, 8)


async def test_keys_are_unique(snapshots: Snapshotter) -> None:
    await committed(snapshots, "base")
    await snapshots.prepare("a", "base")
    for call in (snapshots.prepare("a"), snapshots.prepare("base"), snapshots.view("a", "base"), snapshots.commit("base", "a")):
        with pytest.raises(Conflict, match="exists"):
            await call
    assert len(snapshots.walk()) == 2


async def test_only_what_is_committed_is_a_parent(snapshots: Snapshotter) -> None:
    await snapshots.prepare("a")
    with pytest.raises(Conflict, match="committed"):
        await snapshots.prepare("b", "a")
    await committed(snapshots, "base")
    await snapshots.view("v", "base")
    with pytest.raises(Conflict):
        await snapshots.prepare("b", "v")
    with pytest.raises(Conflict):
        await snapshots.commit("c", "v")
    with pytest.raises(Conflict):
        await snapshots.commit("c", "base")
    with pytest.raises(Conflict):
        snapshots.mounts("base")


async def test_what_is_not_there(snapshots: Snapshotter) -> None:
    for call in (snapshots.prepare("b", "gone"), snapshots.commit("n", "gone"), snapshots.remove("gone"), snapshots.usage("gone")):
        with pytest.raises(NotFound, match="gone"):
            await call
    for call_now in (snapshots.mounts, snapshots.upper, snapshots.lowers, snapshots.stat, snapshots.hidden):
        with pytest.raises(NotFound, match="gone"):
            call_now("gone")
    assert snapshots.walk() == ()


async def test_a_parent_stays_while_it_has_children(snapshots: Snapshotter) -> None:
    await committed(snapshots, "base")
    await snapshots.prepare("a", "base")
    with pytest.raises(Conflict, match="children"):
        await snapshots.remove("base")
    await snapshots.remove("a")
    await snapshots.remove("base")


async def test_usage_is_what_du_says(snapshots: Snapshotter) -> None:
    await snapshots.prepare("a")
    upper = snapshots.upper("a")
    write(os.path.join(upper, "file"), "x" * 10_000)
    os.link(os.path.join(upper, "file"), os.path.join(upper, "again"))
    os.mkdir(os.path.join(upper, "directory"))
    blocks = sum(os.lstat(path).st_blocks for path in (upper, os.path.join(upper, "file"), os.path.join(upper, "directory")))
    usage = await snapshots.usage("a")
    assert (usage.bytes, usage.inodes) == (blocks * 512, 3)
    await snapshots.commit("base", "a")
    assert await snapshots.usage("base") == usage
    assert await snapshots.usage("base") == usage
