"""The filter that the kernel has loaded for a container, asked about every system call of x86-64, i386 and x32."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gorae.engine.container.capabilities import DEFAULT
from gorae.linux import seccomp
from gorae.linux.syscall_table import TABLES
from gorae.linux.system import kernel_version
from gorae.oci.seccomp_profile import profile
from tests.containment import filters
from tests.containment.filters import Program
from tests.running import Daemon

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.peer,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the tables that are compared are x86-64's"),
]
NEVER = """
    unshare setns mount umount2 pivot_root keyctl add_key request_key bpf perf_event_open userfaultfd open_by_handle_at kexec_load
    kexec_file_load init_module finit_module delete_module reboot swapon swapoff io_uring_setup io_uring_enter io_uring_register
    settimeofday clock_settime acct quotactl syslog sethostname setdomainname fsopen fsmount fsconfig fspick open_tree move_mount
    mount_setattr kcmp pidfd_getfd process_madvise mbind migrate_pages move_pages set_mempolicy lookup_dcookie nfsservctl vhangup
"""
FLAVOURS = {
    "default": (),
    "user": ("-u", "1000"),
    "init": ("--init",),
    "no new privileges": ("--security-opt", "no-new-privileges"),
}


@pytest.fixture(scope="module", params=FLAVOURS)
def program(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Program]:
    container = daemon.docker("run", "-d", *FLAVOURS[request.param], "busybox", "sleep", "1000").stdout.decode().strip()
    try:
        pid = daemon.engine.inspect(container)["State"]["Pid"]
        try:
            found = filters.loaded(pid)
        except PermissionError:
            pytest.skip("this kernel does not show filters (CONFIG_CHECKPOINT_RESTORE)")
        assert len(found) == 1
        yield found[0]
    finally:
        daemon.docker("rm", "-f", container)


@pytest.mark.parametrize("abi", ["x86_64", "i386", "x32"])
def test_every_system_call_of_the_table(program: Program, abi: str) -> None:
    """What is allowed is on the profile's list; all of the table's others are refused, and none kills."""
    listed = {name for rule in profile(frozenset(DEFAULT), "x86_64", kernel_version()).syscalls for name in rule.names}
    found = filters.verdicts(program, abi)
    assert set(found) == set(TABLES[abi])
    assert set(found.values()) <= {"allow", "EPERM", "ENOSYS"}
    assert {name for name, word in found.items() if word == "allow"} <= listed
    for name in NEVER.split():
        assert found.get(name, "EPERM") == "EPERM", name
    assert found["clone3"] == "ENOSYS"


@pytest.mark.parametrize("abi", ["x86_64", "i386", "x32"])
def test_numbers_that_do_not_exist_yet(program: Program, abi: str) -> None:
    for number in (600, 1000, 4095):
        assert filters.verdict(program, abi, number) in ("ENOSYS", "EPERM")


def test_a_foreign_machine_is_killed(program: Program) -> None:
    from tests.runtime import bpf_emulator

    value, _ = bpf_emulator.run(program, seccomp.AUDIT_ARCH_AARCH64, 0, ())
    assert filters.WORDS[value] == "kill"


def test_no_namespace_by_clone(program: Program) -> None:
    flags = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)  # CLONE_NEW…
    for abi, number in (("x86_64", 56), ("i386", 120), ("x32", 56)):
        assert filters.verdict(program, abi, number, 17) == "allow"
        for flag in flags:
            assert filters.verdict(program, abi, number, flag | 17) == "EPERM"


def test_an_exec_has_the_same_filter(daemon: Daemon) -> None:
    container = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.decode().strip()
    try:
        daemon.docker("exec", "-d", "--privileged", container, "sleep", "999")
        first = daemon.engine.inspect(container)["State"]["Pid"]
        second = next(
            int(line.split()[1])
            for line in daemon.docker("top", container).stdout.decode().splitlines()
            if "sleep 999" in line
        )
        assert filters.loaded(first) == filters.loaded(second)
    finally:
        daemon.docker("rm", "-f", container)
