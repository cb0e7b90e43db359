from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.linux import namespace, process


@pytest.mark.kernel
def test_prctl(in_child) -> None:
    def child() -> list[object]:
        process.set_dumpable(False)
        owner = os.stat("/proc/self/fd/0", follow_symlinks=False).st_uid
        process.set_no_new_privs()
        process.set_child_subreaper(True)
        process.set_keepcaps(True)
        process.set_name("a-name-that-is-too-long")
        with open("/proc/self/comm") as file:
            name = file.read().strip()
        kept = process.prctl(process.PR_GET_KEEPCAPS)
        return [process.dumpable(), owner, process.no_new_privs(), process.child_subreaper(), kept, name]

    assert in_child(child) == [False, 0, True, True, 1, "a-name-that-is-"]
    assert (process.dumpable(), process.no_new_privs(), process.child_subreaper()) == (True, False, False)


@pytest.mark.kernel
def test_a_child_dies_with_its_parent() -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespace.clone3(0)
    if pid == 0:
        inner, _ = namespace.clone3(0)
        if inner == 0:
            process.set_pdeathsig(signal.SIGKILL)
            os.write(writer, b"ready")
            while True:
                signal.pause()
        os.read(reader, 5)
        os._exit(0)
    os.close(writer)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        # The end of the pipe is that of the grandchild, which holds the last writer.
        assert os.read(reader, 5) == b""
    finally:
        os.close(reader)
        os.close(pidfd)


@pytest.mark.kernel
@pytest.mark.parametrize(("how", "code"), [(lambda: os._exit(42), 42), (lambda: os.kill(os.getpid(), signal.SIGKILL), 137)])
def test_the_exit_status_of_what_somebody_else_reaped(how, code: int) -> None:
    pid, pidfd = namespace.clone3(0)
    if pid == 0:
        how()
        os._exit(1)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        assert process.pidfd_exit_status(pidfd) is None or not process.knows_exit_status()
        _, status = os.waitpid(pid, 0)
        assert process.exit_code(status) == code
        if process.knows_exit_status():
            assert process.pidfd_exit_status(pidfd) == status
        with pytest.raises(ProcessLookupError, match="pidfd_send_signal: No such process"):
            process.pidfd_send_signal(pidfd, signal.SIGTERM)
    finally:
        os.close(pidfd)


def test_a_living_process_has_no_exit_status() -> None:
    pidfd = process.pidfd_open(os.getpid())
    try:
        assert process.pidfd_exit_status(pidfd) is None
        process.pidfd_send_signal(pidfd, 0)
        copy = process.pidfd_getfd(pidfd, 0)
        assert os.fstat(copy) == os.fstat(0)
        os.close(copy)
    finally:
        os.close(pidfd)
    with pytest.raises(ProcessLookupError):
        process.pidfd_open(0x3FFFFFFF)
    with pytest.raises(OSError, match="Bad file descriptor"):
        process.pidfd_exit_status(-1)


@given(st.integers(0, 255))
def test_exit_codes(code: int) -> None:
    assert process.exit_code(code << 8) == code
    assert process.exit_signal(code << 8) is None
    number = code % 64 + 1
    assert process.exit_code(number | 0x80) == 128 + number
    assert process.exit_signal(number) == number
    assert process.core_dumped(number | 0x80)
    assert not process.core_dumped(number)


@pytest.mark.parametrize(
    ("word", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("9", 9), (" INT ", 2), ("RTMIN+3", 37), ("SIGRTMAX-2", 62), ("64", 64)],
)
def test_signals_by_name(word: str, number: int) -> None:
    assert process.signal_number(word) == number


@pytest.mark.parametrize("word", ["", "0", "65", "-1", "NOPE", "SIG", "SIGSIGTERM", "1.5", "²", "999999999999999999999"])
def test_words_that_are_no_signal(word: str) -> None:
    with pytest.raises(ValueError, match="invalid signal"):
        process.signal_number(word)


def test_signals_agree_with_pythons() -> None:
    assert {name: process.signal_number(name) for name in signal.Signals.__members__} == dict(signal.Signals.__members__)
    for number in range(1, 65):
        name = process.signal_name(number)
        if number not in (32, 33):
            assert process.signal_number(name) == number
    assert process.signal_name(15) == "SIGTERM"
    assert process.signal_name(6) == "SIGABRT"
    assert process.signal_name(33) == "SIG33"


def test_limits(in_child) -> None:
    import resource

    for name, number in process.RLIMITS.items():
        if hasattr(resource, name):
            assert getattr(resource, name) == number

    def child() -> list[int]:
        process.set_rlimit(process.RLIMITS["RLIMIT_CORE"], 0, 4096)
        return list(process.get_rlimit(process.RLIMITS["RLIMIT_CORE"]))

    assert in_child(child) == [0, 4096]
    soft, hard = process.get_rlimit(process.RLIMITS["RLIMIT_CPU"])
    assert (soft, hard) == (process.RLIM_INFINITY, process.RLIM_INFINITY)


@pytest.mark.kernel
def test_oom_score(in_child) -> None:
    def child() -> str:
        process.set_oom_score_adj(500)
        with open("/proc/self/oom_score_adj") as file:
            return file.read().strip()

    assert in_child(child) == "500"
    with pytest.raises(OSError, match="write: Invalid argument: '/proc/self/oom_score_adj'"):
        process.set_oom_score_adj(5000)


@pytest.mark.kernel
def test_groups(in_child) -> None:
    def child() -> list[int]:
        process.set_groups([7, 5, 7])
        return os.getgroups()

    assert sorted(set(in_child(child))) == [5, 7]

    def denied() -> str:
        namespace.unshare(namespace.CLONE_NEWUSER)
        try:
            process.set_groups([5])
        except OSError as error:
            return str(error.strerror)
        return ""

    assert in_child(denied).startswith("setgroups: ")


def test_the_room_stays_light() -> None:
    """The supervisor loads it: nothing of asyncio, threads, logging, subprocess or socket may come with it."""
    code = (
        "import sys; from gorae.linux import bpf, capability, fd, idmap, inotify, interface, keyring, libc, mount, namespace, "
        "path, process, seccomp, syscall_table, system, tree, tty; "
        "print(*{'asyncio', 'threading', 'logging', 'subprocess', 'socket', 'signal', 'selectors', 'zlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == []
