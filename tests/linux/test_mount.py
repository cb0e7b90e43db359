from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.linux import libc, mount, namespace, system

pytestmark = pytest.mark.kernel


def private() -> None:
    mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)


def at(place: Path | str) -> mount.MountInfo:
    return [entry for entry in mount.mountinfo() if entry.mount_point == str(place)][-1]


def test_mount_says_what_and_where() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        mount.mount("none", "/nonexistent/place", "tmpfs")
    assert caught.value.strerror == "mount: No such file or directory"
    assert caught.value.filename == "/nonexistent/place"
    with pytest.raises(OSError, match=r"umount2: Invalid argument: '/tmp'"):
        mount.umount2("/tmp")


def test_the_old_calls(in_child, tmp_path: Path) -> None:
    place = tmp_path / "a b"
    place.mkdir()

    def child() -> list[object]:
        private()
        mount.mount("some#thing", str(place), "tmpfs", mount.MS_NOSUID | mount.MS_NODEV, "size=64k,mode=700")
        found = at(place)
        os.mkdir(place / "x")
        mount.mount(str(place), str(place / "x"), None, mount.MS_BIND)
        mount.mount(None, str(place / "x"), None, mount.MS_BIND | mount.MS_REMOUNT | mount.MS_RDONLY)
        read_only = at(place / "x").options[0]
        mount.umount2(str(place / "x"))
        mount.umount2(str(place), mount.MNT_DETACH)
        return [found.fs_type, found.source, sorted(found.options), read_only, os.listdir(place), found.optional]

    assert in_child(child, namespace.CLONE_NEWNS) == ["tmpfs", "some#thing", ["nodev", "nosuid", "relatime", "rw"], "ro", [], []]


def test_the_new_calls(in_child, tmp_path: Path) -> None:
    def child() -> list[object]:
        private()
        context = mount.fsopen("tmpfs")
        mount.fsconfig_string(context, "size", "64k")
        mount.fsconfig_string(context, "source", "origin")
        mount.fsconfig_flag(context, "ro")
        mount.fsconfig_create(context)
        detached = mount.fsmount(context, attributes=mount.MOUNT_ATTR_NOEXEC)
        os.close(context)
        target = os.open(tmp_path, os.O_PATH)
        mount.attach(detached, target)
        first = at(tmp_path)
        picked = mount.fspick(libc.AT_FDCWD, str(tmp_path))
        mount.fsconfig_flag(picked, "rw")
        mount.fsconfig_reconfigure(picked)
        os.mkdir(tmp_path / "d")
        mount.mount_setattr(libc.AT_FDCWD, str(tmp_path), attr_set=mount.MOUNT_ATTR_RDONLY, propagation=mount.MS_SHARED)
        second = at(tmp_path)
        copy = mount.open_tree(libc.AT_FDCWD, str(tmp_path), mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE)
        mount.mount_setattr(copy, "", attr_clr=mount.MOUNT_ATTR_RDONLY, propagation=mount.MS_PRIVATE)
        mount.umount2(str(tmp_path), mount.MNT_DETACH)
        mount.move_mount(copy, "", libc.AT_FDCWD, str(tmp_path))
        third = at(tmp_path)
        writable = os.listdir(tmp_path)
        os.mkdir(tmp_path / "e")
        return [
            first.source, "noexec" in first.options, first.super_options[0], second.super_options[0], second.options[0],
            bool(second.optional), third.options[0], bool(third.optional), writable, system.statfs(copy).name,
            [os.get_inheritable(descriptor) for descriptor in (detached, picked, copy)],
        ]  # fmt: skip

    assert in_child(child, namespace.CLONE_NEWNS) == [
        "origin", True, "ro", "rw", "ro", True, "rw", False, ["d"], "tmpfs", [False, False, False],
    ]  # fmt: skip


def test_a_wrong_option_is_explained(in_child) -> None:
    def child() -> str:
        context = mount.fsopen("overlay")
        try:
            mount.fsconfig_string(context, "nonsense", "x")
        except OSError as error:
            return str(error.strerror)
        return ""

    said = in_child(child, namespace.CLONE_NEWNS)
    assert said.startswith("fsconfig: Invalid argument (nonsense; ")
    assert "overlay: Unknown parameter 'nonsense'" in said


def test_overlay_over_descriptors_of_directories(in_child, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/file").write_text("from below")

    def child() -> list[object]:
        private()
        options = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
        mount.mount("overlay", str(tmp_path / "merged"), "overlay", 0, options)
        (tmp_path / "merged/file").write_text("changed")
        return [(tmp_path / "upper/file").read_text(), system.statfs(str(tmp_path / "merged")).name]

    assert in_child(child, namespace.CLONE_NEWNS) == ["changed", "overlay"]
    assert (tmp_path / "lower/file").read_text() == "from below"


def test_pivot_root(in_child, tmp_path: Path) -> None:
    (tmp_path / "marker").touch()

    def child() -> list[object]:
        private()
        mount.mount(str(tmp_path), str(tmp_path), None, mount.MS_BIND | mount.MS_REC)
        os.chdir(tmp_path)
        mount.pivot_root(".", ".")
        mount.umount2(".", mount.MNT_DETACH)
        os.chdir("/")
        return [os.listdir("/"), os.getcwd()]

    assert in_child(child, namespace.CLONE_NEWNS) == [["marker"], "/"]


def test_a_tree_put_together_detached(in_child, tmp_path: Path) -> None:
    """Linux 6.15: a mount goes onto a tree that nothing can see yet."""
    if system.kernel_version() < (6, 15):
        pytest.skip("Linux 6.15")

    def make() -> int:
        context = mount.fsopen("tmpfs")
        mount.fsconfig_create(context)
        return mount.fsmount(context)

    def child() -> list[object]:
        private()
        root, inner = make(), make()
        os.mkdir("dev", dir_fd=root)
        mount.move_mount(inner, "", root, "dev")
        os.mkdir("shm", dir_fd=inner)
        before = len(mount.mountinfo())
        mount.move_mount(root, "", libc.AT_FDCWD, str(tmp_path))
        return [len(mount.mountinfo()) - before, os.listdir(tmp_path), os.listdir(tmp_path / "dev")]

    assert in_child(child, namespace.CLONE_NEWNS) == [2, ["dev"], ["shm"]]


def test_mountinfo_reads_what_the_kernel_escapes() -> None:
    line = rb"36 35 98:0 /mnt1\040a /mnt2\134\011 rw,noatime master:1 propagate_from:2 - ext3 /dev/r\043t rw,errors=continue"
    (found,) = mount.parse_mountinfo(line + b"\n")
    assert found == mount.MountInfo(
        36, 35, "98:0", "/mnt1 a", "/mnt2\\\t", ("rw", "noatime"), ("master:1", "propagate_from:2"), "ext3", "/dev/r#t",
        ("rw", "errors=continue"),
    )  # fmt: skip
    (found,) = mount.parse_mountinfo(b"1 2 0:1 / /x rw - tmpfs  rw")
    assert (found.source, found.super_options, found.optional) == ("", ("rw",), ())
    with pytest.raises(OSError) as caught:
        mount.parse_mountinfo(b"garbage")
    assert caught.value.errno == errno.EINVAL
    assert any(entry.mount_point == "/" for entry in mount.mountinfo(os.getpid()))
    with pytest.raises(FileNotFoundError, match="read: "):
        mount.mountinfo(0x3FFFFFFF)


def escaped(raw: bytes) -> bytes:
    return b"".join(rb"\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in raw)


@settings(max_examples=80)
@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw))
def test_any_name_comes_back(raw: bytes) -> None:
    (found,) = mount.parse_mountinfo(b"1 2 0:1 " + escaped(raw) + b" / rw - tmpfs x rw")
    assert os.fsencode(found.root) == raw
