"""What facts mean: machines that are made up here, old, narrow, poor and unsupported."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.linux import capability
from gorae.linux.namespace import KINDS
from gorae.preflight import cgroups, facts, kernel, rights, storage, support
from gorae.preflight.distribution import end_of_support
from gorae.preflight.evaluation import evaluate, verdict
from gorae.preflight.facts import Disk, Facts
from gorae.preflight.finding import Finding

ALL = (1 << 41) - 1
CALLS = frozenset(facts._HARMLESS)
FIT = Facts(
    today=date(2026, 11, 24),
    kernel_release="6.18.0-amd64",
    machine="x86_64",
    pointer_bits=64,
    python=(3, 13, 1),
    os_release={"ID": "debian", "VERSION_ID": "13", "PRETTY_NAME": "Debian GNU/Linux 13 (trixie)"},
    user_id=0,
    nested_user_namespace=False,
    effective=ALL,
    bounding=ALL,
    last_capability=40,
    calls=CALLS,
    exit_status_by_pidfd=True,
    namespaces=frozenset(kind.oci for kind in KINDS),
    cgroup_mode="v2",
    controllers=frozenset({"cpu", "cpuset", "memory", "pids", "io", "devices", "freezer"}),
    control_files=frozenset({"cpu.max", "memory.swap.max"}),
    filesystems=frozenset({"overlay", "tmpfs", "proc", "sysfs", "devpts", "mqueue"}),
    seccomp_actions=frozenset(facts.ACTIONS),
    filtered=False,
    nftables=True,
    data_root="/var/lib/gorae",
    disk=Disk("/var/lib", "ext4", 50 << 30, 100 << 30, 1_000_000, False),
)


def look(**changes: Any) -> tuple[dict[str, Finding], int]:
    findings = evaluate(replace(FIT, **changes))
    return {finding.name: finding for finding in findings}, verdict(findings)


def worse(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status for name, finding in found.items() if finding.status != "ok"}


def test_a_fit_machine_has_nothing_to_do() -> None:
    found, status = look()
    assert status == 0
    assert worse(found) == {}
    assert not [finding for finding in found.values() if finding.advice]


def test_an_old_kernel() -> None:
    """Linux 3.10 with RHEL 7's calls: every line says from when on it would be better."""
    found, status = look(
        kernel_release="3.10.0-1160.el7.x86_64",
        calls=frozenset({"keyctl", "bpf"}),
        exit_status_by_pidfd=False,
        namespaces=frozenset({"mount", "pid", "network", "ipc", "uts", "user"}),
        last_capability=36,
        bounding=(1 << 37) - 1,
        effective=(1 << 37) - 1,
        cgroup_mode="v1",
        controllers=frozenset({"cpu", "cpuset", "memory", "blkio", "devices", "freezer", "cpuacct"}),
        control_files=frozenset({"cpu.cfs_quota_us", "memory.memsw.limit_in_bytes"}),
        seccomp_actions=frozenset({"errno"}),
        os_release={"ID": "centos", "VERSION_ID": "7", "NAME": "CentOS Linux"},
    )
    assert status == 1
    assert worse(found) == {
        "distribution": "warn",
        "kernel": "warn",
        "mount descriptors": "fail",
        "mount attributes": "fail",
        "pidfd": "fail",
        "openat2": "fail",
        "clone3": "warn",
        "close_range": "warn",
        "exit status by pidfd": "warn",
        "namespace cgroup": "warn",
        "namespace time": "warn",
        "cgroup pids": "warn",
    }
    assert found["mount attributes"].advice == "upgrade to Linux 5.12 or newer"
    assert found["distribution"].detail == "CentOS Linux: not supported since 2024-06-30"


def test_an_ancient_kernel_fails_by_itself() -> None:
    found, status = look(kernel_release="2.6.32-754.el6")
    assert (found["kernel"].status, status) == ("fail", 1)
    assert "2.6.32-754.el6" in found["kernel"].detail


def test_a_call_that_a_filter_takes_away() -> None:
    found, _ = look(calls=CALLS - {"clone3"}, filtered=True)
    assert worse(found) == {"clone3": "warn"}
    assert "seccomp filter" in found["clone3"].advice
    assert "already under a filter" in found["seccomp"].detail


@pytest.mark.parametrize(
    ("machine", "bits", "status"),
    [
        ("x86_64", 64, "ok"),
        ("aarch64", 64, "ok"),
        ("x86_64", 32, "fail"),
        ("i686", 32, "fail"),
        ("armv7l", 32, "fail"),
        ("riscv64", 64, "fail"),
    ],
)
def test_machines(machine: str, bits: int, status: str) -> None:
    found, verdict_ = look(machine=machine, pointer_bits=bits)
    assert found["machine"].status == status
    assert verdict_ == int(status == "fail")
    assert bool(found["machine"].advice) == (status != "ok")


