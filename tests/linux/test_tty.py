from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorae.linux import mount, namespace, tty


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    master, peer = tty.open_ptmx("/dev/pts")
    yield master, peer
    os.close(master)
    os.close(peer)


@pytest.mark.kernel
def test_a_pty(pty: tuple[int, int]) -> None:
    master, peer = pty
    assert not os.get_inheritable(master)
    assert not os.get_inheritable(peer)
    os.write(master, b"hello\n")
    assert os.read(peer, 100) == b"hello\n"
    tty.set_window_size(master, 24, 80)
    assert tty.window_size(peer) == (24, 80)
    tty.set_window_size(master, 10**9, -1)
    assert tty.window_size(peer) == (65535, 0)
    assert os.ttyname(peer) == f"/dev/pts/{tty.number(master)}"


@pytest.mark.kernel
def test_raw_and_back(pty: tuple[int, int]) -> None:
    master, peer = pty
    before = tty.make_raw(peer)
    assert not termios.tcgetattr(peer)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    os.write(master, b"\x03\r")
    assert os.read(peer, 100) == b"\x03\r"
    os.write(peer, b"\n")
    assert os.read(master, 100) == b"\n"
    tty.restore(peer, before)
    assert termios.tcgetattr(peer) == before


@pytest.mark.kernel
def test_the_controlling_terminal(in_child, pty: tuple[int, int]) -> None:
    _, peer = pty

    def child() -> list[object]:
        os.setsid()
        tty.make_controlling(peer)
        other = os.open("/dev/tty", os.O_RDWR)
        return [os.tcgetpgrp(other) == os.getpid()]

    assert in_child(child) == [True]


@pytest.mark.kernel
def test_an_instance_of_its_own_by_descriptor(in_child, tmp_path: Path) -> None:
    def child() -> list[object]:
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.mount("devpts", str(tmp_path), "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
        directory = os.open(tmp_path, os.O_PATH)
        master, peer = tty.open_ptmx(directory)
        os.write(master, b"x\n")
        return [tty.number(master), os.read(peer, 9).decode(), sorted(os.listdir(tmp_path)), os.fstat(directory).st_ino > 0]

    assert in_child(child, namespace.CLONE_NEWNS) == [0, "x\n", ["0", "ptmx"], True]


def test_no_terminal(tmp_path: Path) -> None:
    descriptor = os.open("/dev/null", os.O_RDWR)
    try:
        for call in (tty.window_size, tty.make_raw, tty.number, tty.make_controlling, lambda fd: tty.set_window_size(fd, 1, 1)):
            with pytest.raises(OSError, match=r"(ioctl TIOC[A-Z]+|tcsetattr): Inappropriate ioctl for device"):
                call(descriptor)
    finally:
        os.close(descriptor)
    with pytest.raises(FileNotFoundError) as caught:
        tty.open_ptmx(str(tmp_path))
    assert caught.value.filename == "ptmx"
    (tmp_path / "ptmx").symlink_to("/dev/ptmx")
    with pytest.raises(OSError, match="open: "):
        tty.open_ptmx(str(tmp_path))
