"""Descriptors: duplicating, closing, sealing, and sending them to other processes.

    send_message     bytes ──┐                    the descriptors travel with the FIRST byte of their message
                     fds ────┴─▶ SOL_SOCKET/SCM_RIGHTS ─▶ receive_message

Everything returned is close-on-exec and belongs to the caller.
"""

from __future__ import annotations

import _socket
import array
import errno
import fcntl
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gorae.linux import libc

if TYPE_CHECKING:
    import socket

CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4

MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_NOEXEC_SEAL = 8
MFD_EXEC = 0x10

F_ADD_SEALS = 1033
F_GET_SEALS = 1034
F_SEAL_SEAL = 1
F_SEAL_SHRINK = 2
F_SEAL_GROW = 4
F_SEAL_WRITE = 8
F_SEAL_FUTURE_WRITE = 0x10

SCM_MAX_FD = 253
"""The kernel's limit of descriptors in one message (man 7 unix)."""

LAST = 0xFFFFFFFF


def close_range(first: int, last: int = LAST, flags: int = 0) -> None:
    """Close (or with CLOSE_RANGE_CLOEXEC mark) every open descriptor from `first` to `last`.

    Linux 5.9, the CLOEXEC flag 5.11; on older kernels the descriptors are taken from /proc/self/fd, which is the same as long as no
    other thread opens files meanwhile.
    """
    try:
        libc.call("close_range", first, last, flags)
        return
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL) or flags & ~CLOSE_RANGE_CLOEXEC:
            raise
    for number in open_descriptors():
        if first <= number <= last:
            if flags & CLOSE_RANGE_CLOEXEC:
                os.set_inheritable(number, False)
            else:
                os.close(number)


def open_descriptors() -> tuple[int, ...]:
    """The numbers of this process's open descriptors, ascending, without the one that is used to look."""
    directory = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return tuple(sorted(number for number in map(int, os.listdir(directory)) if number != directory))
    finally:
        os.close(directory)


def duplicate(descriptor: int, at_least: int = 3) -> int:
    """A close-on-exec duplicate with the lowest free number that is not below `at_least`."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, at_least)
    except OSError as error:
        raise libc.named(error, "fcntl F_DUPFD_CLOEXEC") from None


def memfd_create(name: str, flags: int = MFD_CLOEXEC) -> int:
    try:
        return os.memfd_create(name, flags)
    except OSError as error:
        raise libc.named(error, "memfd_create", name) from None


def sealed_memfd(name: str, data: bytes, *, executable: bool = False) -> int:
    """A descriptor of anonymous memory that holds `data`, at offset 0, and that nobody can change any more.

    Executable ones ask for MFD_EXEC (Linux 6.3; before, every memfd is executable, and the flag is an error).
    """
    flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
    try:
        descriptor = memfd_create(name, flags | (MFD_EXEC if executable else MFD_NOEXEC_SEAL))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = memfd_create(name, flags)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view):]
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(descriptor, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def send_message(sock: socket.socket | _socket.socket, data: bytes | memoryview, descriptors: Sequence[int] = ()) -> int:
    """Send `data` with `descriptors` attached to its first byte and return how many bytes went (a stream socket may take fewer).

    The caller keeps its own descriptors. `data` must not be empty, or a stream socket would drop the descriptors in silence.
    """
    if not data:
        raise ValueError("descriptors need at least one byte to travel with")
    if len(descriptors) > SCM_MAX_FD:
        raise ValueError(f"{len(descriptors)} descriptors in one message, the kernel takes {SCM_MAX_FD}")
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        return sock.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise libc.named(error, "sendmsg") from None


def receive_message(
    sock: socket.socket | _socket.socket, size: int, most: int = SCM_MAX_FD, flags: int = 0
) -> tuple[bytes, list[int]]:
    """Receive up to `size` bytes and up to `most` descriptors; `(b"", [])` at the end of a stream.

    A message with more descriptors is refused (EMSGSIZE) and those that arrived are closed: none can be planted here unseen.
    """
    integers = array.array("i")
    space = _socket.CMSG_SPACE(max(most, 1) * integers.itemsize)
    try:
        data, ancillary, message_flags, _ = sock.recvmsg(size, space, flags | _socket.MSG_CMSG_CLOEXEC)
    except OSError as error:
        raise libc.named(error, "recvmsg") from None
    for level, kind, payload in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            integers.frombytes(payload[: len(payload) - len(payload) % integers.itemsize])
    descriptors = integers.tolist()
    if message_flags & _socket.MSG_CTRUNC or len(descriptors) > most:
        for descriptor in descriptors:
            os.close(descriptor)
        raise libc.failure("recvmsg", errno.EMSGSIZE, more=f"more than {most} descriptors in one message")
    return data, descriptors
