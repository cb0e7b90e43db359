"""Files into and out of containers: the docker CLI, docker-py and our own CLI as judges, and containers that fight back."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from tests import peers
from tests.running import Daemon

pytestmark = [pytest.mark.kernel, pytest.mark.peer]


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[Any]:
    connected = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto")
    yield connected
    connected.close()


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, client: Any) -> Iterator[Any]:
    made = client.containers.create("busybox", ["sleep", "1000"], network_mode="none")
    if request.param == "running":
        made.start()
    yield made
    made.remove(force=True)


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            peers.add_file(tar, name, content, 0o644)
    return buffer.getvalue()


def untarred(chunks: Any) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {member.name: member for member in tar}


# docker-py


def test_an_archive_goes_in_and_comes_out(container: Any) -> None:
    assert container.put_archive("/root", tar_of(a=b"A" * 200_000, b=b"B"))
    chunks, found = container.get_archive("/root")
    assert (found["name"], found["linkTarget"], found["mode"] >> 31) == ("root", "", 1)
    content = b"".join(chunks)
    assert set(untarred([content])) == {"root", "root/a", "root/b"}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.extractfile("root/a").read() == b"A" * 200_000  # type: ignore[union-attr]
    assert set(untarred(container.get_archive("/root/.")[0])) == {".", "./a", "./b"}


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_compressed_archives_are_taken(container: Any, compression: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:
        peers.add_file(tar, "file", b"content", 0o600)
    assert container.put_archive("/tmp", buffer.getvalue())
    assert untarred(container.get_archive("/tmp/file")[0])["file"].mode == 0o600


def test_a_link_is_told_with_its_end(container: Any) -> None:
    chunks, found = container.get_archive("/bin/sh")
    assert untarred(chunks)["sh"].linkname == "busybox"
    assert (found["linkTarget"], found["mode"] & 1 << 27) == ("/bin/busybox", 1 << 27)


def test_what_is_not_there(container: Any) -> None:
    with pytest.raises(docker.errors.NotFound, match="Could not find the file /nowhere in container"):
        container.get_archive("/nowhere")
    with pytest.raises(docker.errors.NotFound, match="Could not find the file"):
        container.put_archive("/nowhere", tar_of(a=b""))
    with pytest.raises(docker.errors.APIError, match="extraction point is not a directory"):
        container.put_archive("/etc/passwd", tar_of(a=b""))
    with pytest.raises(docker.errors.APIError) as refused:
        container.put_archive("/tmp", b"this is no archive" * 100)
    assert refused.value.status_code == 400


def test_the_directory_copied_into_stays_as_it_is(container: Any) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        root = tarfile.TarInfo(".")
        root.type, root.mode, root.uid = tarfile.DIRTYPE, 0o700, 4000
        tar.addfile(root)
        peers.add_file(tar, "./x", b"", 0o644)
    assert container.put_archive("/tmp", buffer.getvalue())
    found = untarred(container.get_archive("/tmp")[0])["tmp"]
    assert (found.mode, found.uid) == (0o1777, 0)


def test_a_directory_and_a_file_do_not_replace_each_other(container: Any, client: Any) -> None:
    url = client.api._url("/containers/{0}/archive", container.id)
    answer = client.api.put(url, params={"path": "/", "noOverwriteDirNonDir": "true"}, data=tar_of(tmp=b"a file"))
    assert (answer.status_code, "cannot overwrite directory" in answer.text) == (400, True)


def test_the_owner_is_the_containers_user(client: Any) -> None:
    made = client.containers.create("busybox", ["true"], network_mode="none", user="user")
    try:
        url = client.api._url("/containers/{0}/archive", made.id)
        assert client.api.put(url, params={"path": "/home", "copyUIDGID": "true"}, data=tar_of(file=b"")).status_code == 200
        member = untarred(made.get_archive("/home/file")[0])["file"]
        assert (member.uid, member.gid) == (1000, 1000)
    finally:
        made.remove(force=True)


def test_volumes_tmpfs_and_read_only(client: Any, tmp_path: Path) -> None:
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    binds = [f"{tmp_path}/rw:/rw", f"{tmp_path}/ro:/ro:ro"]
    options = {"network_mode": "none", "volumes": binds, "read_only": True, "tmpfs": {"/t": ""}}
    made = client.containers.create("busybox", ["sleep", "100"], **options)
    try:
        for start in (False, True):
            if start:
                made.start()
                assert made.put_archive("/t", tar_of(a=b"in a tmpfs"))
                assert made.exec_run("cat /t/a").output == b"in a tmpfs"
            assert made.put_archive("/rw", tar_of(a=str(start).encode()))
            assert (tmp_path / "rw/a").read_text() == str(start)
            for path in ("/ro", "/tmp"):
                with pytest.raises(docker.errors.APIError, match="read-only") as refused:
                    made.put_archive(path, tar_of(a=b""))
                assert refused.value.status_code == 403
        assert list((tmp_path / "ro").iterdir()) == []
    finally:
        made.remove(force=True)


# Hostile: security.md rows 26, 27, 43, 63


def test_members_that_lead_out_are_refused(container: Any, tmp_path: Path) -> None:
    for name in ("../../../../../../tmp/escaped", "a/../../../../escaped"):
        with pytest.raises(docker.errors.APIError, match="leads out"):
            container.put_archive("/root", tar_of(**{name: b"x"}))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        peers.add_file(tar, "link/escaped", b"x", 0o644)
    container.put_archive("/root", buffer.getvalue())  # the link's end is made inside, where the container would see it
    assert list(tmp_path.iterdir()) == []
    assert untarred(container.get_archive(f"{tmp_path}/escaped")[0])["escaped"].size == 1


def test_links_of_the_container_lead_inside(container: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        targets = {"absolute": str(tmp_path), "relative": "../../../../../../../.." + str(tmp_path), "file": str(secret)}
        for name, target in targets.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    container.put_archive("/root", buffer.getvalue())
    for path in ("/root/absolute/secret", "/root/relative/secret", "/root/file/"):
        with pytest.raises(docker.errors.NotFound):
            container.get_archive(path)
    for path in ("/root/absolute", "/root/relative"):
        with pytest.raises(docker.errors.APIError):
            container.put_archive(path, tar_of(escaped=b"x"))
    assert sorted(tmp_path.iterdir()) == [secret]


def test_links_swapped_during_a_copy(client: Any, tmp_path: Path) -> None:
    """CVE-2018-15664: what is a directory when it is looked at is a link to the machine's when it is used."""
    target = tmp_path / "machine"
    target.mkdir()
    (target / "secret").write_text("of the machine")
    swap = f"mv /w/dir /w/stash/d; ln -s {target} /w/dir; rm /w/dir; mv /w/stash/d /w/dir"
    script = f"mkdir -p /w/dir /w/stash; while :; do {swap}; done"
    made = client.containers.run("busybox", ["sh", "-c", script], network_mode="none", detach=True)
    wrong: list[object] = []

    def copy() -> None:
        for _ in range(25):
            try:
                made.put_archive("/w/dir", tar_of(planted=b"x"))
                found = untarred(made.get_archive("/w/dir/secret")[0])
                wrong.append(found)
            except docker.errors.APIError:
                pass

    try:
        threads = [threading.Thread(target=copy) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        made.remove(force=True)
    assert wrong == []
    assert [path.name for path in target.iterdir()] == ["secret"]


def test_no_program_or_library_of_the_container_runs(client: Any, tmp_path: Path) -> None:
    """CVE-2026-41567, CVE-2019-14271: decompressors, tar, shells, Python and name service modules, all planted."""
    made = client.containers.run("busybox", ["sleep", "100"], network_mode="none", detach=True, volumes=[f"{tmp_path}:/proof"])
    try:
        script = b"#!/bin/sh\necho $0 >> /proof/ran\n"
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in ("tar", "gzip", "unpigz", "pigz", "xz", "unxz", "bzip2", "zstd", "python3"):
                for directory in ("usr/bin", "bin", "usr/local/bin", "sbin"):
                    peers.add_file(tar, f"{directory}/{name}", script, 0o755)
            for name in ("lib/x86_64-linux-gnu/libnss_files.so.2", "lib/libnss_files.so.2", "etc/ld.so.preload"):
                peers.add_file(tar, name, b"not a library", 0o755)
            peers.add_file(tar, "encodings/__init__.py", b"open('/proof/ran', 'w')\n", 0o644)
        made.put_archive("/", buffer.getvalue())
        for mode in ("gz", "xz", "bz2"):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode=f"w:{mode}") as tar:
                peers.add_file(tar, "file", b"content", 0o644)
            made.put_archive("/root", packed.getvalue())
        untarred(made.get_archive("/root/file")[0])
        made.export()
        made.diff()
        assert made.top()["Processes"]
        assert list(tmp_path.iterdir()) == []
    finally:
        made.remove(force=True)


