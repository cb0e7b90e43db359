"""Profiles against programs: the compiler's output, run by an emulator, and a reading of the profile that knows no BPF."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import InvalidArgument, Unsupported
from gorae.linux.seccomp import (
    AUDIT_ARCH_AARCH64,
    AUDIT_ARCH_ARM,
    AUDIT_ARCH_I386,
    AUDIT_ARCH_X86_64,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_LOG,
    SECCOMP_RET_TRACE,
)
from gorae.linux.syscall_table import TABLES
from gorae.oci.runtimespec import Seccomp, SeccompArg, SeccompSyscall
from gorae.oci.seccomp_profile import profile
from gorae.runtime.seccomp import compiler
from tests.runtime.bpf_emulator import check, run, unpack

X32 = 0x40000000
ALLOW = SECCOMP_RET_ALLOW
EPERM = SECCOMP_RET_ERRNO | 1
ENOSYS = SECCOMP_RET_ERRNO | 38
CAPABILITIES = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE
"""
DOCKERS = frozenset("CAP_" + name for name in CAPABILITIES.split())
FORBIDDEN = """
    unshare setns mount umount2 pivot_root keyctl add_key request_key bpf perf_event_open userfaultfd open_by_handle_at kexec_load
    kexec_file_load init_module finit_module delete_module reboot swapon swapoff io_uring_setup io_uring_enter io_uring_register
    iopl ioperm settimeofday clock_settime acct quotactl syslog sethostname fsopen open_tree move_mount mount_setattr kcmp
    pidfd_getfd process_madvise mbind
"""
DEFAULT = profile(DOCKERS, "x86_64", (6, 1))


class Filter:
    def __init__(self, seccomp: Seccomp, machine: str = "x86_64") -> None:
        self.code = unpack(compiler.compile(seccomp, machine))
        check(self.code)

    def __call__(self, name: str, *arguments: int, abi: str = "x86_64") -> int:
        arch = {"i386": AUDIT_ARCH_I386, "aarch64": AUDIT_ARCH_AARCH64, "arm": AUDIT_ARCH_ARM}.get(abi, AUDIT_ARCH_X86_64)
        number = TABLES[abi][name] | (X32 if abi == "x32" else 0)
        return run(self.code, arch, number, arguments)[0]

    def number(self, number: int, arch: int = AUDIT_ARCH_X86_64, *arguments: int) -> int:
        return run(self.code, arch, number, arguments)[0]


@pytest.fixture(scope="module")
def default() -> Filter:
    return Filter(DEFAULT)


def holds(condition: SeccompArg, arguments: tuple[int, ...]) -> bool:
    found, value = arguments[condition.index], condition.value
    return {
        "SCMP_CMP_EQ": found == value,
        "SCMP_CMP_NE": found != value,
        "SCMP_CMP_LT": found < value,
        "SCMP_CMP_LE": found <= value,
        "SCMP_CMP_GT": found > value,
        "SCMP_CMP_GE": found >= value,
        "SCMP_CMP_MASKED_EQ": found & value == (condition.valueTwo or 0),
    }[condition.op]


RETURNS = {
    "SCMP_ACT_ALLOW": SECCOMP_RET_ALLOW,
    "SCMP_ACT_ERRNO": SECCOMP_RET_ERRNO,
    "SCMP_ACT_TRACE": SECCOMP_RET_TRACE,
    "SCMP_ACT_LOG": SECCOMP_RET_LOG,
    "SCMP_ACT_KILL_PROCESS": SECCOMP_RET_KILL_PROCESS,
}


