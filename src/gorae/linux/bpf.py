"""eBPF, as far as cgroup v2 needs it for devices.

    struct bpf_insn (8 bytes)      struct bpf_cgroup_dev_ctx, in R1
    u8  code                       0  u32 access_type   kind | access << 16
    u4  dst_reg, u4 src_reg        4  u32 major
    s16 off                        8  u32 minor
    s32 imm                        returns 1 to allow, 0 to deny
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable
from typing import NamedTuple

from gorae.linux import libc

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_GET_FD_BY_ID = 13
BPF_PROG_QUERY = 16

BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6

BPF_F_ALLOW_OVERRIDE = 1
BPF_F_ALLOW_MULTI = 2
BPF_F_REPLACE = 4

BPF_DEVCG_ACC_MKNOD = 1
BPF_DEVCG_ACC_READ = 2
BPF_DEVCG_ACC_WRITE = 4
BPF_DEVCG_DEV_BLOCK = 1
BPF_DEVCG_DEV_CHAR = 2

BPF_LDX_W_MEM = 0x61
BPF_MOV32_X = 0xBC
BPF_MOV32_K = 0xB4
BPF_MOV64_X = 0xBF
BPF_MOV64_K = 0xB7
BPF_AND32_K = 0x54
BPF_AND32_X = 0x5C
BPF_RSH32_K = 0x74
BPF_JA = 0x05
BPF_JEQ_K = 0x15
BPF_JNE_K = 0x55
BPF_JNE_X = 0x5D
BPF_EXIT = 0x95

_FORMAT = struct.Struct("=BBhi")


class Instruction(NamedTuple):
    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0


def pack(instructions: Iterable[Instruction]) -> bytes:
    return b"".join(_FORMAT.pack(i.code, i.dst | i.src << 4, i.off, i.imm) for i in instructions)


class _Load(ctypes.Structure):
    _fields_ = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
    ]


class _Attach(ctypes.Structure):
    _fields_ = [
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("replace_bpf_fd", ctypes.c_uint32),
    ]


class _Query(ctypes.Structure):
    _fields_ = [
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("prog_ids", ctypes.c_uint64),
        ("prog_cnt", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    ]


def load_device_program(instructions: Iterable[Instruction] | bytes, name: str = "devices") -> int:
    """Load a BPF_PROG_TYPE_CGROUP_DEVICE program and return its descriptor (the kernel makes it close-on-exec).

    When the verifier refuses, the error carries the end of what it said.
    """
    code = instructions if isinstance(instructions, bytes) else pack(instructions)
    program = ctypes.create_string_buffer(code, len(code) or 1)
    license_text = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = _Load(
        prog_type=BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt=len(code) // _FORMAT.size,
        insns=ctypes.addressof(program),
        license=ctypes.addressof(license_text),
        prog_name=name.encode()[:15],
    )
    try:
        return _bpf(BPF_PROG_LOAD, attributes)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):
            raise
    # Once more with the verifier's log, which costs memory and time that a correct program need not pay.
    log = ctypes.create_string_buffer(65536)
    attributes.log_level, attributes.log_size, attributes.log_buf = 1, len(log), ctypes.addressof(log)
    try:
        return _bpf(BPF_PROG_LOAD, attributes)
    except OSError as error:
        lines = log.value.decode("utf-8", "replace").strip().splitlines()
        raise libc.failure("bpf", error.errno or 0, more="; ".join(lines[-3:])) from None


def attach_cgroup(cgroup_fd: int, program_fd: int, flags: int = BPF_F_ALLOW_MULTI, *, replace_fd: int = -1) -> None:
    """Attach a device program to a cgroup v2 directory. With `replace_fd` it takes the place of that one (Linux 5.5)."""
    if replace_fd >= 0:
        flags |= BPF_F_REPLACE
    _bpf(BPF_PROG_ATTACH, _Attach(cgroup_fd, program_fd, BPF_CGROUP_DEVICE, flags, max(replace_fd, 0)))


def detach_cgroup(cgroup_fd: int, program_fd: int) -> None:
    _bpf(BPF_PROG_DETACH, _Attach(cgroup_fd, program_fd, BPF_CGROUP_DEVICE, 0, 0))


def query_cgroup(cgroup_fd: int) -> tuple[int, ...]:
    """The ids of the device programs that are attached to exactly this cgroup."""
    room = 64
    while True:
        numbers = (ctypes.c_uint32 * room)()
        query = _Query(cgroup_fd, BPF_CGROUP_DEVICE, 0, 0, ctypes.addressof(numbers), room, 0)
        try:
            _bpf(BPF_PROG_QUERY, query)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            room *= 4
            continue
        return tuple(numbers[: query.prog_cnt])


def program_by_id(number: int) -> int:
    """A descriptor of a loaded program, to detach or replace it."""
    return _bpf(BPF_PROG_GET_FD_BY_ID, (ctypes.c_uint32 * 3)(number, 0, 0))


def _bpf(command: int, attributes: ctypes.Structure | ctypes.Array[ctypes.c_uint32]) -> int:
    return libc.call("bpf", command, ctypes.byref(attributes), ctypes.sizeof(attributes))