def test_a_device_of_the_tree_is_a_device_and_is_not_opened(client: Any) -> None:
    made = client.containers.run("busybox", ["sleep", "100"], network_mode="none", detach=True)
    try:
        assert made.exec_run("mknod /root/disk b 8 0").exit_code == 0
        assert made.exec_run("sh -c 'mkdir /root/f && mknod /root/f/p p'").exit_code == 0
        found = untarred(made.get_archive("/root")[0])
        assert found["root/disk"].isblk()
        assert found["root/f/p"].isfifo()
        # Nor are the kernel's own tables told as files.
        everything = untarred(made.get_archive("/")[0])
        assert {name for name in everything if name.startswith(("/proc/", "/sys/", "/dev/"))} == set()
    finally:
        made.remove(force=True)


# The command lines


@pytest.mark.parametrize("program", ["docker", "gorae"])
@pytest.mark.parametrize("container", ["running", "stopped"], indirect=True)
def test_the_rules_of_cp(daemon: Daemon, container: Any, program: str, tmp_path: Path) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    name = container.name
    (tmp_path / "f").write_text("hello\n")
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/x").write_text("x")
    (tmp_path / "d/l").symlink_to("e/x")

    run("cp", f"{tmp_path}/f", f"{name}:/root/new")  # a file under a new name
    run("cp", f"{tmp_path}/f", f"{name}:/root")  # into a directory
    run("cp", f"{tmp_path}/f", f"{name}:/root/new")  # over a file
    run("cp", f"{tmp_path}/d", f"{name}:/root/made")  # a directory under a new name
    run("cp", f"{tmp_path}/d", f"{name}:/root")  # into a directory
    run("cp", f"{tmp_path}/d/.", f"{name}:/root/made")  # only what is in it
    found = untarred(container.get_archive("/root/.")[0])
    assert set(found) == {
        ".", "./new", "./f", "./made", "./made/e", "./made/e/x", "./made/l", "./d", "./d/e", "./d/e/x", "./d/l"
    }  # fmt: skip
    assert found["./d/l"].linkname == "e/x"

    out = tmp_path / "out"
    out.mkdir()
    run("cp", f"{name}:/root/new", f"{out}/file")
    run("cp", f"{name}:/root/d", f"{out}/dir")
    run("cp", f"{name}:/root/d", str(out))
    run("cp", f"{name}:/root/d/.", f"{out}/file2")
    run("cp", "-L", f"{name}:/root/d/l", f"{out}/followed")
    run("cp", f"{name}:/root/d/l", f"{out}/link")
    assert (out / "file").read_text() == "hello\n"
    assert (out / "dir/e/x").read_text() == (out / "d/e/x").read_text() == (out / "file2/e/x").read_text() == "x"
    assert (out / "followed").read_text() == "x"
    assert os.readlink(out / "link") == "e/x"

    assert untarred([run("cp", f"{name}:/root/f", "-").stdout])["f"].size == 6
    run("cp", "-", f"{name}:/home", input=tar_of(**{"from/stdin": b"1"}))
    assert untarred(container.get_archive("/home/from")[0])["from/stdin"].size == 1

    for words in (
        (f"{tmp_path}/d", f"{name}:/root/f"),
        (f"{tmp_path}/f", f"{name}:/root/no/"),
        (f"{name}:/root/d", f"{out}/file"),
        (f"{name}:/nowhere", str(out)),
        (f"{tmp_path}/nowhere", f"{name}:/root"),
    ):
        assert run("cp", *words, check=False).returncode == 1, words


