"""TCP with mutual TLS: the stock CLI, ours, docker-py, and everybody who must not come in."""

from __future__ import annotations

import json
import os
import pty
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.tls import TLSConfig
from tests import peers
from tests.api.authority import Authority
from tests.daemon.test_process import Goraed
from tests.daemon.test_process import goraed as goraed
from tests.running import DOCKER

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

PATIENCE = 30.0

Done = subprocess.CompletedProcess[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Secured:
    def __init__(self, running: Goraed, folder: Path) -> None:
        self.running = running
        self.authority = Authority(folder / "authority")
        self.server = self.authority.issue("server", server=True)
        self.client = self.authority.issue("client")
        self.port = free_port()
        self.files = {
            "tlsverify": True,
            "tlscacert": str(self.server / "ca.pem"),
            "tlscert": str(self.server / "cert.pem"),
            "tlskey": str(self.server / "key.pem"),
        }
        hosts = [f"unix://{running.socket}", f"tcp://127.0.0.1:{self.port}"]
        running.config.write_text(json.dumps({"hosts": hosts, **self.files}))
        running.start()
        running.ready()

    def environment(self, certificates: Path) -> dict[str, str]:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        return plain | {
            "DOCKER_HOST": f"tcp://127.0.0.1:{self.port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(certificates),
            "DOCKER_CONFIG": str(self.authority.folder / "docker-config"),
        }

    def run(self, *words: str, certificates: Path | None = None, input: bytes | None = None) -> Done:
        chosen = self.environment(certificates or self.client)
        return subprocess.run(words, env=chosen, input=input or b"", capture_output=True, timeout=PATIENCE, check=False)

    def docker(self, *words: str, certificates: Path | None = None, input: bytes | None = None) -> Done:
        return self.run(peers.need(DOCKER, "docker.io"), *words, certificates=certificates, input=input)

    def gorae(self, *words: str, certificates: Path | None = None, input: bytes | None = None) -> Done:
        return self.run(sys.executable, "-I", "-m", "gorae.cli.main", *words, certificates=certificates, input=input)


@pytest.fixture
def secured(goraed: Goraed, tmp_path: Path) -> Iterator[Secured]:
    running = Secured(goraed, tmp_path)
    yield running
    done = running.docker("ps", "-aq")
    left = done.stdout.decode().split()
    if left:
        running.docker("rm", "-f", *left)
    assert not left


@pytest.mark.parametrize("cli", ["docker", "gorae"])
def test_streams_over_tls(secured: Secured, cli: str) -> None:
    """Attach with a half-close: what the program says after the end of its input arrives, all of it."""
    client = getattr(secured, cli)
    data = os.urandom(2 << 20)
    done = client("run", "--rm", "-i", "--network", "none", "host", "sh", "-c", "cat; echo last; echo err >&2; exit 3", input=data)
    assert done.returncode == 3, done.stderr
    assert done.stdout == data + b"last\n"
    assert done.stderr == b"err\n"
    done = client("run", "-d", "--name", f"long-{cli}", "--network", "none", "host", "sleep", "1000")
    assert done.returncode == 0, done.stderr
    try:
        done = client("exec", "-i", f"long-{cli}", "sh", "-c", "sort; echo end", input=b"b\na\n")
        assert (done.returncode, done.stdout) == (0, b"a\nb\nend\n"), done.stderr
        assert client("exec", f"long-{cli}", "sh", "-c", "exit 7").returncode == 7
        assert client("logs", f"long-{cli}").returncode == 0
    finally:
        assert client("rm", "-f", f"long-{cli}").returncode == 0


@pytest.mark.parametrize("cli", ["docker", "gorae"])
def test_a_terminal_over_tls(secured: Secured, cli: str) -> None:
    program = [peers.need(DOCKER, "docker.io")] if cli == "docker" else [sys.executable, "-I", "-m", "gorae.cli.main"]
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*program, "run", "--rm", "-it", "--network", "none", "host", "sh", "-c", "read line; echo got:$line; tty"],
            env=secured.environment(secured.client), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        os.write(ours, b"word\n")
        seen = b""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                data = os.read(ours, 4096)
            except OSError:  # EIO: nobody has the other end open any more
                break
            seen += data
        assert process.wait(PATIENCE) == 0
        assert b"got:word" in seen
        assert b"/dev/pts/0" in seen or b"/dev/console" in seen
    finally:
        os.close(ours)