def returned(action: str, errno: int | None) -> int:
    return RETURNS[action] | ((1 if errno is None else errno) if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


def naive(seccomp: Seccomp, table: dict[str, int], number: int, arguments: tuple[int, ...]) -> int:
    """The profile read aloud."""
    default = returned(seccomp.defaultAction, seccomp.defaultErrnoRet)
    named = {table[name] for rule in seccomp.syscalls for name in rule.names if name in table}
    if named and number > max(named) and seccomp.defaultAction not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
        return ENOSYS
    mine = [
        rule
        for rule in seccomp.syscalls
        if any(table.get(name) == number for name in rule.names) and returned(rule.action, rule.errnoRet) != default
    ]
    for rule in mine:
        if not rule.args:
            return returned(rule.action, rule.errnoRet)
    for rule in mine:
        indices = [argument.index for argument in rule.args]
        satisfied = [holds(argument, arguments) for argument in rule.args]
        if any(satisfied) if len(set(indices)) < len(indices) else all(satisfied):
            return returned(rule.action, rule.errnoRet)
    return default


def test_the_default_lets_370_names_through_three_of_them_by_argument() -> None:
    assert len(DEFAULT.syscalls[0].names) == 367
    by_argument = {name for rule in DEFAULT.syscalls if rule.args for name in rule.names}
    assert by_argument == {"socket", "personality", "clone"}


@pytest.mark.parametrize("abi", ["x86_64", "i386", "x32"])
@pytest.mark.parametrize("arguments", [(0,) * 6, (38, 0, 0, 0, 0, 0), (0x10000000,) * 6, (2**64 - 1,) * 6])
def test_the_whole_table_of_each_abi_agrees_with_the_profile(default: Filter, abi: str, arguments: tuple[int, ...]) -> None:
    table = {name: number & ~X32 for name, number in TABLES[abi].items()}
    arch = AUDIT_ARCH_I386 if abi == "i386" else AUDIT_ARCH_X86_64
    first = X32 if abi == "x32" else 0
    for number in [*range(600), 2**20, 2**30 - 1]:
        assert default.number(first + number, arch, *arguments) == naive(DEFAULT, table, number, arguments), number


def test_a_foreign_architecture_kills(default: Filter) -> None:
    assert default.number(TABLES["aarch64"]["read"], AUDIT_ARCH_AARCH64) == SECCOMP_RET_KILL_PROCESS
    assert default.number(0, 0) == SECCOMP_RET_KILL_PROCESS


@pytest.mark.parametrize("abi", ["x86_64", "i386", "x32"])
def test_newer_system_calls_do_not_exist(default: Filter, abi: str) -> None:
    assert default.number((X32 if abi == "x32" else 0) + 590, AUDIT_ARCH_I386 if abi == "i386" else AUDIT_ARCH_X86_64) == ENOSYS


@pytest.mark.parametrize("name", FORBIDDEN.split())
def test_what_a_container_may_not_do(default: Filter, name: str) -> None:
    assert default(name) == EPERM


def test_sockets_by_family(default: Filter) -> None:
    allowed = {family for family in range(64) if default("socket", family, 1, 0) == ALLOW}
    assert {1, 2, 10, 16, 17} <= allowed
    assert not allowed & {12, 19, 20, 23, 25, 34, 37, 38, 40}
    assert max(allowed) == 45
    # The kernel takes the family as an int: rubbish above it must not disguise AF_ALG.
    assert default("socket", (1 << 32) | 38) == EPERM
    assert default("socketcall", 1, abi="i386") == ALLOW
    assert default("socket", 38, abi="i386") == EPERM


@pytest.mark.parametrize("abi", ["x86_64", "i386", "x32"])
def test_clone_makes_processes_but_no_namespaces(default: Filter, abi: str) -> None:
    assert default("clone", 0x01200011, abi=abi) == ALLOW  # fork
    assert default("clone", 0x003D0F00, abi=abi) == ALLOW  # pthread_create
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert default("clone", flag | 17, abi=abi) == EPERM
    assert default("clone3", abi=abi) == ENOSYS


def test_personalities(default: Filter) -> None:
    tried = (*range(16), 0x20000, 0x20008, 0x40000, 0x400000, 0xFFFFFFFF, 0xFFFFFFFF_00000008)
    assert {value for value in tried if default("personality", value) == ALLOW} == {0, 8, 0x20000, 0x20008, 0xFFFFFFFF}


def test_capabilities_open_their_system_calls() -> None:
    admin = Filter(profile(DOCKERS | {"CAP_SYS_ADMIN"}, "x86_64", (6, 1)))
    assert admin("unshare") == ALLOW
    assert admin("clone", 0x10000000) == ALLOW
    assert admin("clone3") == ALLOW
    assert Filter(profile(frozenset(), "x86_64", (6, 1)))("chroot") == EPERM
    assert Filter(profile(frozenset({"CAP_SYS_TIME"}), "x86_64", (6, 1)))("stime", abi="i386") == ALLOW


def test_tracing_needs_linux_4_8_or_the_capability() -> None:
    assert Filter(profile(DOCKERS, "x86_64", (4, 7)))("ptrace") == EPERM
    assert Filter(profile(DOCKERS, "x86_64", (4, 8)))("ptrace") == ALLOW
    assert Filter(profile(DOCKERS | {"CAP_SYS_PTRACE"}, "x86_64", (3, 10)))("ptrace") == ALLOW


def test_aarch64_with_its_32_bit_programs() -> None:
    arm = Filter(profile(DOCKERS, "aarch64", (6, 1)), "aarch64")
    assert arm("read", abi="aarch64") == ALLOW
    assert arm("read", abi="arm") == ALLOW
    assert arm("unshare", abi="arm") == EPERM
    assert arm.number(0, AUDIT_ARCH_X86_64) == SECCOMP_RET_KILL_PROCESS


def test_without_the_sub_architectures_their_calls_kill() -> None:
    only = Filter(Seccomp(defaultAction="SCMP_ACT_ALLOW", architectures=("SCMP_ARCH_X86_64",)))
    assert only.number(0) == ALLOW
    assert only.number(X32) == SECCOMP_RET_KILL_PROCESS
    assert only.number(0, AUDIT_ARCH_I386) == SECCOMP_RET_KILL_PROCESS
    assert only.number(0xFFFFFFFF) == ALLOW  # a tracer's "skip this call"


def test_the_tree_is_shallow(default: Filter) -> None:
    by_argument = {TABLES["x86_64"][name] for name in ("socket", "personality", "clone")}
    assert max(run(default.code, AUDIT_ARCH_X86_64, number)[1] for number in range(512) if number not in by_argument) <= 14
    assert len(default.code) < 450


def test_an_equal_profile_is_compiled_once() -> None:
    first = compiler.compile(profile(DOCKERS, "x86_64", (6, 1)), "x86_64")
    assert compiler.compile(profile(DOCKERS, "x86_64", (6, 1)), "x86_64") is first


def rule(name: str, action: str = "SCMP_ACT_ALLOW", errno: int | None = None, *args: SeccompArg) -> SeccompSyscall:
    return SeccompSyscall(names=(name,), action=action, errnoRet=errno, args=args)


def test_a_filter_too_long_for_the_kernel_is_refused() -> None:
    many = tuple(rule("read", "SCMP_ACT_ALLOW", None, SeccompArg(index=0, value=n, op="SCMP_CMP_GT")) for n in range(1000))
    with pytest.raises(InvalidArgument, match="the kernel takes 4096"):
        compiler.compile(Seccomp(defaultAction="SCMP_ACT_ERRNO", syscalls=many), "x86_64")


@pytest.mark.parametrize(
    ("profile", "error"),
    [
        (Seccomp(defaultAction="SCMP_ACT_ALLOW", defaultErrnoRet=1), InvalidArgument),
        (Seccomp(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=70000), InvalidArgument),
        (Seccomp(defaultAction="SCMP_ACT_NOTHING"), InvalidArgument),
        (Seccomp(defaultAction="SCMP_ACT_ALLOW", architectures=("SCMP_ARCH_Z80",)), InvalidArgument),
        (Seccomp(defaultAction="SCMP_ACT_ALLOW", syscalls=(rule("read", "SCMP_ACT_KILL", 1),)), InvalidArgument),
        (Seccomp(defaultAction="SCMP_ACT_ALLOW", syscalls=(rule("read", "SCMP_ACT_NOTIFY"),)), Unsupported),
    ],
)
def test_bad_profiles_are_refused(profile: Seccomp, error: type[Exception]) -> None:
    with pytest.raises(error):
        compiler.compile(profile, "x86_64")


def test_an_unknown_machine_is_told() -> None:
    with pytest.raises(Unsupported, match="sparc64"):
        compiler.compile(Seccomp(defaultAction="SCMP_ACT_ALLOW"), "sparc64")


EDGES = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (7 << 32) | 5, 2**63, 2**64 - 1]
values = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**64 - 1))
conditions = st.builds(
    SeccompArg,
    index=st.integers(0, 5),
    value=values,
    valueTwo=st.one_of(st.none(), values),
    op=st.sampled_from([f"SCMP_CMP_{op}" for op in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")]),
)
names = st.sampled_from(sorted(set(TABLES["x86_64"]) | set(TABLES["i386"]) | {"no_such_call"}))
ACTIONS = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"]


@st.composite
def rules(draw: st.DrawFn) -> SeccompSyscall:
    action = draw(st.sampled_from(ACTIONS))
    return SeccompSyscall(
        names=tuple(draw(st.lists(names, min_size=1, max_size=30))),
        action=action,
        errnoRet=draw(st.one_of(st.none(), st.integers(1, 133))) if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else None,
        args=tuple(draw(st.lists(conditions, max_size=4))),
    )


profiles = st.builds(
    Seccomp,
    defaultAction=st.sampled_from(ACTIONS),
    architectures=st.just(("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    syscalls=st.lists(rules(), max_size=8).map(tuple),
)


@settings(max_examples=80, deadline=None)
@given(seccomp=profiles, arguments=st.tuples(*[values] * 6))
def test_any_profile_means_what_it_says(seccomp: Seccomp, arguments: tuple[int, ...]) -> None:
    filter = Filter(seccomp)
    for abi, arch, first in (("x86_64", AUDIT_ARCH_X86_64, 0), ("i386", AUDIT_ARCH_I386, 0), ("x32", AUDIT_ARCH_X86_64, X32)):
        table = {name: number & ~X32 for name, number in TABLES[abi].items()}
        mentioned = {table[name] for rule in seccomp.syscalls for name in rule.names if name in table}
        for number in sorted({n for m in mentioned for n in (max(m - 1, 0), m, m + 1)} | {0, 500}):
            assert filter.number(first + number, arch, *arguments) == naive(seccomp, table, number, arguments)


@settings(max_examples=100, deadline=None)
@given(condition=conditions, values=st.tuples(*[values] * 6), close=st.sampled_from([-1, 0, 1, 1 << 32, -(1 << 32)]))
def test_each_operator_on_64_bits(condition: SeccompArg, values: tuple[int, ...], close: int) -> None:
    near = list(values)
    near[condition.index] = (condition.value + close) % 2**64
    seccomp = Seccomp(defaultAction="SCMP_ACT_ERRNO", syscalls=(rule("read", "SCMP_ACT_ALLOW", None, condition), rule("write")))
    filter = Filter(seccomp)
    for arguments in (values, tuple(near)):
        assert filter("read", *arguments) == (ALLOW if holds(condition, arguments) else EPERM)