@pytest.mark.parametrize("program", ["docker", "gorae"])
def test_diff_export_and_commit(daemon: Daemon, client: Any, program: str, tmp_path: Path) -> None:
    run = daemon.docker if program == "docker" else daemon.gorae
    script = "echo new > /etc/new; rm /etc/group; echo x >> /etc/passwd; rm -r /home; mkdir /home; touch /home/here; sleep 1000"
    made = client.containers.run("busybox", ["sh", "-c", script], network_mode="none", detach=True, environment={"OLD": "1"})
    try:
        made.exec_run("sh -c 'until test -e /home/here; do usleep 1000; done'")
        told = run("diff", made.name).stdout.decode().splitlines()
        assert {"C /etc", "A /etc/new", "D /etc/group", "C /etc/passwd", "A /home/here"} <= set(told)
        assert not any("hosts" in line or "resolv" in line or "/proc" in line or "/dev" in line for line in told)

        run("export", "-o", f"{tmp_path}/tar", made.name)
        with tarfile.open(tmp_path / "tar") as tar:
            names = {member.name.removeprefix("./").rstrip("/") for member in tar}
        assert {"etc/new", "home/here", "bin/busybox"} <= names
        assert "etc/group" not in names

        identity = run("commit", "-m", "why", "-a", "me", "-c", "ENV A=b", "-c", 'CMD ["cat", "/etc/new"]', made.name, "kept:1")
        assert client.containers.get(made.id).status == "running"
        image = client.images.get("kept:1")
        assert identity.stdout.decode().strip() == image.id
        assert {"OLD=1", "A=b"} <= set(image.attrs["Config"]["Env"])
        assert image.history()[0]["Comment"] == "why"
        assert len(image.attrs["RootFS"]["Layers"]) == 2
        assert client.containers.run("kept:1", network_mode="none", remove=True) == b"new\n"
        gone = client.containers.run("kept:1", ["sh", "-c", "ls /home; ls /etc/group"], network_mode="none", detach=True)
        assert gone.wait()["StatusCode"] == 1
        assert b"here" in gone.logs()
        gone.remove()
    finally:
        made.remove(force=True)
        daemon.docker("rmi", "-f", "kept:1", check=False)