def test_docker_py_over_tls(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers these to what docker-py says
        monkeypatch.delenv(name, raising=False)
    files = secured.client
    tls = TLSConfig(client_cert=(str(files / "cert.pem"), str(files / "key.pem")), ca_cert=str(files / "ca.pem"), verify=True)
    client = docker.DockerClient(base_url=f"tcp://127.0.0.1:{secured.port}", tls=tls, version="auto")
    try:
        assert client.containers.run("host", ["echo", "hello"], network_mode="none", remove=True) == b"hello\n"
    finally:
        client.close()


def test_who_is_refused(secured: Secured, tmp_path: Path) -> None:
    """A certificate of another authority, an expired one, a server's, none at all; and plain HTTP."""
    other = Authority(tmp_path / "other")
    stranger = other.issue("client")
    (stranger / "ca.pem").write_bytes(secured.authority.certificate.read_bytes())  # it trusts the server
    expired = secured.authority.issue("expired", expired=True)
    server = secured.authority.issue("second-server", server=True)
    none = tmp_path / "none"
    none.mkdir()
    (none / "ca.pem").write_bytes(secured.authority.certificate.read_bytes())
    for refused in (stranger, expired, server, none):
        for client in (secured.docker, secured.gorae):
            if refused is none and client is not secured.gorae:
                continue  # the stock client insists on having one
            done = client("ps", certificates=refused)
            assert done.returncode != 0, refused
            assert b"CONTAINER" not in done.stdout
            assert b"Traceback" not in done.stderr
    assert ask(secured, None, secured.authority) == b""
    # And the other way round: a client that does not know the server's authority.
    wrong = secured.authority.issue("wrong")
    (wrong / "ca.pem").write_bytes(other.certificate.read_bytes())
    for client in (secured.docker, secured.gorae):
        done = client("ps", certificates=wrong)
        assert done.returncode != 0
        assert b"certificate" in done.stderr
    with socket.create_connection(("127.0.0.1", secured.port), PATIENCE) as plain:
        plain.sendall(b"GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            assert b"HTTP" not in plain.recv(1000)
        except ConnectionResetError:
            pass
    assert ask(secured, secured.client, secured.authority).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(secured: Secured, version: ssl.TLSVersion) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        with pytest.raises(ssl.SSLError):
            ask(secured, secured.client, secured.authority, version, level=0)
    assert ask(secured, secured.client, secured.authority, ssl.TLSVersion.TLSv1_2).startswith(b"HTTP/1.1 200")


def ask(
    secured: Secured, files: Path | None, authority: Authority, version: ssl.TLSVersion | None = None, level: int | None = None
) -> bytes:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if files is not None:
        context.load_cert_chain(files / "cert.pem", files / "key.pem")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if level is not None:
        context.set_ciphers(f"ALL:@SECLEVEL={level}")
    with socket.create_connection(("127.0.0.1", secured.port), PATIENCE) as link:
        with context.wrap_socket(link, server_hostname="localhost") as inside:
            try:
                inside.sendall(b"GET /_ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return inside.recv(1000)
            except (ssl.SSLError, ConnectionError):
                return b""


def test_what_is_not_mutual_tls_must_be_spelled_out(goraed: Goraed, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    server = authority.issue("server", server=True)
    files = ("--tlscert", str(server / "cert.pem"), "--tlskey", str(server / "key.pem"))
    port = free_port()
    host = ("--host", f"tcp://127.0.0.1:{port}", "--host", f"unix://{goraed.socket}")
    assert "spell out --insecure" in goraed.refused(*host)
    assert "spell out --insecure" in goraed.refused(*host, "--tls", *files)
    assert not goraed.data_root.exists()
    for more in (("--insecure",), ("--insecure", "--tls", *files)):
        process = goraed.start(*host, *more)
        goraed.ready()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as link:
            if "--tls" in more:
                link = ssl.create_default_context(cafile=str(authority.certificate)).wrap_socket(link, server_hostname="localhost")
            link.sendall(b"GET /_ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert link.recv(1000).startswith(b"HTTP/1.1 200")
            link.close()
        process.terminate()
        said = process.communicate(timeout=PATIENCE)[1]
        assert "INSECURE" in said
        assert "ROOT ON THIS MACHINE" in said


@pytest.mark.parametrize("key", ["tlscacert", "tlscert", "tlskey"])
def test_files_that_cannot_be_used_are_named(goraed: Goraed, tmp_path: Path, key: str) -> None:
    authority = Authority(tmp_path / "authority")
    server = authority.issue("server", server=True)
    files = {"tlscacert": server / "ca.pem", "tlscert": server / "cert.pem", "tlskey": server / "key.pem"}
    host = ("--host", f"tcp://127.0.0.1:{free_port()}", "--tlsverify")

    def words() -> list[str]:
        return [word for name, path in files.items() for word in (f"--{name}", str(path))]

    kept, files[key] = files[key], tmp_path / "nowhere"
    assert f"{key}: cannot read {tmp_path}/nowhere" in goraed.refused(*host, *words())
    files[key].write_text("nonsense")
    assert "nowhere" in goraed.refused(*host, *words())
    files[key] = kept
    (server / "key.pem").chmod(0o666)
    assert "chmod 0400" in goraed.refused(*host, *words())
    assert not goraed.data_root.exists()
