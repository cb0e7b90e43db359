"""The overlay snapshotter on a real kernel, its sweeps, and a crash at every point."""

# ruff: noqa: ASYNC240 (the test's own files)

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gorae.errors import InvalidArgument, Unsupported
from gorae.linux.mount import MountInfo
from gorae.storage.db.database import Database
from gorae.storage.snapshot.host import hidden_paths
from gorae.storage.snapshot.overlay import OverlaySnapshotter
from gorae.storage.snapshot.snapshotter import Mount

HERE = Path(__file__).parent


@pytest.fixture
async def snapshots(tmp_path: Path, database: Database) -> AsyncIterator[OverlaySnapshotter]:
    snapshots = await OverlaySnapshotter.open(str(tmp_path / "snapshots"), database)
    yield snapshots
    await snapshots.aclose()


def inside(mounts: tuple[Mount, ...], script: str, target: Path) -> str:
    """What a shell prints in `target`, where the mounts are, in a mount namespace that ends with it."""
    target.mkdir(exist_ok=True)
    lines = []
    for mount in mounts:
        kind = "--bind" if mount.type == "bind" else f"-t {mount.type}"
        lines.append(f"mount {kind} {mount.source} {target}" + ("" if mount.type == "bind" else f" -o {','.join(mount.options)}"))
        if mount.type == "bind" and "ro" in mount.options:
            lines.append(f"mount -o remount,bind,ro {target}")
    command = "\n".join(["set -e", "mount --make-rprivate /", *lines, f"cd {target}", script])
    return subprocess.run(["unshare", "-m", "sh", "-c", command], check=True, capture_output=True, text=True).stdout


async def layered(snapshots: OverlaySnapshotter) -> None:
    for name, parent in (("one", ""), ("two", "one")):
        await snapshots.prepare(f"making {name}", parent)
        Path(snapshots.upper(f"making {name}"), name).write_text(name)
        await snapshots.commit(name, f"making {name}")


@pytest.mark.kernel
async def test_layers_lie_on_each_other(snapshots: OverlaySnapshotter, tmp_path: Path) -> None:
    await layered(snapshots)
    mounts = await snapshots.prepare("c", "two")
    assert inside(mounts, "cat one two; echo changed > one; rm two; ls", tmp_path / "m") == "onetwoone\n"
    assert (Path(snapshots.upper("one")) / "one").read_text() == "one"
    assert sorted(os.listdir(snapshots.upper("c"))) == ["one", "two"]
    assert inside(snapshots.mounts("c"), "cat one; ls", tmp_path / "m") == "changed\none\n"


@pytest.mark.kernel
@pytest.mark.parametrize(("parent", "files"), [("", ""), ("one", "one\n"), ("two", "one\ntwo\n")])
async def test_a_view_is_read_only(snapshots: OverlaySnapshotter, tmp_path: Path, parent: str, files: str) -> None:
    await layered(snapshots)
    mounts = await snapshots.view("v", parent)
    assert inside(mounts, "ls; touch x 2>/dev/null && echo written || true", tmp_path / "m") == files


@pytest.mark.kernel
async def test_a_tree_without_parent_is_bound(snapshots: OverlaySnapshotter, tmp_path: Path) -> None:
    inside(await snapshots.prepare("c"), "echo x > file", tmp_path / "m")
    assert (Path(snapshots.upper("c")) / "file").read_text() == "x\n"


