"""Images between registries and clients that others wrote: the docker CLI, docker-py and our own CLI drive our engine, which
talks to our registry and to Debian's docker-registry; skopeo makes images and judges digests."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from tests import peers
from tests.engine.remote.faulty import tar_of
from tests.registry.house import Process
from tests.running import Daemon, until

from gorae.registry.auth import passwords

pytestmark = [pytest.mark.kernel, pytest.mark.peer]


class DebianRegistry:
    """Debian's docker-registry in a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        settings = folder / "debian.yml"
        storage = {"filesystem": {"rootdirectory": str(folder / "debian")}}
        settings.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": self.host}}))
        program = peers.need("docker-registry")
        self.process = subprocess.Popen(
            [program, "serve", str(settings)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers, "docker-registry answers")

    def _answers(self) -> bool:
        address, _, port = self.host.partition(":")
        try:
            socket.create_connection((address, int(port)), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> DebianRegistry:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(20)


@pytest.fixture(params=["ours", "Debian's"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with Process(str(tmp_path / "storage"), tmp_path) if request.param == "ours" else DebianRegistry(tmp_path) as registry:
        yield registry.host


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Any]:
    connected = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto")
    yield connected
    connected.close()


def skopeo(folder: Path, *words: str) -> str:
    policy = folder / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    done = subprocess.run(
        [peers.need("skopeo"), "--policy", str(policy), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest_there(folder: Path, name: str) -> str:
    return str(json.loads(skopeo(folder, "inspect", "--tls-verify=false", f"docker://{name}"))["Digest"])


def test_docker_cli(daemon: Daemon, host: str, tmp_path: Path) -> None:
    name = f"{host}/team/busybox:v1"
    daemon.docker("tag", "busybox", name)
    told = daemon.docker("push", name).stdout.decode()
    digest = digest_there(tmp_path, name)
    assert f"v1: digest: {digest} size:" in told
    again = daemon.docker("push", name).stdout.decode()
    assert "Layer already exists" in again
    assert digest in again
    daemon.docker("rmi", name)
    pulled = daemon.docker("pull", name).stdout.decode()
    assert f"Digest: {digest}" in pulled
    assert f"Status: Downloaded newer image for {name}" in pulled
    assert "Status: Image is up to date" in daemon.docker("pull", name).stdout.decode()
    shown = json.loads(daemon.docker("image", "inspect", name).stdout)[0]
    assert f"{host}/team/busybox@{digest}" in shown["RepoDigests"]
    daemon.docker("rmi", name)
    # run fetches what is missing
    assert daemon.docker("run", "--rm", "--network", "none", name, "echo", "hello").stdout == b"hello\n"
    by_digest = f"{host}/team/busybox@{digest}"
    daemon.docker("pull", "-q", by_digest)
    assert daemon.docker("run", "--rm", "--network", "none", by_digest, "echo", "hello").stdout == b"hello\n"
    for missing, words in ((f"{host}/team/busybox:no", b"manifest unknown"), (f"{host}/no:v1", b"not found")):
        done = daemon.docker("pull", missing, check=False)
        assert done.returncode == 1
        assert words in done.stderr
    daemon.docker("rmi", "-f", name, by_digest)


def test_docker_py(client: Any, host: str, tmp_path: Path) -> None:
    name = f"{host}/team/py"
    assert client.images.get("busybox").tag(name, "v1")
    lines = list(client.images.push(name, tag="v1", stream=True, decode=True))
    assert lines[-1]["aux"]["Digest"] == digest_there(tmp_path, f"{name}:v1")
    client.images.remove(f"{name}:v1")
    image = client.images.pull(name, tag="v1")
    assert f"{name}:v1" in image.tags
    assert client.images.get_registry_data(f"{name}:v1").id == lines[-1]["aux"]["Digest"]
    with pytest.raises(docker.errors.NotFound):
        client.images.pull(name, tag="none")
    client.images.remove(f"{name}:v1", force=True)


def test_our_cli(daemon: Daemon, host: str) -> None:
    name = f"{host}/ours:v1"
    daemon.gorae("tag", "busybox", name)
    told = daemon.gorae("push", name).stdout.decode()
    assert "v1: digest: sha256:" in told
    daemon.gorae("rmi", name)
    assert daemon.gorae("run", "--rm", "--pull", "never", name, "true", check=False).returncode == 125
    done = daemon.gorae("run", "--rm", "--network", "none", name, "echo", "hello")
    assert done.stdout == b"hello\n"
    assert f"Unable to find image '{name}' locally".encode() in done.stderr
    assert b"up to date" in daemon.gorae("run", "--rm", "--network", "none", "--pull", "always", name, "true").stderr
    assert daemon.gorae("pull", "-q", name).stdout.decode() == f"{name}\n"
    bare = daemon.gorae("run", "--rm", "nowhere", "true", check=False)
    assert bare.returncode == 125
    assert b"names no registry" in bare.stderr
    daemon.gorae("rmi", "-f", name)


@pytest.mark.parametrize("form", ["oci", "v2s2"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_images_of_skopeo(daemon: Daemon, host: str, tmp_path: Path, form: str, compression: str) -> None:
    if (form, compression) == ("v2s2", "zstd"):
        pytest.skip("Docker's schema 2 has no zstd")
    daemon.docker("import", "-", "unique", input=tar_of(unique=os.urandom(100_000)))
    (tmp_path / "image.tar").write_bytes(daemon.docker("save", "unique").stdout)
    daemon.docker("rmi", "unique")
    name = f"{host}/skopeo:v1"
    words = ["copy", "--dest-tls-verify=false", "--format", form, "--dest-compress-format", compression]
    skopeo(tmp_path, *words, f"docker-archive:{tmp_path}/image.tar", f"docker://{name}")
    daemon.docker("pull", name)
    digest = digest_there(tmp_path, name)
    assert f"{host}/skopeo@{digest}" in json.loads(daemon.docker("image", "inspect", name).stdout)[0]["RepoDigests"]
    # On to another repository: byte for byte the same.
    daemon.docker("tag", name, f"{host}/onward:v1")
    told = daemon.docker("push", f"{host}/onward:v1").stdout.decode()
    assert digest == digest_there(tmp_path, f"{host}/onward:v1")
    assert "Mounted from skopeo" in told
    daemon.docker("rmi", "-f", name, f"{host}/onward:v1")


def test_login(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "htpasswd").write_text(passwords.make("me", "word", 4))
    mine = {**daemon.environment, "DOCKER_CONFIG": str(tmp_path / "config")}
    monkeypatch.setattr(Daemon, "environment", property(lambda self: mine), raising=False)
    with Process(str(tmp_path / "storage"), tmp_path, "--htpasswd", str(tmp_path / "htpasswd")) as registry:
        name = f"{registry.host}/app:v1"
        daemon.docker("tag", "busybox", name)
        for tool in (daemon.docker, daemon.gorae):
            assert tool("push", name, check=False).returncode == 1
            login = ("login", "-u", "me", "--password-stdin", registry.host)
            assert tool(*login, input=b"wrong", check=False).returncode == 1
            assert b"Login Succeeded" in tool(*login, input=b"word").stdout
            tool("push", name)
            tool("pull", name)
            # What one has kept, the other finds.
            (daemon.gorae if tool is daemon.docker else daemon.docker)("pull", name)
            tool("logout", registry.host)
            denied = tool("pull", name, check=False)
            assert denied.returncode == 1
            assert b"pull access denied" in denied.stderr
        assert os.stat(tmp_path / "config" / "config.json").st_mode & 0o077 == 0
        # A helper, as a program of its own.
        helper = tmp_path / "bin" / "docker-credential-test"
        helper.parent.mkdir()
        answer = json.dumps({"Username": "me", "Secret": "word"})
        helper.write_text(f"#!/bin/sh\nread host\necho '{answer}'\necho \"$1 $host\" >> {tmp_path}/asked\n")
        helper.chmod(0o755)
        mine["PATH"] = f"{helper.parent}:{mine['PATH']}"
        (tmp_path / "config" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "test"}}))
        daemon.gorae("pull", name)
        assert (tmp_path / "asked").read_text() == f"get {registry.host}\n"
        given = base64.urlsafe_b64encode(json.dumps({"username": "me", "password": "word"}).encode()).decode()
        told = daemon.engine.call("GET", f"/distribution/{name}/json", headers={"X-Registry-Auth": given})
        assert told["Platforms"][0]["os"] == "linux"
        daemon.docker("rmi", "-f", name)
