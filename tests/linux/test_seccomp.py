from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.linux import libc, process, seccomp
from gorae.linux.seccomp import Instruction


def refuse(name: str, action: int) -> bytes:
    return seccomp.pack(
        [
            Instruction(seccomp.BPF_LD_W_ABS, k=seccomp.OFFSET_ARCH),
            Instruction(seccomp.BPF_JMP_JEQ_K, 1, 0, seccomp.AUDIT_ARCH[libc.MACHINE]),
            Instruction(seccomp.BPF_RET_K, k=seccomp.SECCOMP_RET_KILL_THREAD),
            Instruction(seccomp.BPF_LD_W_ABS, k=seccomp.OFFSET_NR),
            Instruction(seccomp.BPF_JMP_JEQ_K, 0, 1, libc.SYS[name]),
            Instruction(seccomp.BPF_RET_K, k=action),
            Instruction(seccomp.BPF_RET_K, k=seccomp.SECCOMP_RET_ALLOW),
        ]
    )


@pytest.mark.kernel
def test_a_filter_holds(in_child) -> None:
    program = refuse("getppid", seccomp.SECCOMP_RET_ERRNO | errno.EXDEV)

    def child() -> list[object]:
        process.set_no_new_privs()
        result = seccomp.install(program)
        try:
            libc.call("getppid")
        except OSError as error:
            refused = error.errno
        with open("/proc/thread-self/status") as file:
            mode = next(line.split()[1] for line in file if line.startswith("Seccomp:"))
        return [result, refused, mode, os.getpid() > 0]

    assert in_child(child) == [0, errno.EXDEV, "2", True]


@pytest.mark.kernel
def test_by_prctl_before_the_call_existed(in_child, monkeypatch: pytest.MonkeyPatch) -> None:
    program = refuse("getppid", seccomp.SECCOMP_RET_ERRNO | errno.EXDEV)
    monkeypatch.setattr(libc, "SYS", {name: number for name, number in libc.SYS.items() if name != "seccomp"})

    def child() -> int | None:
        process.set_no_new_privs()
        seccomp.install(program)
        try:
            libc.call("getppid")
        except OSError as error:
            return error.errno
        return None

    assert in_child(child) == errno.EXDEV


@pytest.mark.kernel
def test_arguments_are_seen_where_they_lie(in_child) -> None:
    """close(0x1_0000_0007 …): the high half of argument 0 decides."""
    program = seccomp.pack(
        [
            Instruction(seccomp.BPF_LD_W_ABS, k=seccomp.OFFSET_NR),
            Instruction(seccomp.BPF_JMP_JEQ_K, 0, 3, libc.SYS["lseek"]),
            Instruction(seccomp.BPF_LD_W_ABS, k=seccomp.offset_of_argument(1, high=True)),
            Instruction(seccomp.BPF_JMP_JEQ_K, 0, 1, 0x77),
            Instruction(seccomp.BPF_RET_K, k=seccomp.SECCOMP_RET_ERRNO | errno.EXDEV),
            Instruction(seccomp.BPF_RET_K, k=seccomp.SECCOMP_RET_ALLOW),
        ]
    )

    def child() -> list[object]:
        process.set_no_new_privs()
        descriptor = os.memfd_create("x")
        seccomp.install(program)
        found: list[object] = [libc.call("lseek", descriptor, 0x76_0000_0005, 0)]
        try:
            libc.call("lseek", descriptor, 0x77_0000_0005, 0)
        except OSError as error:
            found.append(error.errno)
        return found

    assert in_child(child) == [0x76_0000_0005, errno.EXDEV]


@pytest.mark.kernel
def test_a_listener_is_a_descriptor(in_child) -> None:
    program = refuse("getppid", seccomp.SECCOMP_RET_USER_NOTIF)

    def child() -> list[object]:
        process.set_no_new_privs()
        descriptor = seccomp.install(program, seccomp.SECCOMP_FILTER_FLAG_NEW_LISTENER)
        return [os.readlink(f"/proc/self/fd/{descriptor}"), os.get_inheritable(descriptor)]

    assert in_child(child) == ["anon_inode:seccomp notify", False]


def test_actions() -> None:
    for action in (seccomp.SECCOMP_RET_ERRNO, seccomp.SECCOMP_RET_ALLOW, seccomp.SECCOMP_RET_KILL_PROCESS, seccomp.SECCOMP_RET_LOG):
        assert seccomp.action_available(action)
    assert not seccomp.action_available(0x12340000)


@pytest.mark.kernel
def test_what_the_kernel_refuses(in_child) -> None:
    for wrong in (b"", b"1234", bytes(8) * 4097):
        with pytest.raises(OSError, match="seccomp: Invalid argument"):
            seccomp.install(wrong)

    def child() -> list[str]:
        process.set_no_new_privs()
        said = []
        for program in ([Instruction(seccomp.BPF_LD_W_ABS, k=3)], [Instruction(0xFFFF)]):
            try:
                seccomp.install(seccomp.pack(program))
            except OSError as error:
                said.append(str(error.strerror))
        return said

    assert in_child(child) == ["seccomp: Invalid argument"] * 2


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFFFFFF))))
def test_packing_is_reversible(instructions: list[tuple[int, int, int, int]]) -> None:
    packed = seccomp.pack(instructions)
    assert len(packed) == 8 * len(instructions)
    assert list(seccomp.unpack(packed)) == instructions