def test_a_container_of_this_machine_cannot_be_committed(daemon: Daemon, client: Any) -> None:
    made = client.containers.run("host", ["sh", "-c", "echo > /root/mine; exec sleep 100"], network_mode="none", detach=True)
    try:
        made.exec_run(["sh", "-c", "until test -e /root/mine; do :; done"])
        assert {change["Path"] for change in made.diff()} == {"/root", "/root/mine"}
        done = daemon.docker("commit", made.name, "x:1", check=False)
        assert (done.returncode, b"export it and import that" in done.stderr) == (1, True)
    finally:
        made.remove(force=True)


def test_our_cp_is_not_led_astray_by_what_lies_there(daemon: Daemon, client: Any, tmp_path: Path) -> None:
    """The other direction: a link here, where the archive wants a directory, is not followed."""
    made = client.containers.create("busybox", ["true"], network_mode="none")
    try:
        made.put_archive("/root", tar_of(**{"d/f": b"x"}))
        (tmp_path / "elsewhere").mkdir()
        out = tmp_path / "out"
        out.mkdir()
        (out / "d").symlink_to(tmp_path / "elsewhere")
        assert daemon.gorae("cp", f"{made.name}:/root/.", str(out), check=False).returncode == 1
        assert list((tmp_path / "elsewhere").iterdir()) == []
        assert stat.S_ISLNK((out / "d").lstat().st_mode)
    finally:
        made.remove(force=True)
