"""One HTTP connection against a peer that the test plays, byte for byte."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorae.client.endpoint import Endpoint, find, parse
from gorae.client.engine import Engine, quote
from gorae.client.http import Connection
from gorae.client.session import join
from gorae.errors import Conflict, CorruptData, GoraeError, InvalidArgument, NotFound, NotModified, Unavailable, Unsupported
from gorae.wire.stdcopy import frame


class Peer:
    """A server that answers each connection with the next of its scripts, and keeps what it received."""

    def __init__(self, path: Path) -> None:
        self.endpoint = Endpoint(socket_path=str(path))
        self.received: list[bytes] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.threads: list[threading.Thread] = []

    def answer(self, *answers: bytes) -> None:
        """One connection: an answer for each request that arrives on it, then its end."""

        def serve() -> None:
            link, _ = self.listener.accept()
            with link:
                for answer in answers:
                    self.received.append(link.recv(65536))
                    link.sendall(answer)

        self.threads.append(threading.Thread(target=serve, daemon=True))
        self.threads[-1].start()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    played = Peer(tmp_path / "s")
    yield played
    played.listener.close()
    for thread in played.threads:
        thread.join(5)


def ok(body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


PING = ok(b"", "Api-Version: 1.41\r\n")


def test_bodies_of_every_framing(peer: Peer) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nab\nc\r\n2\r\ncd\r\n0\r\n\r\n"
    peer.answer(ok(b"first"), chunked, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nto the end")
    with Connection(peer.endpoint) as connection:
        assert connection.request("GET", "/a").read() == b"first"
        assert list(connection.request("GET", "/b").lines()) == [b"ab", b"ccd"]
        assert connection.request("POST", "/c", body=b"x").read() == b""
        assert connection.request("GET", "/d").read() == b"to the end"
    assert peer.received[2].endswith(b"Content-Length: 1\r\n\r\nx")


def test_a_body_from_an_iterator_is_chunked(peer: Peer) -> None:
    peer.answer(ok(b""))
    with Connection(peer.endpoint) as connection:
        connection.request("POST", "/load", body=iter([b"abc", b"", b"de"])).read()
    assert b"Transfer-Encoding: chunked" in peer.received[0]


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_another_protocol_is_told(peer: Peer, answer: bytes) -> None:
    peer.answer(answer)
    with Connection(peer.endpoint) as connection, pytest.raises(CorruptData, match="does not speak HTTP"):
        connection.request("GET", "/")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nConte", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
def test_a_peer_that_goes_away_is_told(peer: Peer, answer: bytes) -> None:
    peer.answer(answer)
    with Connection(peer.endpoint) as connection, pytest.raises(Unavailable, match="closed the connection"):
        connection.request("GET", "/").read()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Cannot connect to the Docker daemon at unix://"):
        Connection(Endpoint(socket_path=str(tmp_path / "nothing")))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidArgument),
        (404, NotFound),
        (409, Conflict),
        (304, NotModified),
        (500, GoraeError),
        (501, Unsupported),
        (503, Unavailable),
    ],
)
def test_statuses_become_errors_with_the_engine_s_words(peer: Peer, status: int, error: type[Exception]) -> None:
    body = b"" if status == 304 else b'{"message":"its words"}'
    peer.answer(PING, f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    with Engine(peer.endpoint) as engine, pytest.raises(error, match="its words" if body else "the engine answered 304"):
        engine.act("x", "start")


def test_the_lower_version_is_spoken_and_names_are_quoted(peer: Peer) -> None:
    peer.answer(PING, ok(b"[]"), ok(b"{}"))
    with Engine(peer.endpoint) as engine:
        assert engine.version == "1.41"
        engine.containers({"all": True, "limit": None, "filters": {"label": ["a=b c"]}})
        engine.inspect("ä?/x")
    assert peer.received[1].startswith(
        b"GET /v1.41/containers/json?all=1&filters=%7B%22label%22:%20%5B%22a%3Db%20c%22%5D%7D HTTP/1.1"
    )
    assert peer.received[2].startswith(b"GET /v1.41/containers/%C3%A4%3F/x/json HTTP/1.1")


def test_quoting_leaves_nothing_that_ends_a_line() -> None:
    assert quote("a\r\nHost: x y") == "a%0D%0AHost:%20x%20y"


def test_join_moves_both_ways_without_deadlock(peer: Peer) -> None:
    """More than any socket buffer goes in while the peer echoes it all: stdin waits for stdout, not for ever."""
    payload = os.urandom(3 << 20)

    def echo() -> None:
        link, _ = peer.listener.accept()
        with link:
            link.recv(65536)
            link.sendall(PING)
            upgraded, _ = peer.listener.accept()
            with upgraded:
                upgraded.recv(65536)
                upgraded.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + frame(2, b"first"))
                while data := upgraded.recv(65536):
                    upgraded.sendall(frame(1, data))

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    stdin, feed = os.pipe()
    received, stdout = os.pipe()
    errors, stderr = os.pipe()
    feeder = threading.Thread(target=lambda: (write_all(feed, payload), os.close(feed)), daemon=True)
    collected = bytearray()
    collector = threading.Thread(target=lambda: collected.extend(read_all(received)), daemon=True)
    feeder.start()
    collector.start()
    with Engine(peer.endpoint) as engine:
        engine.ping()
        join(engine.attach("x", {"stream": True}), stdin=stdin, stdout=stdout, stderr=stderr, framed=True)
    os.close(stdout)
    collector.join(10)
    assert bytes(collected) == payload
    assert os.read(errors, 100) == b"first"
    for descriptor in (stdin, received, errors, stderr):
        os.close(descriptor)
    feeder.join(5)
    thread.join(5)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_all(descriptor: int) -> bytes:
    parts = []
    while data := os.read(descriptor, 65536):
        parts.append(data)
    return b"".join(parts)


def test_endpoints(tmp_path: Path) -> None:
    assert find("", {"DOCKER_CONFIG": str(tmp_path)}) == Endpoint(socket_path="/run/gorae/docker.sock", chosen=False)
    assert find("unix:///x", {}) == Endpoint(socket_path="/x")
    assert find("", {"DOCKER_HOST": "tcp://h:1"}) == Endpoint(host="h", port=1)
    assert parse("tcp://[::1]:2376").host == "::1"
    for wrong in ("unix://x", "tcp://h", "h"):
        with pytest.raises(InvalidArgument):
            parse(wrong)
    with pytest.raises(Unsupported, match="ssh"):
        parse("ssh://h")


def test_contexts(tmp_path: Path) -> None:
    from hashlib import sha256

    folder = tmp_path / "contexts" / "meta" / sha256(b"mine").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text('{"Name": "mine", "Endpoints": {"docker": {"Host": "unix:///mine"}}}')
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    assert find("", {"DOCKER_CONFIG": str(tmp_path)}) == Endpoint(socket_path="/mine")
    assert find("", {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "default"}).chosen is False
    with pytest.raises(InvalidArgument, match="context 'other' does not exist"):
        find("", {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "other"})
    (tmp_path / "config.json").write_text("not json")
    with pytest.raises(InvalidArgument, match="cannot read"):
        find("", {"DOCKER_CONFIG": str(tmp_path)})
