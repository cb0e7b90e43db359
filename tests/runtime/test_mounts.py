"""The container's file systems: options, propagation, read-only, copies, many layers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import BirthError
from gorae.linux import mount as m
from gorae.oci import runtimespec
from gorae.runtime import birth, options
from gorae.runtime.birth import Context, RootMount
from tests.runtime import stage


def test_parse() -> None:
    parsed = options.parse(("rbind", "ro", "nosuid", "rprivate", "size=64m", "mode=755"))
    assert parsed == options.Options(
        flags=m.MS_RDONLY | m.MS_NOSUID, propagation=(m.MS_PRIVATE | m.MS_REC,), bind=True, recursive=True, data="size=64m,mode=755"
    )
    assert options.parse(("ro", "rw")).flags == 0
    assert options.parse(("ro", "rw")).cleared == m.MS_RDONLY
    assert options.parse(("rro", "rnosuid", "rsuid")).deep == m.MS_RDONLY
    assert options.parse(("tmpcopyup",)).copy_up


@settings(max_examples=100)
@given(st.lists(st.sampled_from([*options.SET, *options.CLEAR]), max_size=8))
def test_a_flag_is_set_or_cleared_by_who_comes_last(words: list[str]) -> None:
    parsed = options.parse(tuple(words))
    assert not parsed.flags & parsed.cleared
    for name in ("ro", "nosuid", "nodev", "noexec"):
        opposite = {"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec"}[name]
        last = next((word for word in reversed(words) if word in (name, opposite)), None)
        assert bool(parsed.flags & options.SET[name]) == (last == name)
        assert bool(parsed.cleared & options.SET[name]) == (last == opposite)
    setting, clearing = options.attributes(parsed.flags, parsed.cleared)
    assert not setting & clearing & ~m.MOUNT_ATTR__ATIME


def line(document: dict[str, Any], context: Context, target: str) -> list[str]:
    """The mountinfo fields of a target, seen from inside."""
    document["process"]["args"] = ["cat", "/proc/self/mountinfo"]
    found = [each.split() for each in stage.run(document, context).lines]
    return [each for each in found if each[4] == target][-1]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    where = tmp_path / "source"
    (where / "sub").mkdir(parents=True)
    (where / "file").write_text("content\n")
    return where


def bound(document: dict[str, Any], source: Path, *words: str, target: str = "/data") -> dict[str, Any]:
    document["mounts"].append({"destination": target, "type": "bind", "source": str(source), "options": list(words)})
    return document


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rbind"], {"rw", "relatime"}),
        (["rbind", "ro"], {"ro", "relatime"}),
        (["bind", "ro", "nosuid", "nodev", "noexec"], {"ro", "nosuid", "nodev", "noexec", "relatime"}),
        (["bind", "noatime"], {"rw", "noatime"}),
        (["bind", "strictatime", "nosymfollow"], {"rw", "nosymfollow"}),
        (["rbind", "rro", "rprivate"], {"ro", "relatime"}),
    ],
)
def test_binds(image: Path, context: Context, source: Path, words: list[str], expected: set[str]) -> None:
    assert set(line(bound(stage.config(image), source, *words), context, "/data")[5].split(",")) == expected


@pytest.mark.kernel
def test_a_file_is_bound_onto_a_file_that_is_made(
    overlay: tuple[Path, tuple[RootMount, ...]], context: Context, source: Path
) -> None:
    root, rootfs = overlay
    document = bound(stage.config(root, "cat", "/new/place/file"), source / "file", "bind", "ro", target="/new/place/file")
    assert stage.run(document, dataclasses.replace(context, rootfs=rootfs)).output == "content\n"


@pytest.mark.kernel
def test_a_missing_source(image: Path, context: Context, tmp_path: Path) -> None:
    error = stage.failure(bound(stage.config(image), tmp_path / "missing", "bind"), context)
    assert (error.step, error.path) == ("bind_in_root", str(tmp_path / "missing"))


@pytest.mark.kernel
def test_a_file_on_a_directory_and_the_other_way_round(rootfs: Path, context: Context, source: Path) -> None:
    error = stage.failure(bound(stage.config(rootfs), source / "file", "bind", target="/etc"), context)
    assert "(or vice-versa)" in str(error)
    error = stage.failure(bound(stage.config(rootfs), source, "bind", target="/etc/passwd"), context)
    assert (error.errno, error.path) == (20, "/etc/passwd")


@pytest.mark.kernel
def test_overlay(overlay: tuple[Path, tuple[RootMount, ...]], image: Path, context: Context, tmp_path: Path) -> None:
    root, rootfs = overlay
    outcome = stage.run(
        stage.config(root, "sh", "-c", "echo inside > /new; rm /etc/group; ls /"), dataclasses.replace(context, rootfs=rootfs)
    )
    assert "new" in outcome.lines
    assert (tmp_path / "upper/new").read_text() == "inside\n"
    assert not (image / "new").exists()
    assert (image / "etc/group").exists()
    assert list(root.iterdir()) == []  # nothing was mounted out here


@pytest.mark.kernel
def test_an_overlay_of_many_layers(image: Path, context: Context, tmp_path: Path) -> None:
    """More than a page of options: one by one through fsconfig (Linux 6.8)."""
    layers = []
    for number in range(60):
        layer = tmp_path / f"a-directory-with-a-rather-long-name-as-content-addressed-layers-have-it-{number:03}"
        layer.mkdir()
        (layer / f"layer{number}").touch()
        layers.append(str(layer))
    (tmp_path / "merged").mkdir()
    rootfs = (RootMount("overlay", "overlay", (f"lowerdir={':'.join([*layers, str(image)])}", "ro")),)
    assert len(rootfs[0].options[0]) > 4096
    outcome = stage.run(
        stage.config(tmp_path / "merged", "sh", "-c", "ls / | grep -c layer"), dataclasses.replace(context, rootfs=rootfs)
    )
    assert outcome.output == "60\n"


@pytest.mark.kernel
def test_a_read_only_root(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "touch /x; touch /dev/shm/x && echo shm")
    document["root"]["readonly"] = True
    outcome = stage.run(document, context)
    assert outcome.lines == ["shm"]
    assert "Read-only file system" in outcome.error


@pytest.mark.kernel
def test_a_read_only_tmpfs_can_hold_mounts(rootfs: Path, context: Context, source: Path) -> None:
    document = stage.config(rootfs, "sh", "-c", "touch /run/x; cat /run/in/file")
    document["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=1m"]})
    outcome = stage.run(bound(document, source, "bind", target="/run/in"), context)
    assert outcome.lines == ["content"]
    assert "Read-only file system" in outcome.error


@pytest.mark.kernel
def test_copy_up(rootfs: Path, context: Context) -> None:
    (rootfs / "var/lib").mkdir(parents=True)
    (rootfs / "var/lib/file").write_text("from the image\n")
    (rootfs / "var/lib/link").symlink_to("file")
    (rootfs / "var/lib/file").chmod(0o640)
    os.chown(rootfs / "var/lib/file", 7, 8)
    os.mkfifo(rootfs / "var/lib/fifo")
    document = stage.config(
        rootfs, "sh", "-c", "cat /var/lib/link; stat -c '%a %u %g' /var/lib/file; ls /var/lib; echo x > /var/lib/new"
    )
    document["mounts"].append(
        {"destination": "/var/lib", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m", "nosuid"]}
    )
    assert stage.run(document, context).lines == ["from the image", "640 7 8", "file", "link"]
    assert not (rootfs / "var/lib/new").exists()


@pytest.mark.kernel
@pytest.mark.parametrize(("propagation", "tags"), [("private", 0), ("rprivate", 0), ("slave", 0), ("shared", 1), ("rshared", 1)])
def test_propagation_of_a_bind(image: Path, context: Context, source: Path, propagation: str, tags: int) -> None:
    fields = line(bound(stage.config(image), source, "rbind", propagation), context, "/data")
    optional = fields[6 : fields.index("-")]
    assert len([each for each in optional if each.startswith("shared:")]) == tags


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("propagation", "tag"), [("shared", "shared:"), ("slave", ""), ("private", ""), ("unbindable", "unbindable")]
)
def test_propagation_of_the_root(image: Path, context: Context, propagation: str, tag: str) -> None:
    document = stage.config(image)
    document["linux"]["rootfsPropagation"] = propagation
    fields = line(document, context, "/")
    optional = fields[6 : fields.index("-")]
    assert [each for each in optional if tag and each.startswith(tag)] == (optional if tag else [])
    assert bool(optional) == bool(tag)


@pytest.mark.kernel
def test_a_private_dev_keeps_what_was_asked_for(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "stat -c '%n %t:%T %a %u %g %F' /dev/fuse /dev/pipe")
    document["linux"]["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
    ]
    assert stage.run(document, context).lines == ["/dev/fuse a:e5 640 3 4 character special file", "/dev/pipe 0:0 600 0 0 fifo"]


@pytest.mark.kernel
def test_a_device_may_be_allowed(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "exec 3< /dev/flow")
    document["linux"]["devices"] = [{"path": "/dev/flow", "type": "c", "major": 10, "minor": 229}]  # /dev/fuse
    assert "Operation not permitted" in stage.run(document, context).error
    document["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"})
    assert "Operation not permitted" not in stage.run(document, context).error


@pytest.mark.kernel
def test_a_bound_dev_is_left_alone(image: Path, context: Context) -> None:
    document = stage.config(image, "ls", "/dev")
    document["mounts"] = [each for each in document["mounts"] if not each["destination"].startswith("/dev")]
    before = sorted(os.listdir("/dev"))
    outcome = stage.run(bound(document, Path("/dev"), "rbind", target="/dev"), context)
    assert sorted(outcome.lines) == before
    assert sorted(os.listdir("/dev")) == before


@pytest.mark.kernel
def test_without_pivot_root(image: Path, context: Context) -> None:
    outcome = stage.run(
        stage.config(image, "sh", "-c", "ls /; awk '{print $5}' /proc/self/mountinfo | head -1"),
        dataclasses.replace(context, pivot=False),
    )
    assert outcome.status == 0
    assert "bin" in outcome.lines
    assert "machine" not in outcome.output


@pytest.mark.kernel
def test_a_swapped_link_never_leads_out(rootfs: Path, context: Context, tmp_path: Path) -> None:
    """CVE-2021-30465: a process of another container swaps a directory for a link while the mount is made."""
    victim = tmp_path / "victim"
    victim.mkdir()
    volume = tmp_path / "volume"
    (volume / "real").mkdir(parents=True)
    (volume / "link").symlink_to(victim)
    swapper = os.fork()  # a process, not a thread: births need a single-threaded parent
    if swapper == 0:
        try:
            while True:
                os.rename(volume / "real", volume / "tmp")
                os.rename(volume / "link", volume / "real")
                os.rename(volume / "real", volume / "link")
                os.rename(volume / "tmp", volume / "real")
        finally:
            os._exit(0)
    try:
        document = stage.config(rootfs, "true")
        bound(document, volume, "rbind", target="/vol")
        document["mounts"].append({"destination": "/vol/real/deep", "type": "tmpfs", "source": "tmpfs"})
        spec = runtimespec.decode(document)
        for _ in range(60):
            try:
                with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
                    running.finish()
            except BirthError:
                pass
    finally:
        os.kill(swapper, 9)
        os.waitpid(swapper, 0)
    assert list(victim.iterdir()) == []
