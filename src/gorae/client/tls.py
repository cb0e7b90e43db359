"""A TLS connection that can be half closed, as `gorae run -i` and `gorae exec -i` need. Imported only for an address with TLS.

    SecureSocket ── SSLObject ── two memory BIOs ── TCP socket

`ssl.SSLSocket.shutdown` gives TLS up altogether, and `unwrap` reads, and loses, what the other end still says. Here the end of what
we send is a close_notify of its own (RFC 8446 §6.1), and the other direction goes on.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gorae.client.endpoint import Endpoint

BLOCK = 64 << 10


class SecureSocket:
    """What a socket does, as far as this package asks for it. Owns the socket it is given."""

    def __init__(self, link: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._link = link
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._unsent = b""  # encrypted, and more than the socket took
        self._ended = False  # they send no more
        while True:
            try:
                self._object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._push()
                self._pull()
            except ssl.SSLError:
                self._push()  # the alert that says why
                raise
        self._push()

    def fileno(self) -> int:
        return self._link.fileno()

    def close(self) -> None:
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        try:
            self._link.setblocking(False)
            self._push()
        except OSError:
            pass
        self._link.close()

    def settimeout(self, timeout: float | None) -> None:
        self._link.settimeout(timeout)

    def setblocking(self, blocking: bool) -> None:
        self._link.setblocking(blocking)

    def recv(self, size: int) -> bytes:
        """As socket.recv: nothing at the end, BlockingIOError when there is nothing now."""
        while True:
            try:
                return self._object.read(size)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self._push()
                if self._ended:
                    # An end without close_notify: as lawful a way to lose a daemon as any, but nothing is made of the rest.
                    raise ConnectionResetError("the connection ended without TLS's close_notify") from None
                self._pull()

    def send(self, data: bytes | memoryview) -> int:
        """As socket.send. Taken means encrypted: what the socket did not take goes first the next time."""
        self._push()
        if self._unsent:
            raise BlockingIOError
        if not data:
            return 0
        taken = self._object.write(memoryview(data)[:BLOCK])
        self._push()
        return taken

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.send(view) :]

    def shutdown(self, how: int) -> None:
        """SHUT_WR only: our close_notify."""
        assert how == socket.SHUT_WR
        try:
            self._object.unwrap()
        except ssl.SSLWantReadError:
            pass  # ours is out, theirs has not come
        self._push()

    @property
    def pending(self) -> bool:
        """Whether something that was taken has still to be sent."""
        return bool(self._unsent)

    def _push(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                self._unsent = self._unsent[self._link.send(self._unsent) :]
            except BlockingIOError:
                return

    def _pull(self) -> None:
        data = self._link.recv(BLOCK)
        if data:
            self._incoming.write(data)
        else:
            self._ended = True
            self._incoming.write_eof()


def secure(link: socket.socket, endpoint: Endpoint) -> SecureSocket:
    """The handshake, within the socket's timeout. OSError (ssl.SSLError is one) when the other end is not who it should be."""
    authority = f"{endpoint.tls}/ca.pem" if endpoint.verify else None
    try:
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if os.path.exists(f"{endpoint.tls}/cert.pem"):
            context.load_cert_chain(f"{endpoint.tls}/cert.pem", f"{endpoint.tls}/key.pem")
    except OSError as error:
        raise OSError(error.errno, f"the certificates in {endpoint.tls} cannot be used: {error.strerror or error}") from error
    return SecureSocket(link, context, endpoint.host)
