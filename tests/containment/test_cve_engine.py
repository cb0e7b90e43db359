"""Known flaws of engines, image stores and their tools, as far as ours has the part in question (docs/security.md, 22 to 70)."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import re
import socket
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gorae
from gorae.errors import GoraeError, InvalidArgument
from gorae.oci import digest, manifest
from tests.containment import inside
from tests.containment.traps import image
from tests.running import Daemon
from tests.storage.tars import directory, hardlink, member, symlink, tar

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

SOURCE = Path(gorae.__file__).parent


@pytest.fixture(autouse=True)
def no_image_stays(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.docker("rmi", "-f", "hostile", check=False)


def output(daemon: Daemon, *words: str) -> str:
    return daemon.docker(*words).stdout.decode().strip()


def created(daemon: Daemon, **wish: Any) -> str:
    """Its id; the caller removes it."""
    identity: str = daemon.engine.create({"Image": "busybox", "Cmd": ["true"], **wish})["Id"]
    return identity


def refuses(daemon: Daemon, **wish: Any) -> str:
    """The words with which create refuses."""
    with pytest.raises(InvalidArgument) as caught:
        daemon.engine.remove(created(daemon, **wish))
    return str(caught.value)


def loadable(config: dict[str, Any], layer: bytes = b"", **more: Any) -> bytes:
    """A docker-save archive of one image."""
    layer = layer or tar(directory("etc"))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created_by": "test"}],
        **config,
    }
    data = json.dumps(config).encode()
    name = f"{hashlib.sha256(data).hexdigest()}.json"
    index = [{"Config": name, "RepoTags": ["hostile:latest"], "Layers": ["layer.tar"], **more}]
    return tar(member(name, data), member("layer.tar", layer), member("manifest.json", json.dumps(index).encode()))


def test_cve_2014_6407_and_9356_archives_stay_inside(daemon: Daemon, canary: Path) -> None:
    """Through the API; tests/storage/test_unpack.py has 38 more."""
    for members in (
        [member("../" * 20 + str(canary)[1:] + "/escaped", b"x")],
        [symlink("l", str(canary)), member("l/escaped", b"x")],
        [symlink("l", f"{canary}/file"), hardlink("h", "l"), member("h", b"overwritten", mode=0o777)],
    ):
        daemon.docker("import", "-", "hostile", input=tar(*members), check=False)


@pytest.mark.parametrize("identity", ["..%2f..%2fetc", "../../etc", "%00", "a%0ab", "sha256:..", ".", "x" * 300])
def test_cve_2014_9356_an_id_is_no_path(daemon: Daemon, identity: str) -> None:
    for target in (f"/containers/{identity}/json", f"/images/{identity}/json", f"/exec/{identity}/json"):
        with pytest.raises(GoraeError) as caught:
            daemon.engine.call("GET", target)
        assert "unexpected" not in str(caught.value)


def test_cve_2014_9357_nothing_is_executed_to_decompress() -> None:
    """The archive room starts workers of our own Python, in these modules, and no program of anybody else's."""
    starters = {"Popen", "system", "execv", "posix_spawn", "create_subprocess_exec", "create_subprocess_shell"}
    found = {
        path.name
        for path in SOURCE.glob("storage/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in starters
    }
    assert found <= {"unpack.py", "worker.py", "visit.py"}
    for path in SOURCE.glob("storage/archive/**/*.py"):
        for word in ('"xz"', '"gzip"', '"unpigz"', '"zstd"', '"tar"', "shell=True"):
            assert f"[{word}" not in path.read_text()


def test_cve_2014_3499_the_socket_is_for_root_and_one_group(daemon: Daemon) -> None:
    status = daemon.socket.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o660, 0)


def test_cve_2014_6408_an_image_decides_nothing_about_its_confinement(daemon: Daemon) -> None:
    config = {
        "config": {
            "Cmd": ["true"],
            "Privileged": True,
            "HostConfig": {"Privileged": True, "CapAdd": ["ALL"]},
            "SecurityOpt": ["seccomp=unconfined"],
            "Labels": {"io.gorae.privileged": "true", "com.docker.security.unconfined": "true"},
        },
        "HostConfig": {"Privileged": True, "PidMode": "host", "Binds": ["/:/host"]},
    }
    daemon.docker("load", input=loadable(config))
    identity = created(daemon, Image="hostile")
    try:
        described = daemon.engine.inspect(identity)
    finally:
        daemon.engine.remove(identity)
    host = described["HostConfig"]
    assert (host["Privileged"], host["PidMode"], host["CapAdd"], host["SecurityOpt"], host["Binds"], described["Mounts"]) == (
        *(False, "", None, None, None, []),
    )


