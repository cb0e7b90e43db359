"""Listening on TCP, which gives whoever gets through root on this machine.

    tlsverify, tlscacert, tlscert, tlskey    mutual TLS ≥ 1.2: clients show a certificate of that authority
    tls, tlscert, tlskey    and insecure     TLS without client certificates: nobody listens in, everybody may come
                                insecure     neither

Anything less than the first needs `--insecure` (or "insecure": true), loopback or not: every user and every web page of a machine
reaches its loopback. And it is warned of at each start.
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from gorae.engine.config import Config
from gorae.errors import Conflict, InvalidArgument

# Docker's: what dockerd takes when a host names no port, and when it names no address.
PLAIN_PORT, TLS_PORT = 2375, 2376
LOOPBACK = "127.0.0.1"


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address(host: str, config: Config) -> Address:
    """What `tcp://…` means. InvalidArgument when it makes no sense, or is less than mutual TLS and nobody has said so."""
    found = re.fullmatch(r"tcp://(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9_.-]*))(?::([0-9]{1,5}))?/?", host)
    if found is None or int(found[3] or 0) > 65535:
        raise InvalidArgument(f"host {host!r}: tcp://ADDRESS:PORT is expected")
    if not config.tls_verify and not config.insecure:
        raise InvalidArgument(
            f"host {host!r}: whoever reaches this address without a client certificate would be root here; set tlsverify, "
            "tlscacert, tlscert and tlskey, or spell out --insecure"
        )
    return Address(found[1] or found[2] or LOOPBACK, int(found[3] or (TLS_PORT if secured(config) else PLAIN_PORT)))


def secured(config: Config) -> bool:
    return config.tls or config.tls_verify


def bind(where: Address) -> list[socket.socket]:
    """Bound sockets, one for each address that the name means; the caller's."""
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InvalidArgument(f"cannot listen on {where}: {error}") from error
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(place)
    except OSError as error:
        for one in bound:
            one.close()
        raise Conflict(f"cannot listen on {where}: {error.strerror}") from error
    return bound


def warning(where: Address, config: Config) -> str:
    """What is wrong with less than mutual TLS; empty for that."""
    if config.tls_verify:
        return ""
    how = "encrypts, but asks nobody who they are" if secured(config) else "neither encrypts nor asks anybody who they are"
    return (
        f"INSECURE: {where} {how}. WHOEVER CAN REACH IT IS ROOT ON THIS MACHINE, web pages in a browser here included; "
        "use tlsverify"
    )
