"""Terminals: handed to an engine over a socket, or joined to our own."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorae.linux import fd, tty
from tests.runtime.cli_driver import Runtime, wait_for

pytestmark = pytest.mark.kernel


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    driver = Runtime(tmp_path)
    yield driver
    driver.clean_up()


class Engine:
    """The other end of --console-socket."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "console.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        os.unlink(self.path)

    def master(self) -> int:
        self.socket.settimeout(20)
        connection, _ = self.socket.accept()
        with connection:
            name, (master,) = fd.receive_message(connection, 4096)
        assert name
        return master


def read_until(master: int, text: str) -> str:
    """What comes out of a terminal, up to and with `text` (or its end, when that is "")."""
    found = b""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    while not text or text.encode() not in found:
        assert poll.poll(20_000), f"nothing more after {found!r}"
        piece = read_or_end(master)
        if not piece:
            break
        found += piece
    return found.decode().replace("\r\n", "\n")


def read_or_end(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError as error:
        if error.errno != errno.EIO:  # nobody has the other side open any more
            raise
        return b""


def test_create_hands_over_the_master(runtime: Runtime) -> None:
    runtime.write("sh", "-c", "tty; stty size; read word; echo got $word", terminal=True, consoleSize={"height": 33, "width": 77})
    with Engine(runtime.directory) as engine:
        runtime.create("box", "--console-socket", engine.path)
        master = engine.master()
    try:
        runtime.ok("start", "box")
        assert read_until(master, "33 77\r\n") == "/dev/pts/0\n33 77\n"
        os.write(master, b"hi\n")
        assert "got hi" in read_until(master, "got hi")
        runtime.until("box", "stopped")
    finally:
        os.close(master)


def test_exec_hands_over_another(runtime: Runtime) -> None:
    runtime.write("sleep", "1000")
    runtime.create("box")
    runtime.ok("start", "box")
    with Engine(runtime.directory) as engine:
        options = ("--tty", "--detach", "--console-socket", engine.path)
        assert runtime.silently("exec", *options, "box", "sh", "-c", "tty; test -t 2 && echo yes") == 0
        master = engine.master()
    try:
        assert read_until(master, "yes").startswith("/dev/pts/")
    finally:
        os.close(master)


def test_which_options_go_together(runtime: Runtime) -> None:
    bundle = ("--bundle", str(runtime.bundle))
    with Engine(runtime.directory) as engine:
        runtime.write("sh")
        assert "needs process.terminal" in runtime.fails("create", *bundle, "--console-socket", engine.path, "box")
        runtime.write("sh", terminal=True)
        assert "without --console-socket" in runtime.fails("create", *bundle, "box")
        assert "foreground" in runtime.fails("run", *bundle, "--console-socket", engine.path, "box")
    assert "--console-socket" in runtime.fails("create", *bundle, "--console-socket", engine.path, "box")  # nobody listens any more
    assert not runtime.root.exists() or not runtime.left()


@pytest.fixture
def screen() -> Iterator[tuple[int, int]]:
    """(master, peer) of a terminal of 30 × 90, as a person's."""
    master, peer = os.openpty()
    tty.set_window_size(peer, 30, 90)
    yield master, peer
    os.close(master)


def test_the_foreground_is_joined_to_our_terminal(runtime: Runtime, screen: tuple[int, int]) -> None:
    master, peer = screen
    runtime.write("sh", "-c", "stty size; while read word; do echo got $word; done; exit 4", terminal=True)
    words = runtime.words("run", "--bundle", str(runtime.bundle), "box")
    running = subprocess.Popen(words, stdin=peer, stdout=peer, stderr=peer, start_new_session=True)
    assert read_until(master, "30 90\n".replace("\n", "\r\n")) == "30 90\n"
    os.write(master, b"hello\r")
    # Once as the container's terminal echoes it, once as the answer: our own terminal is raw and echoes nothing.
    assert read_until(master, "got hello\r\n") == "hello\ngot hello\n"
    tty.set_window_size(peer, 40, 100)
    running.send_signal(signal.SIGWINCH)
    wait_for(lambda: runtime.ok("exec", "box", "sh", "-c", "stty size < /proc/1/fd/0") == "40 100\n")
    os.write(master, b"\x04")
    assert running.wait(20) == 4
    assert not runtime.left()
    os.close(peer)


def test_our_terminal_is_itself_again_afterwards(runtime: Runtime, screen: tuple[int, int]) -> None:
    _, peer = screen
    before = termios.tcgetattr(peer)
    runtime.write("true", terminal=True)
    words = runtime.words("run", "--bundle", str(runtime.bundle), "box")
    assert subprocess.run(words, stdin=peer, stdout=peer, stderr=peer, check=False, timeout=60).returncode == 0
    assert termios.tcgetattr(peer) == before
    os.close(peer)


def test_the_last_words_are_not_lost(runtime: Runtime) -> None:
    runtime.write("sh", "-c", "seq 1 20000", terminal=True)
    done = runtime("run", "--bundle", str(runtime.bundle), "box")
    assert done.stdout.split() == [str(number) for number in range(1, 20001)]