def test_cve_2017_14992_and_2023_25153_documents_have_a_size(daemon: Daemon) -> None:
    big = "x" * (9 << 20)
    done = daemon.docker("load", input=loadable({"config": {"Labels": {"a": big}}}), check=False)
    assert done.returncode != 0
    assert b"unexpected" not in done.stderr
    with pytest.raises(InvalidArgument):
        manifest.decode(json.dumps({"schemaVersion": 2, "annotations": {"a": big}}).encode())


def test_cve_2019_13509_no_secret_in_a_log(daemon: Daemon) -> None:
    secret = "c0rrecthorsebattery"
    with pytest.raises(GoraeError):
        created(daemon, Env=[f"PASSWORD={secret}", "=broken"])
    done = daemon.docker("run", "--rm", "-e", f"PASSWORD={secret}", "busybox", "nonsense", check=False)
    assert done.returncode == 127
    assert secret.encode() not in done.stderr
    for log in (daemon.log, *daemon.exec_root.rglob("*.log")):
        assert secret.encode() not in log.read_bytes()


def test_cve_2020_15257_sockets_have_a_place_and_an_owner(daemon: Daemon) -> None:
    """None is abstract, and but for the API's none can be reached by others."""
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        name = line.split()[-1]
        if str(daemon.exec_root) in name:
            assert not name.startswith("@")
    for path in daemon.exec_root.rglob("*"):
        if path.is_socket() and path != daemon.socket:
            above = [each for each in path.parents if daemon.exec_root in each.parents]
            assert any(stat.S_IMODE(each.stat().st_mode) & 0o077 == 0 for each in above)


@pytest.mark.parametrize(
    "name",
    [
        *("kernel.core_pattern", "kernel.hostname", "vm.overcommit_memory", "fs.file-max"),
        "kernel.shm_rmid_forced+kernel.core_pattern",
        *("net.ipv4.ip_forward+kernel.core_pattern", "net/../kernel/core_pattern", "net..kernel", "kernel.msgmax/../core_pattern"),
        *("user.max_user_namespaces", ""),
    ],
)  # fmt: skip
def test_cve_2022_0811_sysctls_are_refused_when_asked_for(daemon: Daemon, name: str) -> None:
    refuses(daemon, HostConfig={"Sysctls": {name: "1"}})


def test_cve_2022_0811_sysctls_need_a_namespace(daemon: Daemon) -> None:
    assert "host net" in refuses(daemon, HostConfig={"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"})
    assert "host ipc" in refuses(daemon, HostConfig={"Sysctls": {"kernel.msgmax": "1"}, "IpcMode": "host"})
    refuses(daemon, HostConfig={"Sysctls": {"net.ipv4.ip_forward": "1\nkernel.core_pattern=x"}})


@pytest.mark.parametrize(
    "data", [b"", b"garbage", bytes(10240), tar(member("manifest.json", b"[{}]")), tar(member("manifest.json", b"[[[["))]
)
def test_cve_2021_21285_malformed_archives_are_the_clients_fault(daemon: Daemon, data: bytes) -> None:
    done = daemon.docker("load", input=data, check=False)
    assert b"unexpected" not in done.stderr + done.stdout
    daemon.engine.ping()


def test_cve_2021_41089_and_32760_no_mode_through_a_link(daemon: Daemon, canary: Path) -> None:
    for members in (
        [symlink("l", f"{canary}/file"), hardlink("h", "l", mode=0o777)],
        [symlink("d", str(canary)), directory("d", mode=0o777, uid=99)],
        [symlink("d", str(canary)), directory("d/", mode=0o777)],
    ):
        daemon.docker("import", "-", "hostile", input=tar(*members), check=False)


def test_cve_2021_41091_and_2024_25621_the_data_root_is_private(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.data_root.stat().st_mode) == 0o710
    for name in ("containers", "snapshots"):
        assert stat.S_IMODE((daemon.data_root / name).stat().st_mode) == 0o700, name
    listing = subprocess.run(["ls", str(daemon.data_root)], user=65534, group=65534, capture_output=True, check=False)
    assert listing.returncode != 0


