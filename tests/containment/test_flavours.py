"""Containers of every flavour look around from inside; what each sees is held against what it may see."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.containment import inside
from tests.containment.flavours import FLAVOURS, STANDARD_MOUNTS, Flavour
from tests.containment.inside import Seen
from tests.running import Daemon

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

Look = Callable[[str], Seen]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Files that everybody may write anywhere: triggers of pressure stall information, for the writer alone (Documentation/accounting).
HARMLESS = re.compile(r"/proc/pressure/(io|cpu|memory|irq)")


@pytest.fixture(scope="module")
def seen(daemon: Daemon) -> Look:
    """Each flavour is looked at once."""

    @cache
    def look(name: str) -> Seen:
        flavour = FLAVOURS[name]
        if flavour.exec is None:
            return inside.look(daemon.docker, *flavour.run)
        return inside.look_by_exec(daemon.docker, *flavour.exec, run=flavour.run)

    return look


each = pytest.mark.parametrize(("name", "flavour"), FLAVOURS.items(), ids=list(FLAVOURS))
closed = pytest.mark.parametrize(
    ("name", "flavour"), [(name, flavour) for name, flavour in FLAVOURS.items() if not flavour.open_paths],
    ids=[name for name, flavour in FLAVOURS.items() if not flavour.open_paths],
)  # fmt: skip


@each
def test_exactly_three_descriptors(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).descriptors
    assert sorted(found) == ["0", "1", "2"]
    for target in found.values():
        assert re.fullmatch(r"pipe:\[[0-9]+\]|/dev/null|/dev/pts/[0-9]+|/dev/console|/null|/", target), found


@each
def test_capabilities(seen: Look, name: str, flavour: Flavour) -> None:
    status = seen(name)
    assert status.capabilities("Inh") == 0
    assert status.capabilities("Amb") == 0
    assert status.capabilities("Bnd") == flavour.capabilities
    expected = 0 if flavour.uid else flavour.capabilities
    assert (status.capabilities("Prm"), status.capabilities("Eff")) == (expected, expected)


@each
def test_no_signal_is_ignored_or_blocked(seen: Look, name: str, flavour: Flavour) -> None:
    status = seen(name).status
    assert (status["SigIgn"], status["SigBlk"]) == ("0" * 16, "0" * 16)


@each
def test_identity(seen: Look, name: str, flavour: Flavour) -> None:
    status = seen(name).status
    assert set(status["Uid"].split()) == {str(flavour.uid)}
    assert tuple(int(word) for word in status["Groups"].split()) == flavour.groups
    assert int(status["NoNewPrivs"]) == flavour.no_new_privileges


@each
def test_the_environment_exactly(seen: Look, name: str, flavour: Flavour) -> None:
    look = seen(name)
    assert set(look.environment) == {PATH, f"HOSTNAME={look.hostname}", f"HOME={flavour.home}", *flavour.environment}


@each
def test_only_its_own_processes_are_in_sight(seen: Look, name: str, flavour: Flavour) -> None:
    look = seen(name)
    if "pid" in flavour.namespaces:
        assert look.status["NSpid"].split()[-1] == look.status["Pid"]
        assert len(look.pids) < flavour.pids, look.pids
        assert look.strangers == []
    else:
        # Other containers, of no more rights than its own, are open to it then; the machine is not.
        machine = os.stat("/")
        assert f"root {machine.st_dev}:{machine.st_ino}" not in look.strangers


@each
def test_namespaces(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).namespaces
    own = {kind for kind in found if not kind.endswith("_for_children") and found[kind] != os.readlink(f"/proc/self/ns/{kind}")}
    assert own == flavour.namespaces


@closed
def test_masked_and_read_only_paths(seen: Look, name: str, flavour: Flavour) -> None:
    look = seen(name)
    assert {path: what for path, what in look.masks.items() if what not in ("ENOENT", "null", "empty")} == {}
    assert {path: what for path, what in look.read_only.items() if what != "ro"} == {}
    assert "/proc/sys" in look.read_only
    assert look.masks["/proc/interrupts"] == "null"
    assert look.masks["/proc/keys"] == "null"


@closed
def test_nothing_of_the_kernel_can_be_turned(seen: Look, name: str, flavour: Flavour) -> None:
    look = seen(name)
    # Whoever was given CAP_SYS_ADMIN was given that, too (arch/x86/kernel/cpu/mtrr/if.c asks for it).
    given = {"/proc/mtrr"} if flavour.capabilities & 1 << 21 else set()
    assert [path for path in look.proc_writable if not HARMLESS.fullmatch(path) and path not in given] == []
    assert look.sys_writable == []


@each
def test_devices(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).devices
    if flavour.uid or not flavour.capabilities:
        assert set(found.values()) <= {"mknod EPERM", "mknod EACCES"}
    elif flavour.devices is not None:
        assert found == {"null": "ok", **flavour.devices}
    else:
        assert {word: answer for word, answer in found.items() if word in ("null", "kmsg", "fuse", "tun")} == dict.fromkeys(
            ("null", "kmsg", "fuse", "tun"), "ok"
        )


@each
def test_dev(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).dev
    expected = {
        "full": "c 1:7 0666",
        "null": "c 1:3 0666",
        "random": "c 1:8 0666",
        "tty": "c 5:0 0666",
        "urandom": "c 1:9 0666",
        "zero": "c 1:5 0666",
        "fd": "-> /proc/self/fd",
        "stdin": "-> /proc/self/fd/0",
        "stdout": "-> /proc/self/fd/1",
        "stderr": "-> /proc/self/fd/2",
        "ptmx": "-> pts/ptmx",
        "pts": "drwxr-xr-x",
        "shm": "drwxrwxrwt",
        "mqueue": "drwxrwxrwt",
    }
    more = set(found) - set(expected)
    assert {word: found[word] for word in expected} == expected
    if flavour.devices is not None:
        assert more == ({"console"} if name == "tty" else {"fuse"} if name == "device" else set())


@closed
def test_control_groups_can_be_read_and_not_changed(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).cgroups
    assert found["tries"]
    assert set(found["tries"].values()) <= {"EROFS", "EACCES"}
    if "cgroup" in flavour.namespaces:
        assert found["paths"] == ["/"]


@each
def test_mounts(seen: Look, name: str, flavour: Flavour) -> None:
    look = seen(name)
    places = [mount["at"] for mount in look.mounts]
    masks = [path for path, what in look.masks.items() if what in ("null", "empty")]
    hierarchies = [place for place in places if place.startswith("/sys/fs/cgroup/")]
    thermal = [place for place in places if place.endswith("/thermal_throttle")]
    expected = {*STANDARD_MOUNTS, *flavour.mounts, *masks, *hierarchies, *thermal}
    assert set(places) <= expected, set(places) - expected
    assert len(places) == len(set(places)), "one thing a place"
    assert not any("shared" in mount["passing"] for mount in look.mounts)
    for mount in look.mounts:
        if mount["type"] in ("proc", "sysfs", "mqueue", "devpts"):
            assert {"nosuid", "noexec"} <= set(mount["options"].split(","))


@each
def test_system_calls_that_containers_have_no_use_for(seen: Look, name: str, flavour: Flavour) -> None:
    look = seen(name)
    assert look.status["Seccomp"] == ("2" if flavour.filtered else "0")
    if not flavour.filtered:
        return
    assert look.status["Seccomp_filters"] == "1"
    expected: dict[str, Any] = dict.fromkeys(look.calls, "EPERM") | {"clone3": "ENOSYS", "ptrace": "ok"}
    found = {word: answer for word, answer in look.calls.items() if word not in flavour.allowed_calls}
    assert found == {word: answer for word, answer in expected.items() if word not in flavour.allowed_calls}
    for word in flavour.allowed_calls:
        assert look.calls[word] not in ("ENOSYS", "EPERM"), word


@each
def test_sockets(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).sockets
    assert [found[word] for word in ("UNIX", "INET", "NETLINK")] == ["ok", "ok", "ok"]
    if flavour.filtered:
        assert (found["ALG"], found["VSOCK"]) == ("EPERM", "EPERM")
    raw = "ok" if flavour.capabilities >> 13 & 1 and not flavour.uid else "EPERM"
    assert found["PACKET"] == raw


@each
def test_the_oldest_way_out(seen: Look, name: str, flavour: Flavour) -> None:
    allowed = flavour.capabilities >> 18 & 1 and not flavour.uid
    assert seen(name).chroot == ("inside" if allowed else "EPERM")


@each
def test_its_key_ring_is_its_own(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).keyring
    if flavour.filtered:
        assert found == "EPERM"
    else:
        assert re.fullmatch(r"keyring;0;0;[0-9a-f]+;_ses\.[0-9a-f]{64}", found)


@each
def test_the_root_file_system(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).root_writable
    assert found == ("EROFS" if flavour.read_only else "EACCES" if flavour.uid else "ok")


@each
def test_its_three_files(seen: Look, name: str, flavour: Flavour) -> None:
    found = seen(name).files
    may = "EROFS" if flavour.read_only else "EACCES" if flavour.uid else "ok"
    assert found == dict.fromkeys(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"), f"0644 {may}")


@each
def test_no_clock_but_the_machines(seen: Look, name: str, flavour: Flavour) -> None:
    """A time namespace of its own, with offsets of nothing."""
    assert seen(name).offsets == ["monotonic", "0", "0", "boottime", "0", "0"]


def test_sysctls(daemon: Daemon) -> None:
    words = ("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4321")
    files = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax")
    assert daemon.docker("run", "--rm", *words, "busybox", "cat", *files).stdout.split() == [b"1", b"4321"]


def test_no_abstract_socket_is_ours(seen: Look, daemon: Daemon) -> None:
    """CVE-2020-15257: with the host's network a container could connect to it."""
    assert not [name for name in seen("network host").abstract if "gorae" in name or str(daemon.exec_root) in name]
