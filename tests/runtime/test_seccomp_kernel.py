"""The default profile in the kernel: a forked child installs it and tries."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable

import pytest

from gorae.linux import process, seccomp
from gorae.linux.libc import SYS, syscall
from gorae.oci.seccomp_profile import profile
from gorae.runtime.seccomp import compiler

pytestmark = pytest.mark.kernel


def under_the_filter(attempt: Callable[[], object]) -> object:
    """What `attempt` returns (as JSON) in a child with the default profile for no capabilities; ["errno", n] for an OSError."""
    program = compiler.compile(profile(frozenset(), os.uname().machine, (6, 1)), os.uname().machine)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            process.set_no_new_privs()
            seccomp.install(program, 0)
            try:
                answer = attempt()
            except OSError as error:
                answer = ["errno", error.errno]
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    assert answer, "the child died without a word"
    return json.loads(answer)


def test_daily_life_goes_on() -> None:
    def attempt() -> object:
        with socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET), open("/proc/self/status", "rb") as status:
            return b"Seccomp:\t2" in status.read() and os.waitpid(os.fork() or os._exit(7), 0)[1] >> 8  # type: ignore[func-returns-value]

    assert under_the_filter(attempt) == 7


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("unshare", (0x10000000,), errno.EPERM),
        ("io_uring_setup", (1, 0), errno.EPERM),
        ("keyctl", (0, 0), errno.EPERM),
        ("clone3", (0, 0), errno.ENOSYS),
        ("socket", (38, 5, 0), errno.EPERM),
        ("socket", (40, 1, 0), errno.EPERM),
        ("clone", (0x10000011, 0, 0, 0, 0), errno.EPERM),
        ("personality", (0x40000,), errno.EPERM),
    ],
)
def test_refusals(call: str, arguments: tuple[int, ...], expected: int) -> None:
    assert under_the_filter(lambda: syscall(SYS[call], *arguments)) == ["errno", expected]


def test_a_system_call_of_tomorrow_does_not_exist() -> None:
    assert under_the_filter(lambda: syscall(999)) == ["errno", errno.ENOSYS]
