"""Which hierarchies count, told from mountinfo lines of machines that exist; and what is a path."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.cgroup.layout import NONE, Hierarchy, Layout, check_path, detect, hierarchies_of, mode_of
from gorae.errors import InvalidArgument
from gorae.linux.mount import parse_mountinfo

V2 = b"""\
22 27 0:20 / /sys rw - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
HYBRID = b"""\
25 22 0:23 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
27 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
30 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
31 25 0:29 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory,release_agent=/lib/x
32 25 0:30 / /sys/fs/cgroup/cpuset rw,nosuid - cgroup cgroup rw,cpuset,noprefix,clone_children
"""
IN_A_CONTAINER = b"""\
40 39 0:31 / /sys/fs/cgroup rw - tmpfs tmpfs rw
41 40 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
42 40 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
"""


def found(data: bytes, controllers: str = "") -> tuple[Hierarchy, ...]:
    return hierarchies_of(parse_mountinfo(data), lambda directory: tuple(controllers.split()))


def test_v2() -> None:
    assert found(V2, "cpuset cpu io") == (Hierarchy(2, "/sys/fs/cgroup", "/", ("cpuset", "cpu", "io")),)
    layout = Layout("v2", found(V2, "cpu memory"))
    assert mode_of(layout.hierarchies) == "v2"
    assert set(layout.controllers) == {"cpu", "memory", "devices", "freezer"}
    assert layout.tracking is layout.unified is layout.hierarchies[0]


def test_hybrid() -> None:
    layout = Layout("hybrid", found(HYBRID))
    assert mode_of(layout.hierarchies) == "hybrid"
    assert {name: each.directory for name, each in layout.controllers.items()} == {
        "name=systemd": "/sys/fs/cgroup/systemd",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "cpuset": "/sys/fs/cgroup/cpuset",
    }
    assert layout.tracking is not None
    assert layout.tracking.directory == "/sys/fs/cgroup/unified"


def test_v1_tracks_in_a_named_hierarchy() -> None:
    without = HYBRID.replace(b"cgroup2 cgroup2", b"tmpfs tmpfs")
    layout = Layout("v1", found(without))
    assert mode_of(layout.hierarchies) == "v1"
    assert layout.tracking is not None
    assert layout.tracking.controllers == ("name=systemd",)


def test_read_only_mounts_do_not_count() -> None:
    assert found(IN_A_CONTAINER) == (Hierarchy(1, "/sys/fs/cgroup/cpu,cpuacct", "/docker/abc", ("cpu", "cpuacct")),)


def test_a_mount_below_a_later_one_is_hidden() -> None:
    assert found(HYBRID + b"50 22 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n") == ()
    assert found(HYBRID + b"50 22 0:50 / / rw - tmpfs tmpfs rw\n") == ()


def test_a_hierarchy_mounted_twice_counts_once() -> None:
    again = b"60 22 0:26 / /mnt/cg rw - cgroup2 cgroup2 rw\n61 22 0:29 / /mnt/m rw - cgroup cgroup rw,memory\n"
    assert found(HYBRID + again) == found(HYBRID)


def test_a_machine_with_v2_and_systemds_tracking_is_v2() -> None:
    lines = V2 + b"31 22 0:40 / /mnt/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    assert mode_of(found(lines, "memory")) == "v2"


def test_none() -> None:
    assert found(b"22 27 0:20 / /sys rw - sysfs sysfs rw\n") == ()
    assert mode_of(()) == "none"
    assert NONE.tracking is None
    assert NONE.place("/x").paths() == {}


@pytest.mark.parametrize(
    "path",
    ["", "x", "/", "//x", "/x/", "/x//y", "/./x", "/x/..", "/../x", "/x\ny", "/x\0", "/" + "y" * 256, "/x/" + "é" * 128],
)
def test_bad_paths(path: str) -> None:
    with pytest.raises(InvalidArgument, match="cgroup path"):
        NONE.place(path)


@given(st.text(alphabet="/.ab\n", max_size=8))
def test_a_path_that_is_accepted_stays_below(path: str) -> None:
    try:
        check_path(path)
    except InvalidArgument:
        return
    assert path[0] == "/"
    assert not {"", ".", ".."} & set(path[1:].split("/"))


def test_detect_answers_for_this_machine() -> None:
    layout = detect()
    assert layout.mode == mode_of(layout.hierarchies)
    with open("/proc/self/mountinfo") as file:
        points = {line.split()[4] for line in file}
    assert {each.directory for each in layout.hierarchies} <= points
    if "pids" in layout.controllers:
        assert layout.has("pids.max")


@pytest.mark.kernel
def test_a_child_that_goes_away_meanwhile_is_replaced_by_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """goraed and its supervisor may look at the same moment, each finding the other's probe."""
    expected = detect()
    monkeypatch.setattr("gorae.cgroup.layout._child", lambda hierarchy: hierarchy.directory + "/gorae-test-gone")
    assert detect() == expected
    assert not any(expected.place(f"/gorae-{name}").exists() for name in (f"probe-{os.getpid()}", "test-gone"))