@pytest.mark.kernel
async def test_the_host_is_seen_but_not_reached(snapshots: OverlaySnapshotter, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    beside = tmp_path / "beside"
    beside.write_text("original")
    os.utime(tmp_path, ns=(1, 2_000_000_003))
    os.chmod(tmp_path, 0o751)
    key = await snapshots.host([str(secret)])
    mounts = await snapshots.prepare("c", key)
    script = f"""
    cat ./{beside}; echo inside > ./{beside}; echo inside > ./etc/gorae-test-canary
    ls ./{tmp_path}; stat -c '%a %.Y' ./{tmp_path}; ls ./{secret} ./{snapshots.directory} 2>&1 || true
    mkdir ./{secret}; ls -A ./{secret}; cat ./etc/os-release | head -1; stat -c '%a %u' .
    """
    out = inside(mounts, script, tmp_path / "m").splitlines()
    assert out[0].startswith("original")
    assert "beside" in "\n".join(out)
    assert "751" in "\n".join(out)
    assert sum("No such file" in line for line in out) == 2
    assert not {"secret", "snapshots"} & set(out)
    assert out[-2] == Path("/etc/os-release").read_text().splitlines()[0]
    assert beside.read_text() == "original"
    assert not Path("/etc/gorae-test-canary").exists()
    assert os.listdir(secret) == []
    assert len(snapshots.hidden("c")) == 2
    assert snapshots.hidden(key) == ()


@pytest.mark.kernel
async def test_two_containers_on_the_host_do_not_see_each_other(snapshots: OverlaySnapshotter, tmp_path: Path) -> None:
    key = await snapshots.host()
    assert await snapshots.host() == key
    one, two = await snapshots.prepare("one", key), await snapshots.prepare("two", key)
    inside(one, "echo mine > ./etc/gorae-test-canary", tmp_path / "m")
    assert inside(two, "ls ./etc/gorae-test-canary 2>/dev/null || echo nothing", tmp_path / "m") == "nothing\n"
    view = await snapshots.view("v", key)
    assert inside(view, "ls ./etc/passwd; touch x 2>/dev/null || echo ro", tmp_path / "m") == "./etc/passwd\nro\n"


async def test_the_host_cannot_be_committed_upon(snapshots: OverlaySnapshotter) -> None:
    await snapshots.prepare("c", await snapshots.host())
    with pytest.raises(Unsupported, match="own tree"):
        await snapshots.commit("image", "c")


def mount_info(point: str, device: str = "8:1", root: str = "/") -> MountInfo:
    return MountInfo(1, 1, device, root, point, (), (), "ext4", "", ())


@pytest.mark.parametrize(
    ("paths", "mounts", "hidden"),
    [
        (["/var/lib/gorae", "/run/gorae"], [("/", "8:1", "/"), ("/run", "0:22", "/")], ("var/lib/gorae",)),
        (["/var/lib/gorae"], [("/", "8:1", "/"), ("/var", "8:2", "/")], ()),
        (["/var/lib/gorae"], [("/", "8:1", "/"), ("/var/lib/gorae", "8:1", "/srv/data")], ("srv/data",)),
        (["/data"], [("/", "8:1", "/roots/debian"), ("/data", "8:1", "/data")], ()),
        (["/data"], [("/", "8:1", "/roots/debian")], ("data",)),
        (["/a", "/a/b", "/ab"], [("/", "8:1", "/")], ("a", "ab")),
        (["/a"], [("/", "8:1", "/"), ("/a", "8:1", "/x"), ("/a", "8:9", "/")], ()),
    ],
)
def test_where_a_path_lies_within_the_root_file_system(
    paths: list[str], mounts: list[tuple[str, str, str]], hidden: tuple[str, ...]
) -> None:
    assert hidden_paths(paths, [mount_info(*mount) for mount in mounts]) == hidden


def test_all_of_the_machine_cannot_be_hidden() -> None:
    with pytest.raises(InvalidArgument, match="holds all"):
        hidden_paths(["/"], [mount_info("/")])


async def test_a_directory_that_overlayfs_cannot_name_is_refused(tmp_path: Path, database: Database) -> None:
    for name in ("a:b", "a,b", "a\\b"):
        with pytest.raises(InvalidArgument, match="overlayfs"):
            await OverlaySnapshotter.open(str(tmp_path / name), database)


async def test_removed_files_go_in_the_background(snapshots: OverlaySnapshotter) -> None:
    await snapshots.prepare("c")
    upper = Path(snapshots.upper("c"))
    deep = upper
    for _ in range(200):
        deep = deep / "d"
    deep.mkdir(parents=True)
    await snapshots.remove("c")
    assert not upper.exists()
    snapshots.trash.finish()
    assert sorted(os.listdir(snapshots.directory)) == ["trash"]
    assert os.listdir(os.path.join(snapshots.directory, "trash")) == []


async def test_many_at_once(snapshots: OverlaySnapshotter) -> None:
    await layered(snapshots)
    await asyncio.gather(*(snapshots.prepare(f"c{number}", "two") for number in range(50)))
    await asyncio.gather(*(snapshots.remove(f"c{number}") for number in range(50)))
    assert len(snapshots.walk()) == 2


def test_a_crash_at_any_point_leaves_nothing_half_made(tmp_path: Path) -> None:
    """`crash_points.py` ends a process before every function that may change the disk, and looks at what the next start finds."""
    done = subprocess.run(
        [sys.executable, str(HERE / "crash_points.py"), str(tmp_path)], check=True, capture_output=True, text=True, timeout=110
    )
    report = json.loads(done.stdout)
    assert report["points"] > 60
    assert report["problems"] == []
    assert report["finished"] == 1
