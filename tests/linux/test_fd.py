from __future__ import annotations

import errno
import os
import socket

import pytest

from gorae.linux import fd, libc


def test_close_range_marks_and_closes(in_child) -> None:
    def child() -> list[object]:
        kept = os.dup2(0, 100, inheritable=True)
        fd.close_range(90, 110, fd.CLOSE_RANGE_CLOEXEC)
        marked = not os.get_inheritable(kept)
        fd.close_range(90, 110)
        return [marked, 100 in fd.open_descriptors()]

    assert in_child(child) == [True, False]


def test_close_range_without_the_call(in_child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "SYS", {name: number for name, number in libc.SYS.items() if name != "close_range"})

    def child() -> list[object]:
        os.dup2(0, 100, inheritable=True)
        fd.close_range(90, flags=fd.CLOSE_RANGE_CLOEXEC)
        marked = not os.get_inheritable(100)
        fd.close_range(90)
        return [marked, 100 in fd.open_descriptors(), 0 in fd.open_descriptors()]

    assert in_child(child) == [True, False, True]


def test_a_duplicate_is_high_and_closes_on_exec() -> None:
    copy = fd.duplicate(0, 50)
    try:
        assert copy >= 50
        assert not os.get_inheritable(copy)
    finally:
        os.close(copy)
    with pytest.raises(OSError, match="fcntl F_DUPFD_CLOEXEC: Bad file"):
        fd.duplicate(9999)


@pytest.mark.parametrize("executable", [False, True])
def test_a_sealed_memfd_cannot_be_changed(executable: bool) -> None:
    descriptor = fd.sealed_memfd("x", b"hello" * 100_000, executable=executable)
    try:
        assert not os.get_inheritable(descriptor)
        assert bool(os.fstat(descriptor).st_mode & 0o111) == executable
        assert os.read(descriptor, 10) == b"hellohello"
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
        for size in (1, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def test_descriptors_travel_with_their_message() -> None:
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    with left, right:
        assert fd.send_message(left, b"abc", [writer, writer]) == 3
        assert fd.send_message(left, b"def") == 3
        os.close(writer)
        data, descriptors = fd.receive_message(right, 3)
        assert data == b"abc"
        assert len(descriptors) == 2
        assert not any(os.get_inheritable(descriptor) for descriptor in descriptors)
        os.write(descriptors[0], b"through")
        for descriptor in descriptors:
            os.close(descriptor)
        assert os.read(reader, 100) == b"through"
        assert fd.receive_message(right, 3) == (b"def", [])
        left.close()
        assert fd.receive_message(right, 3) == (b"", [])
    os.close(reader)


def test_too_many_descriptors_are_closed_and_refused() -> None:
    left, right = socket.socketpair()
    with left, right:
        before = fd.open_descriptors()
        fd.send_message(left, b"x", [0] * 20)
        with pytest.raises(OSError) as caught:
            fd.receive_message(right, 1, most=2)
        assert caught.value.errno == errno.EMSGSIZE
        assert fd.open_descriptors() == before
        with pytest.raises(ValueError, match="one byte"):
            fd.send_message(left, b"", [0])
        with pytest.raises(ValueError, match="253"):
            fd.send_message(left, b"x", [0] * 254)
