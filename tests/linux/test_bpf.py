from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gorae.linux import bpf, mount
from gorae.linux.bpf import Instruction

pytestmark = pytest.mark.kernel

ALLOW = [Instruction(bpf.BPF_MOV64_K, 0, imm=1), Instruction(bpf.BPF_EXIT)]
# Only c 1:3 (null): access_type's low half is the kind.
ONLY_NULL = [
    Instruction(bpf.BPF_LDX_W_MEM, 2, 1, 4),
    Instruction(bpf.BPF_LDX_W_MEM, 3, 1, 8),
    Instruction(bpf.BPF_MOV64_K, 0, imm=0),
    Instruction(bpf.BPF_JNE_K, 2, off=2, imm=1),
    Instruction(bpf.BPF_JNE_K, 3, off=1, imm=3),
    Instruction(bpf.BPF_MOV64_K, 0, imm=1),
    Instruction(bpf.BPF_EXIT),
]


@pytest.fixture
def group() -> Iterator[tuple[str, int]]:
    unified = next((entry.mount_point for entry in mount.mountinfo() if entry.fs_type == "cgroup2"), None)
    if unified is None:
        pytest.skip("no cgroup v2")
    path = f"{unified}/gorae-test-bpf-{os.getpid()}"
    os.mkdir(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield path, descriptor
    os.close(descriptor)
    os.rmdir(path)


def test_a_device_program_decides(group: tuple[str, int], in_child) -> None:
    path, directory = group
    program = bpf.load_device_program(ONLY_NULL)
    assert not os.get_inheritable(program)
    bpf.attach_cgroup(directory, program)
    (number,) = bpf.query_cgroup(directory)

    def child() -> list[str]:
        found = []
        for device in ("/dev/null", "/dev/zero"):
            try:
                os.close(os.open(device, os.O_RDONLY))
                found.append("ok")
            except OSError as error:
                found.append(error.strerror or "")
        return found

    def enter(pid: int) -> None:
        with open(f"{path}/cgroup.procs", "w") as file:
            file.write(str(pid))

    assert in_child(child, beside=enter) == ["ok", "Operation not permitted"]

    wide = bpf.load_device_program(ALLOW, name="wide")
    bpf.attach_cgroup(directory, wide, replace_fd=program)
    (replaced,) = bpf.query_cgroup(directory)
    assert replaced != number
    assert in_child(child, beside=enter) == ["ok", "ok"]

    again = bpf.program_by_id(replaced)
    bpf.detach_cgroup(directory, again)
    assert bpf.query_cgroup(directory) == ()
    for descriptor in (program, wide, again):
        os.close(descriptor)


def test_the_verifier_says_why() -> None:
    with pytest.raises(OSError, match=r"bpf: .*R0 !read_ok"):
        bpf.load_device_program([Instruction(bpf.BPF_EXIT)])
    with pytest.raises(OSError, match="bpf: "):
        bpf.load_device_program([])
    with pytest.raises(FileNotFoundError, match="bpf: "):
        bpf.program_by_id(0x7FFFFFFF)


def test_packing() -> None:
    assert bpf.pack([Instruction(bpf.BPF_JNE_X, 2, 3, -1, -2)]) == bytes([0x5D, 0x32, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF])
