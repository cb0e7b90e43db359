"""TLS over a TCP connection, with the half-close that attach and exec need.

    TCP ══ Secured (asyncio's protocol) ── two memory BIOs ── SSLObject ══ SecuredTransport ══ Connection (HTTP, then raw)

    handshake ──▶ open ──close_notify──▶ half closed: they send no more, we still do ──▶ closed
        └─ late, or not acceptable: an alert, and closed; the API never learns of it

asyncio's own TLS ends the whole connection at the peer's close_notify (its transports cannot `write_eof`), so `docker run -i` would
lose what the program says after the end of its input. RFC 8446 §6.1 lets each side close for itself, and Go's client does.

A TCP end-of-file without close_notify is a truncation, and one after it means that nobody reads any more: both end the connection.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from gorae.api.limits import Census

log = logging.getLogger("gorae.api")

READ_SIZE = 256 << 10
HANDSHAKES = 64  # of one address at a time: whoever has no certificate gets no further than here


@dataclass(frozen=True)
class Peer:
    """The client, by its certificate: common name and PEM."""

    name: str
    certificate: str


class Secured(asyncio.Protocol):
    """The TCP side. `application` makes the protocol that is spoken inside."""

    def __init__(
        self, context: ssl.SSLContext, application: Callable[[], asyncio.Protocol], handshakes: Census, patience: float
    ) -> None:
        self.context = context
        self._make = application
        self._application: asyncio.Protocol | None = None
        self._handshakes = handshakes
        self._address: object = None  # while it is counted
        self._patience = patience
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False  # their close_notify has come
        self._delivering = False
        self.paused = False
        self.closing = False

    # Towards TCP.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = cast(asyncio.Transport, transport)
        self._transport = SecuredTransport(self)
        peer = self.raw.get_extra_info("peername")
        address = peer[0] if peer else "unknown"
        if not self._handshakes.enter(address, HANDSHAKES):
            self.raw.abort()
            return
        self._address = address
        self._timer = asyncio.get_running_loop().call_later(self._patience, self.raw.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._handshake_ended()
        if self._application is not None:
            self._application.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if self._application is not None or self._shake_hands():
            self.deliver()

    def eof_received(self) -> bool | None:
        self.raw.abort() if not self._ended else self.raw.close()
        return None

    def pause_writing(self) -> None:
        if self._application is not None:
            self._application.pause_writing()

    def resume_writing(self) -> None:
        if self._application is not None:
            self._application.resume_writing()

    def _shake_hands(self) -> bool:
        """Whether it is done."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            log.info("TLS handshake with %s refused: %s", self._address, error.reason or type(error).__name__)
            self._flush()  # the alert that says why
            self.raw.close()
            return False
        self._flush()
        self._handshake_ended()
        self._application = self._make()
        self._application.connection_made(self._transport)
        return True

    def _handshake_ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._address is not None:
            self._handshakes.leave(self._address)
            self._address = None

    def _flush(self) -> None:
        if self._outgoing.pending and not self.raw.is_closing():
            self.raw.write(self._outgoing.read())

    # Towards the application.

    def deliver(self) -> None:
        """Hand on what has come in, until there is no more or the application wants no more."""
        if self._delivering or self._application is None:
            return
        self._delivering = True
        try:
            while not (self.paused or self.closing or self._ended):
                data = self.object.read(READ_SIZE)
                if data:
                    self._application.data_received(data)
                else:
                    self._ended = True
                    if not self._application.eof_received():
                        self.close()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            log.info("TLS connection ended: %s", error.reason or type(error).__name__)
            self._flush()
            self.raw.abort()
        finally:
            self._delivering = False
        self._flush()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closing or not data:
            return
        view = memoryview(data).cast("B")
        try:
            while view:
                view = view[self.object.write(view) :]
        except ssl.SSLError as error:
            log.info("TLS connection ended: %s", error.reason or type(error).__name__)
            self.raw.abort()
        self._flush()

    def close(self) -> None:
        """What was written is sent, then our close_notify; theirs is not waited for."""
        if self.closing:
            return
        self.closing = True
        try:
            self.object.unwrap()
        except ssl.SSLError:
            pass  # it is sent, and theirs has not come
        self._flush()
        self.raw.close()


class SecuredTransport(asyncio.Transport):
    """What the application writes to."""

    def __init__(self, secured: Secured) -> None:
        super().__init__()
        self._secured = secured

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._secured.context
        if name == "ssl_object":
            return self._secured.object
        if name == "peer":
            return _peer(self._secured.object)
        return self._secured.raw.get_extra_info(name, default)

    def is_reading(self) -> bool:
        return not self._secured.paused and not self._secured.closing

    def pause_reading(self) -> None:
        self._secured.paused = True
        if self._secured.raw.is_reading():
            self._secured.raw.pause_reading()

    def resume_reading(self) -> None:
        self._secured.paused = False
        if not self._secured.raw.is_closing() and not self._secured.raw.is_reading():
            self._secured.raw.resume_reading()
        asyncio.get_running_loop().call_soon(self._secured.deliver)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._secured.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self._secured.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._secured.raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._secured.raw.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._secured.closing or self._secured.raw.is_closing()

    def close(self) -> None:
        self._secured.close()

    def abort(self) -> None:
        self._secured.closing = True
        self._secured.raw.abort()


def _peer(connection: ssl.SSLObject) -> Peer | None:
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None:
        return None
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", (connection.getpeercert() or {}).get("subject", ()))
    names = [value for part in subject for key, value in part if key == "commonName"]
    lines = textwrap.wrap(base64.b64encode(certificate).decode(), 64)
    return Peer(names[-1] if names else "", "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]))