def test_no_root() -> None:
    found, status = look(user_id=1000, effective=0, nftables=None)
    assert status == 1
    assert worse(found) == {"user": "fail", "capabilities": "fail", "nftables": "warn"}
    assert "sudo" in found["user"].advice
    found, status = look(nested_user_namespace=True)
    assert (worse(found), status) == ({"user": "warn"}, 0)


@pytest.mark.parametrize("name", sorted(capability.NAMES))
def test_each_missing_capability_is_named(name: str) -> None:
    mask = ALL & ~(1 << capability.NAMES[name])
    found, status = look(effective=mask, bounding=mask)
    line = found["capabilities"]
    assert name in line.detail
    assert line.status == ("fail" if name in rights.NEEDED else "warn")
    assert status == int(name in rights.NEEDED)
    if name in rights.LOST:
        assert rights.LOST[name] in line.detail


def test_a_kernel_without_the_newest_capabilities_lacks_none() -> None:
    assert look(last_capability=37, bounding=(1 << 38) - 1, effective=(1 << 38) - 1)[0]["capabilities"].status == "ok"


@pytest.mark.parametrize("kind", [kind.oci for kind in KINDS])
def test_each_namespace(kind: str) -> None:
    found, status = look(namespaces=FIT.namespaces - {kind})
    essential = kind in ("mount", "pid", "network", "ipc", "uts")
    assert worse(found) == {f"namespace {kind}": "fail" if essential else "warn"}
    assert status == int(essential)


@pytest.mark.parametrize("controller", cgroups.CONTROLLERS, ids=lambda controller: controller.name)
@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
def test_each_controller_says_what_is_lost(controller: cgroups.Controller, mode: str) -> None:
    found, status = look(cgroup_mode=mode, controllers=FIT.controllers - {controller.name})
    assert status == 0
    line = found[f"cgroup {controller.name}"]
    assert line.status == "warn"
    assert controller.lost in line.detail
    assert ("subtree_control" in line.advice) == (mode == "v2")


def test_version_1_calls_io_blkio() -> None:
    found, _ = look(cgroup_mode="v1", controllers=FIT.controllers - {"io"} | {"blkio"})
    assert worse(found) == {}


def test_version_2_needs_bpf_for_devices() -> None:
    assert worse(look(calls=CALLS - {"bpf"})[0]) == {"cgroup devices": "warn"}
    assert worse(look(calls=CALLS - {"bpf"}, cgroup_mode="hybrid")[0]) == {}


def test_no_cgroups_at_all() -> None:
    found, status = look(cgroup_mode="none", controllers=frozenset(), control_files=frozenset())
    assert (worse(found), status) == ({"cgroups": "warn"}, 0)
    assert not [name for name in found if name.startswith("cgroup ")]


def test_options_of_controllers() -> None:
    assert worse(look(control_files=frozenset({"memory.max"}))[0]) == {"cgroup swap": "warn", "cgroup cpu quota": "warn"}
    assert worse(look(control_files=frozenset())[0]) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"filesystems": FIT.filesystems - {"overlay"}}, {"overlay": "fail"}),
        ({"filesystems": FIT.filesystems - {"tmpfs"}}, {"file systems": "fail"}),
        ({"filesystems": FIT.filesystems - {"mqueue"}}, {"file systems": "warn"}),
        ({"seccomp_actions": frozenset()}, {"seccomp": "fail"}),
        ({"seccomp_actions": frozenset({"errno"})}, {}),
        ({"nftables": False}, {"nftables": "warn"}),
        ({"nftables": None}, {"nftables": "warn"}),
        ({"python": (3, 10, 9)}, {"python": "fail"}),
        ({"python": (3, 11, 0)}, {}),
        ({"exit_status_by_pidfd": False}, {"exit status by pidfd": "warn"}),
        ({"calls": CALLS - {"keyctl"}}, {"keyrings": "warn"}),
    ],
)
def test_parts(changes: dict[str, Any], expected: dict[str, str]) -> None:
    found, status = look(**changes)
    assert worse(found) == expected
    assert status == int("fail" in expected.values())
    assert all(found[name].advice for name in expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"free": storage.COMFORTABLE - 1}, {"disk": "warn"}),
        ({"free": storage.LEAST - 1}, {"disk": "fail"}),
        ({"read_only": True}, {"disk": "fail"}),
        ({"files_free": 100}, {"disk": "warn"}),
        ({"files_free": None, "filesystem": "btrfs"}, {}),
        ({"filesystem": "overlay"}, {"data root": "fail"}),
        ({"filesystem": "nfs"}, {"data root": "fail"}),
        ({"filesystem": "tmpfs"}, {"data root": "warn"}),
        ({"filesystem": "0x12345"}, {}),
    ],
)
def test_disks(change: dict[str, Any], expected: dict[str, str]) -> None:
    assert FIT.disk is not None
    found, status = look(disk=replace(FIT.disk, **change))
    assert worse(found) == expected
    assert status == int("fail" in expected.values())


