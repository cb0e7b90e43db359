"""A netlink socket, and what is said over it.

    ┌────────────┬──────────┬───────────┬──────────────┬──────────┬─────────┐
    │ length u32 │ type u16 │ flags u16 │ sequence u32 │ port u32 │ body    │   several in one datagram
    └────────────┴──────────┴───────────┴──────────────┴──────────┴─────────┘

    ask(messages)     all in one datagram, an ack for each; the first refusal is raised, the others are still carried out
    dump(message)     the answers until NLMSG_DONE
    batch(messages)   nftables: all or none, between BATCH_BEGIN and BATCH_END

A socket belongs for ever to the network namespace of the thread that made it: one made inside a container's namespace configures
that namespace from wherever it is used. Errors are OSError with the kernel's own words (NLMSGERR_ATTR_MSG) where it has some.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple

from gorae.netlink import attribute

HEADER = struct.Struct("=IHHII")
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 1, 4, 0x100, 0x200, 0x400, 0x800
NLM_F_DUMP = 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLM_F_DUMP_INTR = 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 1, 10, 11
SIZE = 1 << 17
SEND_BUFFER = 1 << 22
PATIENCE = (10).to_bytes(8, "little") + bytes(8)  # struct timeval: the kernel answers at once, or something is badly wrong


class Message(NamedTuple):
    """`kind` is nlmsg_type; NLM_F_REQUEST is added when it is sent."""

    kind: int
    flags: int
    body: bytes


class Conversation:
    """Blocking; one thread at a time. `with Conversation(NETLINK_ROUTE) as route:`"""

    def __init__(self, family: int, groups: Sequence[int] = ()) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0
        try:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            if not groups:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, PATIENCE)
            self.socket.bind((0, 0))
            for group in groups:
                self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ask(self, *messages: Message) -> list[OSError | None]:
        """Sends all, waits for every ack, and raises the first refusal."""
        refusals = self.try_all(*messages)
        for refusal in refusals:
            if refusal is not None:
                raise refusal
        return refusals

    def try_all(self, *messages: Message) -> list[OSError | None]:
        """The refusal of each message, or None."""
        first = self._sequence + 1
        self._send([Message(kind, flags | NLM_F_ACK, body) for kind, flags, body in messages])
        refusals: list[OSError | None] = [None] * len(messages)
        missing = len(messages)
        while missing:
            for kind, flags, sequence, body in self._receive():
                index = sequence - first
                if kind == NLMSG_ERROR and 0 <= index < len(messages):
                    refusals[index] = _refusal(flags, body)
                    missing -= 1
        return refusals

    def dump(self, message: Message) -> list[tuple[int, bytes]]:
        """Type and body of each answer."""
        self._send([Message(message.kind, message.flags | NLM_F_DUMP, message.body)])
        found: list[tuple[int, bytes]] = []
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_ERROR:
                    refusal = _refusal(flags, body)
                    if refusal is not None:
                        raise refusal
                elif kind == NLMSG_DONE:
                    return found
                else:
                    found.append((kind, body))

    def get(self, message: Message) -> bytes:
        """The body of the one answer."""
        self._send([message])
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence == self._sequence and kind == NLMSG_ERROR:
                    raise _refusal(flags, body) or OSError(errno.ENODATA, "netlink: an ack where an answer was expected")
                if sequence == self._sequence:
                    return body

    def batch(self, begin: Message, messages: Sequence[Message], end: Message) -> None:
        """One transaction of nftables; the first refusal is raised, and then nothing was changed.

        Only `end` asks for an ack: the kernel commits there, and reports every message that it refused before.
        """
        first = self._sequence + 1
        last = first + len(messages) + 1
        self._send([begin, *messages, Message(end.kind, end.flags | NLM_F_ACK, end.body)])
        while True:
            for kind, flags, sequence, body in self._receive():
                if kind == NLMSG_ERROR and first <= sequence <= last:
                    refusal = _refusal(flags, body)
                    if refusal is not None:
                        self._drain()
                        raise refusal
                    if sequence == last:
                        return

    @property
    def port(self) -> int:
        """Under which the kernel knows this socket; a notification carries that of whoever caused it."""
        return int(self.socket.getsockname()[0])

    def heard(self) -> Iterator[tuple[int, int, bytes]]:
        """For a socket with groups: type, port and body of what has arrived, without waiting.

        OSError ENOBUFS when something was missed.
        """
        while True:
            try:
                data = self.socket.recv(SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for kind, _, _, port, body in _split(data):
                yield kind, port, body

    def _send(self, messages: Sequence[Message]) -> None:
        parts = []
        for kind, flags, body in messages:
            self._sequence += 1
            length = HEADER.size + len(body)
            parts.append(HEADER.pack(length, kind, flags | NLM_F_REQUEST, self._sequence, 0) + body + bytes(-len(body) % 4))
        data = b"".join(parts)
        if len(data) > SEND_BUFFER // 64:
            # SO_SNDBUFFORCE: a big rule set is one datagram.
            self.socket.setsockopt(socket.SOL_SOCKET, 32, max(SEND_BUFFER, 2 * len(data)))
            self.socket.setsockopt(socket.SOL_SOCKET, 33, SEND_BUFFER)
        self.socket.send(data)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        for kind, flags, sequence, _, body in _split(self.socket.recv(SIZE)):
            yield kind, flags, sequence, body

    def _drain(self) -> None:
        for _ in self.heard():
            pass


def _split(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Type, flags, sequence, port, body."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            raise OSError(errno.EBADMSG, f"netlink: a message of {length} bytes at {offset} of {len(data)}")
        yield kind, flags, sequence, port, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _refusal(flags: int, body: bytes) -> OSError | None:
    code = -struct.unpack_from("=i", body)[0]
    if code == 0:
        return None
    words = os.strerror(code)
    if flags & NLM_F_ACK_TLVS:
        skip = 4 + HEADER.size
        if not flags & NLM_F_CAPPED:
            skip = 4 + ((struct.unpack_from("=I", body, 4)[0] + 3) & ~3)
        try:
            said = attribute.parse(body[skip:]).get(NLMSGERR_ATTR_MSG)
        except ValueError:
            said = None
        if said:
            words = f"{words}: {attribute.string(said)}"
    return OSError(code, f"netlink: {words}")