def test_cve_2021_41190_a_document_is_one_thing() -> None:
    descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 2}
    both = {"schemaVersion": 2, "config": descriptor, "layers": [], "manifests": []}
    with pytest.raises(InvalidArgument):
        manifest.decode(json.dumps(both).encode())
    one = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": descriptor, "layers": []}
    with pytest.raises(InvalidArgument):
        manifest.decode(json.dumps(one).encode(), "application/vnd.oci.image.index.v1+json")


def test_cve_2022_23648_a_volume_is_no_way_out(daemon: Daemon, canary: Path) -> None:
    daemon.docker("import", "--change", "VOLUME /vol", "-", "hostile", input=image(symlink("vol", str(canary))))
    done = daemon.docker("run", "--rm", *inside.USR, "hostile", "ls", "/vol/", check=False)
    assert b"file" not in done.stdout


def test_cve_2022_36109_supplementary_groups(daemon: Daemon) -> None:
    assert output(daemon, "run", "--rm", "-u", "1000", "busybox", "id", "-G").split() == ["1000", "2000"]
    assert output(daemon, "run", "--rm", "-u", "1234:77", "--group-add", "5", "busybox", "id", "-G").split() == ["77", "5"]
    assert output(daemon, "run", "--rm", "-u", "4444", "busybox", "grep", "Groups", "/proc/self/status").split() == ["Groups:", "0"]


@pytest.mark.parametrize(
    "wish",
    [
        {"Env": ["A\nB=c"]},
        {"Env": ["A\0=c"]},
        {"User": "root\nx"},
        {"User": "root\0"},
        {"Hostname": "a\nb"},
        {"HostConfig": {"ExtraHosts": ["a\n1.2.3.4 b:1.2.3.4"]}},
        {"HostConfig": {"ExtraHosts": ["a:1.2.3.4\nb"]}},
        {"Domainname": "a\nb"},
        {"HostConfig": {"DnsSearch": ["a\nnameserver 1.2.3.4"]}},
    ],
)  # fmt: skip
def test_cve_2022_4318_no_line_is_smuggled_in(daemon: Daemon, wish: dict[str, Any]) -> None:
    refuses(daemon, **wish)


def test_cve_2022_4318_a_home_with_a_line_end_is_left_out(daemon: Daemon) -> None:
    container = output(daemon, "run", "-d", "-e", "HOME=/x\nroot2:x:0:0::/:/bin/sh", "busybox", "sleep", "100")
    try:
        assert "root2" not in output(daemon, "exec", container, "cat", "/etc/passwd")
    finally:
        daemon.docker("rm", "-f", container)


def test_cve_2022_1227_top_runs_nothing_of_the_container(daemon: Daemon, tmp_path: Path) -> None:
    trap = member("bin/ps", b"#!/bin/sh\ntouch /pwned\n", mode=0o755)
    daemon.docker("import", "-", "hostile", input=tar(*(entry for entry in inside.skeleton() if entry[0].name != "bin"), trap))
    container = output(daemon, "run", "-d", *inside.USR, "hostile", "/usr/bin/sleep", "1000")
    try:
        assert "sleep 1000" in output(daemon, "top", container)
        assert daemon.docker("exec", container, "/usr/bin/ls", "/pwned", check=False).returncode != 0
    finally:
        daemon.docker("rm", "-f", container)


def test_cve_2023_6476_and_2025_47291_it_is_in_its_own_cgroups(daemon: Daemon) -> None:
    container = output(daemon, "run", "-d", "busybox", "sleep", "1000")
    try:
        pid = daemon.engine.inspect(container)["State"]["Pid"]
        paths = {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}
        assert paths == {f"{daemon.cgroup_parent}/{container}"}
    finally:
        daemon.docker("rm", "-f", container)


@pytest.mark.parametrize(
    "user",
    [
        *("+0", "-0", "-1", "2147483648", "4294967296", "4294967295", "0x0", "00000000000000000000", "1e3", "٠", "0 ", "1:2:3"),
    ],
)  # fmt: skip
def test_cve_2024_40635_user_strings(daemon: Daemon, user: str) -> None:
    """dockerd makes root of "+0"."""
    done = daemon.docker("run", "--rm", "-u", user, "busybox", "id", "-u", check=False)
    assert done.returncode in (125, 126), done


