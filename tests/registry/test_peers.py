"""Clients that others wrote, pushing to us and pulling from us; the digests stay the same, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.engines import Dockerd
from tests import peers
from tests.registry.house import Process, descriptor, digest_of, encode
from tests.running import DOCKER

from gorae.oci import media_type
from gorae.registry.auth import keys, passwords

pytestmark = pytest.mark.peer

POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


@pytest.fixture(params=["directory", "s3"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    if request.param == "s3":
        storage, environment = f"s3://images/{tmp_path.name}", request.getfixturevalue("s3")
    else:
        storage, environment = str(tmp_path / "storage"), {}
    with Process(storage, tmp_path, environment=environment) as process:
        yield process


def run(*words: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "REGISTRY_AUTH_FILE": str(folder / "auth.json")}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL
    )
    assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with one image of two layers under the name `x`."""
    import gzip
    import io

    folder = tmp_path / "layout"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def keep(data: bytes) -> None:
        (blobs / digest_of(data)[7:]).write_bytes(data)

    layers, diffs = [], []
    for number in range(2):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            peers.add_file(tar, f"file{number}", bytes([number]) * 200_000, 0o644)
        diffs.append(digest_of(buffer.getvalue()))
        layers.append(gzip.compress(buffer.getvalue(), mtime=0))
    config = encode({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}})
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": media_type.OCI_MANIFEST,
            "config": descriptor(config, media_type.OCI_CONFIG),
            "layers": [descriptor(each, media_type.OCI_LAYER_GZIP) for each in layers],
        }
    )
    for data in (config, manifest, *layers):
        keep(data)
    named = descriptor(manifest, media_type.OCI_MANIFEST) | {"annotations": {"org.opencontainers.image.ref.name": "x"}}
    (folder / "index.json").write_bytes(encode({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "policy.json").write_text(POLICY)
    (tmp_path / "auth.json").write_text("{}")
    return folder


def image_digest(layout: Path) -> str:
    return str(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])


def blobs_of(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs" / "sha256").iterdir()}


def test_skopeo(registry: Process, layout: Path, tmp_path: Path) -> None:
    skopeo = [peers.need("skopeo"), "--policy", str(tmp_path / "policy.json")]
    place = f"docker://{registry.host}/team/app"
    run(*skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"{place}:v1", folder=tmp_path)
    told: dict[str, Any] = json.loads(run(*skopeo, "inspect", "--tls-verify=false", f"{place}:v1", folder=tmp_path).stdout)
    assert told["Digest"] == image_digest(layout)
    assert told["RepoTags"] == ["v1"]
    run(*skopeo, "copy", "--src-tls-verify=false", f"{place}:v1", f"oci:{tmp_path}/back:x", folder=tmp_path)
    assert blobs_of(tmp_path / "back") == blobs_of(layout)
    # From one repository to another: its blobs are mounted.
    other = f"docker://{registry.host}/other/app:v1"
    run(*skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"{place}:v1", other, folder=tmp_path)
    run(*skopeo, "copy", "--dest-tls-verify=false", "--format", "v2s2", f"oci:{layout}:x", f"{place}:docker", folder=tmp_path)
    raw = json.loads(run(*skopeo, "inspect", "--raw", "--tls-verify=false", f"{place}:docker", folder=tmp_path).stdout)
    assert raw["mediaType"] == media_type.DOCKER_MANIFEST
    listed = json.loads(run(*skopeo, "list-tags", "--tls-verify=false", place, folder=tmp_path).stdout)
    assert listed["Tags"] == ["docker", "v1"]
    run(*skopeo, "delete", "--tls-verify=false", f"{place}:docker", folder=tmp_path)
    assert run(*skopeo, "inspect", "--tls-verify=false", f"{place}:docker", folder=tmp_path, check=False).returncode != 0


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_skopeo_logs_in(tmp_path: Path, layout: Path, kind: str) -> None:
    skopeo = [peers.need("skopeo"), "--policy", str(tmp_path / "policy.json")]
    (tmp_path / "htpasswd").write_text(passwords.make("me", "word", 4))
    words = ["--htpasswd", str(tmp_path / "htpasswd")]
    if kind == "token":
        keys.make(str(tmp_path / "key"))
        words += ["--token-key", str(tmp_path / "key")]
    with Process(str(tmp_path / "storage"), tmp_path, *words) as process:
        place = f"docker://{process.host}/team/app:v1"
        copy = [*skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:x", place]
        assert run(*copy, folder=tmp_path, check=False).returncode != 0
        assert run(
            *skopeo, "login", "--tls-verify=false", "-u", "me", "-p", "wrong", process.host, folder=tmp_path, check=False
        ).returncode
        run(*skopeo, "login", "--tls-verify=false", "-u", "me", "-p", "word", process.host, folder=tmp_path)
        run(*copy, folder=tmp_path)
        told = json.loads(run(*skopeo, "inspect", "--tls-verify=false", place, folder=tmp_path).stdout)
        assert told["Digest"] == image_digest(layout)


def test_skopeo_over_tls(tmp_path: Path, layout: Path, certificate: tuple[str, str]) -> None:
    skopeo = [peers.need("skopeo"), "--policy", str(tmp_path / "policy.json")]
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_bytes(Path(certificate[0]).read_bytes())
    with Process(str(tmp_path / "storage"), tmp_path, "--tls-cert", certificate[0], "--tls-key", certificate[1]) as process:
        place = f"docker://{process.host}/team/app:v1"
        run(*skopeo, "copy", f"--dest-cert-dir={certs}", f"oci:{layout}:x", place, folder=tmp_path)
        run(*skopeo, "copy", f"--src-cert-dir={certs}", place, f"oci:{tmp_path}/back:x", folder=tmp_path)
        assert blobs_of(tmp_path / "back") == blobs_of(layout)


def test_podman_and_buildah(tmp_path: Path, layout: Path) -> None:
    policy = ["--signature-policy", str(tmp_path / "policy.json")]
    # podman wants a runroot of at most 50 letters.
    with Process(str(tmp_path / "storage"), tmp_path) as process, tempfile.TemporaryDirectory(prefix="peers-") as short:
        store = ["--root", str(tmp_path / "root"), "--runroot", f"{short}/run", "--storage-driver", "vfs"]
        buildah = [peers.need("buildah"), *store]
        podman = [peers.need("podman"), *store, "--cgroup-manager", "cgroupfs", "--tmpdir", f"{short}/tmp"]
        place = f"{process.host}/team/app"
        run(*buildah, "pull", *policy, f"oci:{layout}:x", folder=tmp_path)
        identifier = run(*buildah, "images", "-q", folder=tmp_path).stdout.split()[0]
        run(*buildah, "push", *policy, "--tls-verify=false", identifier, f"docker://{place}:buildah", folder=tmp_path)
        run(*podman, "push", *policy, "--tls-verify=false", identifier, f"docker://{place}:podman", folder=tmp_path)
        run(*buildah, "rmi", "-a", "-f", folder=tmp_path)
        for client, tag in ((podman, "buildah"), (buildah, "podman")):
            run(*client, "pull", *policy, "--tls-verify=false", f"{place}:{tag}", folder=tmp_path)
            assert identifier in run(*client, "images", "-q", "--no-trunc", folder=tmp_path).stdout


def test_dockerd(tmp_path: Path) -> None:
    peers.need("dockerd", "docker.io")
    dockerd = Dockerd(tmp_path)
    dockerd.start()
    environment = {**os.environ, "DOCKER_HOST": f"unix://{dockerd.run}/docker.sock", "DOCKER_CONFIG": str(tmp_path / "config")}

    def docker(*words: str, given: bytes = b"") -> str:
        done = subprocess.run([DOCKER, *words], env=environment, input=given, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr!r}"
        return done.stdout.decode()

    try:
        with Process(str(tmp_path / "storage"), tmp_path) as process:
            place = f"{process.host}/team/box:1"
            identifier = docker("import", "-", place, given=peers.busybox_tar()).strip()
            docker("push", place)
            assert "Layer already exists" in docker("push", place)
            docker("rmi", place)
            docker("pull", place)
            assert docker("inspect", "-f", "{{.Id}}", place).strip() == identifier
    finally:
        dockerd.close()


def test_against_dockers_registry(tmp_path: Path, layout: Path) -> None:
    """The same image through Debian's docker-registry and through us in front of it: one digest."""
    import socket
    import time

    skopeo = [peers.need("skopeo"), "--policy", str(tmp_path / "policy.json")]
    program = peers.need("docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "config.yml").write_text(
        json.dumps(
            {
                "version": "0.1",
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "theirs")}},
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    log = (tmp_path / "theirs.log").open("wb")
    process = subprocess.Popen([program, "serve", str(tmp_path / "config.yml")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        run(
            *skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://127.0.0.1:{port}/team/app:v1", folder=tmp_path
        )
        with Process(str(tmp_path / "ours"), tmp_path, "--upstream", f"theirs=http://127.0.0.1:{port}") as ours:
            place = f"docker://{ours.host}/theirs/team/app:v1"
            run(*skopeo, "copy", "--src-tls-verify=false", place, f"oci:{tmp_path}/back:x", folder=tmp_path)
            assert image_digest(tmp_path / "back") == image_digest(layout)
            assert blobs_of(tmp_path / "back") == blobs_of(layout)
    finally:
        process.terminate()
        process.wait(20)
        log.close()
