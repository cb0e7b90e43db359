"""The flavour that only `gorae-runtime` offers so far: root in there is nobody out here."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from gorae.runtime.birth import Context
from tests.containment import inside
from tests.containment.inside import Seen
from tests.runtime import stage
from tests.runtime.test_namespaces import BASE, mapped, shift

pytestmark = pytest.mark.kernel
_numbers = itertools.count()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    rootfs: Path = stage.make_rootfs(tmp_path_factory.mktemp("mapped") / "rootfs")
    for name in ("bin", "usr"):
        (rootfs / name).rename(rootfs / f"{name}.image") if (rootfs / name).exists() else None
    (rootfs / "usr").mkdir()
    for name in ("bin", "lib", "lib64"):
        (rootfs / name).symlink_to(f"usr/{name}")
    shift(rootfs)
    document = mapped(stage.config(rootfs, *inside.PROGRAM))
    document["mounts"].append({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
    context = Context("mapped", cgroup=f"/gorae-test-{os.getpid()}-mapped{next(_numbers)}", cgroup_layout=stage.layout())
    outcome = stage.run(stage.with_seccomp(document), context)
    return inside.parse(outcome.output.encode())


def test_its_ids_are_not_the_machines(seen: Seen) -> None:
    assert seen.uid_map == ["0", str(BASE), "65536"]
    assert (seen.capabilities("Eff"), seen.capabilities("Inh"), seen.capabilities("Amb")) == (0xA80425FB, 0, 0)
    assert seen.namespaces["user"] != os.readlink("/proc/self/ns/user")


def test_descriptors_and_signals(seen: Seen) -> None:
    assert sorted(seen.descriptors) == ["0", "1", "2"]
    assert (seen.status["SigIgn"], seen.status["SigBlk"]) == ("0" * 16, "0" * 16)


def test_nothing_can_be_turned(seen: Seen) -> None:
    assert seen.sys_writable == []
    assert [path for path in seen.proc_writable if not path.startswith("/proc/pressure/")] == []
    assert {path: what for path, what in seen.masks.items() if what not in ("ENOENT", "null", "empty")} == {}
    assert set(seen.cgroups["tries"].values()) <= {"EROFS", "EACCES", "EPERM"}


def test_no_device_can_be_made(seen: Seen) -> None:
    assert set(seen.devices.values()) == {"mknod EPERM"}
    assert seen.dev["null"] == "c 1:3 0666"


def test_system_calls_and_sockets(seen: Seen) -> None:
    assert {word: answer for word, answer in seen.calls.items() if answer not in ("EPERM", "ENOSYS")} == {"ptrace": "ok"}
    assert (seen.sockets["ALG"], seen.sockets["VSOCK"]) == ("EPERM", "EPERM")
    assert seen.chroot == "inside"
    assert seen.strangers == []