@pytest.mark.parametrize(
    "text",
    [
        *("sha256:../../etc/passwd", "sha256:" + "0" * 63, "sha256:" + "G" * 64, "md5:" + "0" * 32, ""),
        "sha256:" + "0" * 64 + "\n",
    ],
)  # fmt: skip
def test_cve_2024_3727_a_digest_is_a_digest(text: str) -> None:
    with pytest.raises(InvalidArgument):
        digest.Digest(text)


def test_cve_2024_5154_the_log_is_where_we_want_it(daemon: Daemon) -> None:
    identity = created(daemon, Hostname="a", Labels={"log": "../../../tmp/x"})
    try:
        path = daemon.engine.inspect(identity)["LogPath"]
    finally:
        daemon.engine.remove(identity)
    assert not path or re.fullmatch(re.escape(str(daemon.data_root)) + rf"/containers/{identity}/[a-z0-9.\-]+", path)


def test_cve_2025_9074_the_api_listens_on_one_socket(daemon: Daemon) -> None:
    assert daemon.process
    pids = (daemon.process.pid, daemon.supervisor_pid())
    own = set()
    for pid in pids:
        for each in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                own.add(os.readlink(f"/proc/{pid}/fd/{each}"))
    for table in ("tcp", "tcp6", "udp", "udp6"):
        inodes = {f"socket:[{line.split()[9]}]" for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]}
        assert not own & inodes


def test_cve_2026_47262_a_group_file_is_read_to_a_bound(daemon: Daemon) -> None:
    lines = b"".join(b"g%d:x:%d:user\n" % (number, 5000 + number) for number in range(30_000))
    daemon.docker("import", "-", "hostile", input=image(member("etc/group", lines, mode=0o644)))
    done = daemon.docker("run", "--rm", *inside.USR, "-u", "user", "hostile", "true", check=False)
    assert done.returncode in (0, 125)
    assert b"unexpected" not in done.stderr


def test_cve_2026_53488_labels_of_an_image_are_only_labels(daemon: Daemon) -> None:
    labels = {"log-driver": "binary:///bin/sh", "containerd.io/runtime": "x", "com.docker.compose.project": "victim"}
    daemon.docker("load", input=loadable({"config": {"Cmd": ["true"], "Labels": labels}}))
    identity = created(daemon, Image="hostile")
    try:
        described = daemon.engine.inspect(identity)
    finally:
        daemon.engine.remove(identity)
    assert described["HostConfig"]["LogConfig"]["Type"] in ("local", "json-file")
    assert described["Config"]["Labels"] == labels


def test_cve_2026_55686_the_working_directory_is_made_inside(daemon: Daemon, canary: Path) -> None:
    daemon.docker("import", "--change", "WORKDIR /lnk/made/deep", "-", "hostile", input=image(symlink("lnk", str(canary))))
    assert output(daemon, "run", "--rm", *inside.USR, "hostile", "pwd") == f"{canary}/made/deep"


def test_cve_2021_3602_the_daemons_environment_reaches_nobody(daemon: Daemon) -> None:
    words = output(daemon, "run", "--rm", "busybox", "env").splitlines()
    assert {word.partition("=")[0] for word in words} - {"SHLVL", "PWD"} == {"PATH", "HOSTNAME", "HOME"}
    pid = daemon.supervisor_pid()
    names = {word.partition("=")[0] for word in Path(f"/proc/{pid}/environ").read_text().split("\0") if word}
    assert names <= {"PATH", "LANG", "HOME", "LC_CTYPE", "LC_ALL", "TZ"}, names


def test_the_tar_that_hides_a_second_one(daemon: Daemon) -> None:
    """A pax header of a million digits took Python's own reader for ever; ours refuses at once (1.3)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "1" * 1_500_000}
        archive.addfile(info)
    done = daemon.docker("import", "-", "hostile", input=out.getvalue(), check=False, timeout=10)
    assert b"unexpected" not in done.stderr


def test_no_socket_of_the_engine_is_inherited(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(str(daemon.socket))
    assert output(daemon, "run", "--rm", "busybox", "sh", "-c", "ls -l /proc/1/fd | grep -c socket; true") == "0"