def test_a_disk_that_cannot_be_looked_at() -> None:
    assert worse(look(disk=None)[0]) == {"disk": "warn"}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert storage.size(count) == text


@pytest.mark.parametrize(
    ("release", "status", "says"),
    [
        ({"ID": "debian", "VERSION_ID": "12"}, "ok", "supported until 2028-06-30"),
        ({"ID": "debian", "VERSION_ID": "10"}, "warn", "not supported since 2024-06-30"),
        ({"ID": "debian"}, "ok", "without releases"),
        ({"ID": "raspbian", "VERSION_ID": "11"}, "warn", "not supported since 2026-08-31"),
        ({"ID": "ubuntu", "VERSION_ID": "22.04"}, "ok", "supported until 2027-06-01"),
        ({"ID": "ubuntu", "VERSION_ID": "20.04"}, "warn", "not supported since 2025-05-29"),
        ({"ID": "ubuntu", "VERSION_ID": "99.04"}, "warn", "not known"),
        ({"ID": "fedora", "VERSION_ID": "44", "SUPPORT_END": "2027-05-19"}, "ok", "supported until 2027-05-19"),
        ({"ID": "fedora", "VERSION_ID": "43"}, "ok", "supported until 2026-12-09"),
        ({"ID": "fedora", "VERSION_ID": "41"}, "warn", "not supported since"),
        ({"ID": "rhel", "VERSION_ID": "9.4"}, "ok", "supported until 2032-05-31"),
        ({"ID": "rocky", "VERSION_ID": "8.10"}, "ok", "supported until 2029-05-31"),
        ({"ID": "almalinux", "VERSION_ID": "10.1"}, "ok", "supported until 2035-05-31"),
        ({"ID": "centos", "VERSION_ID": "8"}, "warn", "not supported since 2024-05-31"),
        ({"ID": "sles", "VERSION_ID": "15.7"}, "ok", "supported until 2031-07-31"),
        ({"ID": "opensuse-leap", "VERSION_ID": "15.6"}, "warn", "not supported since 2026-04-30"),
        ({"ID": "opensuse-tumbleweed", "VERSION_ID": "20261101"}, "ok", "without releases"),
        ({"ID": "arch"}, "ok", "without releases"),
        ({"ID": "alpine", "VERSION_ID": "3.23.3"}, "ok", "supported until 2027-11-01"),
        ({"ID": "alpine", "VERSION_ID": "3.2.1"}, "warn", "not known"),
        ({"ID": "amzn", "VERSION_ID": "2023"}, "ok", "supported until 2029-06-30"),
        ({"ID": "amzn", "VERSION_ID": "2"}, "warn", "not supported since 2026-06-30"),
        ({"ID": "slackware", "VERSION_ID": "15.0"}, "warn", "not known"),
        ({"ID": "x", "SUPPORT_END": "soon"}, "warn", "not known"),
        ({}, "warn", "unknown"),
    ],
)
def test_distributions(release: dict[str, str], status: str, says: str) -> None:
    found, code = look(os_release=release)
    assert (found["distribution"].status, code) == (status, 0)
    assert says in found["distribution"].detail
    assert found["distribution"].advice or status == "ok"


def test_the_last_day_still_counts() -> None:
    release = {"ID": "debian", "VERSION_ID": "12"}
    end = end_of_support(release)
    assert end == date(2028, 6, 30)
    assert look(os_release=release, today=end)[0]["distribution"] == Finding(
        "distribution", "ok", "debian: supported until 2028-06-30", "plan the upgrade"
    )
    assert look(os_release=release, today=date(2028, 7, 1))[0]["distribution"].status == "warn"


def test_the_table_holds_dates() -> None:
    for versions in support.ENDS.values():
        for day in versions.values():
            assert date(2015, 1, 1) < date.fromisoformat(day) < date(2040, 1, 1)
    assert set(support.SAME_AS.values()) <= set(support.ENDS)
    wanted = {"debian", "ubuntu", "fedora", "rhel", "centos", "almalinux", "rocky", "sles", "opensuse-leap", "alpine", "amzn"}
    assert wanted <= set(support.ENDS)


