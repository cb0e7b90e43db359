"""How a call is made, how it fails, and that its number is known where it is needed."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path

import pytest

from gorae.linux import libc
from gorae.linux.syscall_table import TABLES, X32_SYSCALL_BIT

ROOM = Path(libc.__file__).parent


def test_a_result_and_a_failure() -> None:
    assert libc.call("getpid") == os.getpid() == libc.syscall(libc.SYS["getpid"])
    with pytest.raises(PermissionError if os.getuid() else FileNotFoundError) as caught:
        libc.call("mkdirat", libc.AT_FDCWD, b"/nonexistent/x", 0o755, path="/nonexistent/x")
    assert caught.value.errno == errno.ENOENT
    assert caught.value.strerror == "mkdirat: No such file or directory"
    assert caught.value.filename == "/nonexistent/x"
    with pytest.raises(OSError, match=r"close: Bad file descriptor"):
        libc.syscall(libc.SYS["close"], -1)


def test_words_are_not_cut_to_32_bits() -> None:
    offset = 0x1_2345_6789
    descriptor = os.memfd_create("wide")
    try:
        assert libc.call("lseek", descriptor, offset, os.SEEK_SET) == offset
    finally:
        os.close(descriptor)


def test_bytes_and_references_arrive() -> None:
    buffer = ctypes.create_string_buffer(4096)
    length = libc.call("getcwd", buffer, len(buffer))
    assert buffer.raw[: length - 1] == os.getcwdb()


def test_a_call_this_machine_lacks_is_enosys() -> None:
    with pytest.raises(OSError) as caught:
        libc.call("no_such_call", path="/x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSYS, "/x")


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        libc.text("a\0b")
    assert libc.text("ä\udcff") == b"\xc3\xa4\xff"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "arm", "i386"])
def test_every_call_in_this_room_has_a_number(machine: str) -> None:
    used = {name for path in ROOM.glob("*.py") for name in re.findall(r'libc\.call\(\s*"(\w+)"', path.read_text())}
    assert len(used) > 25
    assert used <= set(TABLES[machine])


def test_the_table_agrees_with_itself() -> None:
    for machine, table in TABLES.items():
        assert len(set(table.values())) == len(table), machine
    assert all(number & X32_SYSCALL_BIT for number in TABLES["x32"].values())
    newest = {name: number for name, number in TABLES["x86_64"].items() if number >= 424}
    assert max(newest.values()) == 469
    for machine in ("i386", "aarch64", "arm"):
        for name, number in newest.items():
            assert TABLES[machine].get(name, number) == number, (machine, name)
    missing = {machine: {name for name in newest if name not in table} for machine, table in TABLES.items()}
    assert missing == {"x86_64": set(), "i386": set(), "x32": {"map_shadow_stack"}, "aarch64": set(), "arm": {"memfd_secret"}}


@pytest.mark.parametrize(
    ("machine", "name", "number"),
    [
        ("x86_64", "openat2", 437), ("x86_64", "mount", 165), ("i386", "socketcall", 102), ("i386", "clone3", 435),
        ("x32", "ioctl", X32_SYSCALL_BIT | 514), ("x32", "read", X32_SYSCALL_BIT), ("aarch64", "openat", 56),
        ("aarch64", "mount", 40), ("aarch64", "clone", 220), ("arm", "openat", 322), ("arm", "cacheflush", 0xF0002),
        ("x86_64", "uretprobe", 335), ("x86_64", "fchmodat2", 452), ("arm", "ugetrlimit", 191), ("aarch64", "file_setattr", 469),
    ],
)  # fmt: skip
def test_known_numbers(machine: str, name: str, number: int) -> None:
    assert TABLES[machine][name] == number


@pytest.mark.parametrize(("machine", "header"), [("x86_64", "unistd_64.h"), ("i386", "unistd_32.h"), ("x32", "unistd_x32.h")])
def test_the_kernels_headers_say_the_same(machine: str, header: str) -> None:
    path = Path("/usr/include/x86_64-linux-gnu/asm") / header
    if not path.exists():
        pytest.skip("linux-libc-dev is not installed")
    found = re.findall(r"#define __NR_(\w+) (\(__X32_SYSCALL_BIT \+ )?(\d+)", path.read_text())
    assert len(found) > 300
    for name, x32, number in found:
        assert TABLES[machine][name] == int(number) | (X32_SYSCALL_BIT if x32 else 0)
