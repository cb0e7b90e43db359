"""Network interfaces, as far as a container without a network needs them: its loopback, up."""

from __future__ import annotations

import _socket
import errno
import fcntl
import struct

from gorae.linux import libc

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
IFF_LOOPBACK = 8
IFF_RUNNING = 0x40
IFNAMSIZ = 16

_IFREQ = struct.Struct("16sH22x")


def bring_up(name: str = "lo") -> None:
    """Set IFF_UP of an interface in this process's network namespace (needs CAP_NET_ADMIN there)."""
    _set_flags(name, flags(name) | IFF_UP)


def flags(name: str) -> int:
    """The interface's IFF_* flags."""
    answer = _ioctl("SIOCGIFFLAGS", SIOCGIFFLAGS, name, 0)
    return int(_IFREQ.unpack(answer)[1])


def names() -> tuple[str, ...]:
    """The interfaces of this process's network namespace, by index."""
    try:
        return tuple(name for _, name in sorted(_socket.if_nameindex()))
    except OSError as error:
        raise libc.named(error, "if_nameindex") from None


def _set_flags(name: str, value: int) -> None:
    _ioctl("SIOCSIFFLAGS", SIOCSIFFLAGS, name, value)


def _ioctl(label: str, request: int, name: str, value: int) -> bytes:
    raw = libc.text(name)
    if not 0 < len(raw) < IFNAMSIZ:
        raise libc.failure(f"ioctl {label}", errno.ENODEV, name)
    # Any socket will do for interface requests; a unix socket exists even where the kernel has no IPv4.
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        return fcntl.ioctl(sock.fileno(), request, _IFREQ.pack(raw, value))
    except OSError as error:
        raise libc.named(error, f"ioctl {label}", name) from None
    finally:
        sock.close()