def subsets(values: Any) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(values)))


any_facts = st.builds(
    Facts,
    today=st.dates(),
    kernel_release=st.one_of(st.text(max_size=20), st.from_regex(r"[0-9]{1,2}\.[0-9]{1,3}(\.[0-9]+)?(-[a-z]+)?", fullmatch=True)),
    machine=st.sampled_from(["x86_64", "aarch64", "i686", "armv7l", "riscv64", ""]),
    pointer_bits=st.sampled_from([32, 64]),
    python=st.tuples(st.integers(2, 4), st.integers(0, 20), st.integers(0, 20)),
    os_release=st.dictionaries(
        st.sampled_from(["ID", "VERSION_ID", "NAME", "PRETTY_NAME", "SUPPORT_END"]),
        st.one_of(st.text(max_size=12), st.sampled_from([*support.ENDS, "12", "22.04", "9.4", "2026-01-01"])),
    ),
    user_id=st.integers(0, 2**32 - 1),
    nested_user_namespace=st.booleans(),
    effective=st.integers(0, 2**64 - 1),
    bounding=st.integers(0, 2**64 - 1),
    last_capability=st.integers(0, 63),
    calls=subsets(CALLS),
    exit_status_by_pidfd=st.booleans(),
    namespaces=subsets(FIT.namespaces),
    cgroup_mode=st.sampled_from(["v1", "hybrid", "v2", "none"]),
    controllers=subsets(FIT.controllers | {"blkio", "cpuacct", "hugetlb"}),
    control_files=subsets(FIT.control_files | {"x.y"}),
    filesystems=subsets(FIT.filesystems),
    seccomp_actions=subsets(FIT.seccomp_actions),
    filtered=st.booleans(),
    nftables=st.sampled_from([None, True, False]),
    data_root=st.just("/x"),
    disk=st.none()
    | st.builds(
        Disk,
        path=st.just("/x"),
        filesystem=st.sampled_from(["ext4", "nfs", "tmpfs", "overlay", "0x1"]),
        free=st.integers(0, 2**50),
        total=st.integers(0, 2**50),
        files_free=st.none() | st.integers(0, 2**40),
        read_only=st.booleans(),
    ),
)


@settings(max_examples=100)
@given(any_facts)
def test_any_machine_gets_an_answer(given_facts: Facts) -> None:
    findings = evaluate(given_facts)
    names = [finding.name for finding in findings]
    assert len(set(names)) == len(names)
    always = {"kernel", "machine", "distribution", "user", "capabilities", "python", "overlay", "seccomp", "nftables", "disk"}
    assert always | {"cgroups"} <= set(names)
    for finding in findings:
        assert finding.detail
        assert finding.advice or finding.status == "ok", finding
    assert verdict(findings) == int(any(finding.status == "fail" for finding in findings))
    assert evaluate(given_facts) == findings


@settings(max_examples=100)
@given(any_facts, st.sampled_from(sorted(CALLS)))
def test_one_more_call_never_makes_it_worse(given_facts: Facts, call: str) -> None:
    order = {"ok": 0, "warn": 1, "fail": 2}
    before = {finding.name: order[finding.status] for finding in evaluate(given_facts)}
    after = {finding.name: order[finding.status] for finding in evaluate(replace(given_facts, calls=given_facts.calls | {call}))}
    assert all(after[name] <= before[name] for name in before)


def test_every_fact_is_used() -> None:
    """A fact that changes no line would be a question asked in vain."""
    worst = {
        "today": date(2040, 1, 1), "kernel_release": "2.4.0", "machine": "i686", "pointer_bits": 32, "python": (2, 7, 0),
        "os_release": {}, "user_id": 1, "nested_user_namespace": True, "effective": 0, "bounding": 0, "last_capability": 63,
        "calls": frozenset(),
        "exit_status_by_pidfd": False, "namespaces": frozenset(), "cgroup_mode": "none", "controllers": frozenset(),
        "control_files": frozenset({"x.y"}), "filesystems": frozenset(), "seccomp_actions": frozenset(), "filtered": True,
        "nftables": False, "disk": None,
    }  # fmt: skip
    assert set(worst) | {"data_root"} == {field.name for field in fields(Facts)}
    narrow = replace(FIT, last_capability=20, bounding=(1 << 41) - 1 & ~(1 << 30), disk=None)
    for name, value in worst.items():
        start = narrow if name == "last_capability" else FIT
        assert evaluate(replace(start, **{name: value})) != evaluate(start), name
    assert kernel.OLDEST == (3, 10)
