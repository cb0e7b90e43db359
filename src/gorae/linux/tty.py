"""Terminals: a pty made from one descriptor, window sizes, the controlling terminal, raw mode.

    ptmx ──open──▶ master (the engine's)          /dev/pts/N is never opened by path:
                     └─TIOCGPTPEER──▶ peer         a link there could lead anywhere (CVE-2025-52565)
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from gorae.linux import libc

TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441

Attributes = list[int | list[bytes | int]]


def open_ptmx(directory: int | str = "/dev/pts") -> tuple[int, int]:
    """Make a pty in a devpts instance, given by its directory (a descriptor or a path), and return `(master, peer)`.

    TIOCGPTPEER is Linux 4.13; before, the peer is opened as N in the same directory, without following a link. A devpts whose own
    ptmx is closed (mode 000) works for root only.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    holder = directory if isinstance(directory, int) else _open_directory(directory)
    try:
        try:
            master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=holder)
        except OSError as error:
            raise libc.named(error, "open", "ptmx") from None
        try:
            fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
            return master, _peer(master, holder, flags)
        except OSError as error:
            os.close(master)
            raise libc.named(error, "open_ptmx", "ptmx") from None
    finally:
        if holder is not directory:
            os.close(holder)


def _open_directory(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise libc.named(error, "open", path) from None


def _peer(master: int, directory: int, flags: int) -> int:
    try:
        return fcntl.ioctl(master, TIOCGPTPEER, flags)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY):
            raise
    return os.open(str(number(master)), flags | os.O_NOFOLLOW, dir_fd=directory)


def number(master: int) -> int:
    """The pty's name in its devpts."""
    try:
        (value,) = struct.unpack("I", fcntl.ioctl(master, TIOCGPTN, bytes(4)))
    except OSError as error:
        raise libc.named(error, "ioctl TIOCGPTN") from None
    return int(value)


def set_window_size(descriptor: int, rows: int, columns: int) -> None:
    """Set the size; the foreground processes get SIGWINCH if it changed. Sizes above 65,535 are cut."""
    size = struct.pack("HHHH", min(max(rows, 0), 65535), min(max(columns, 0), 65535), 0, 0)
    try:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)
    except OSError as error:
        raise libc.named(error, "ioctl TIOCSWINSZ") from None


def window_size(descriptor: int) -> tuple[int, int]:
    """(rows, columns)"""
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
    except OSError as error:
        raise libc.named(error, "ioctl TIOCGWINSZ") from None
    return rows, columns


def make_controlling(descriptor: int) -> None:
    """Make this terminal the calling session's; the caller is a session leader (setsid) without one."""
    try:
        fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
    except OSError as error:
        raise libc.named(error, "ioctl TIOCSCTTY") from None


def make_raw(descriptor: int) -> Attributes:
    """Every key goes through as it is, nothing is echoed or translated. Returns what `restore` takes."""
    try:
        before = termios.tcgetattr(descriptor)
        iflag, oflag, cflag, lflag, ispeed, ospeed, characters = termios.tcgetattr(descriptor)
        iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
        iflag &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
        oflag &= ~termios.OPOST
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        termios.tcsetattr(descriptor, termios.TCSADRAIN, [iflag, oflag, cflag, lflag, ispeed, ospeed, characters])
    except termios.error as error:
        raise libc.failure("tcsetattr", error.args[0]) from None
    return before


def restore(descriptor: int, attributes: Attributes) -> None:
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, attributes)
    except termios.error as error:
        raise libc.failure("tcsetattr", error.args[0]) from None
