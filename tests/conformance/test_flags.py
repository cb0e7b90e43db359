"""Flags of run, seen from inside or felt: the docker CLI and our own side by side."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import census
from tests.running import Daemon

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

Run = Callable[..., str]


@pytest.fixture(params=["docker", "gorae"])
def run(request: pytest.FixtureRequest, daemon: Daemon) -> Run:
    program = daemon.docker if request.param == "docker" else daemon.gorae

    def go(*words: str, check: bool = True) -> str:
        done = program("run", "--rm", "--network", "none", *words, check=check)
        return (done.stdout + (b"" if check else done.stderr)).decode().strip()

    return go


def root_disk() -> str:
    """The block device of /, or nothing where it is none."""
    device = os.stat("/").st_dev
    path = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    return f"/dev/{Path(path).resolve().name}" if os.path.exists(path) else ""


def test_disk_rates_are_held(run: Run, tmp_path: Path) -> None:
    disk = root_disk()
    if not disk or os.stat(tmp_path).st_dev != os.stat("/").st_dev:
        pytest.skip("the test's files are on no block device of their own")
    write = "dd if=/dev/zero of=/v/file bs=256k count=8 conv=fsync 2>/dev/null; sync"
    bind = ("-v", f"{tmp_path}:/v")
    began = time.monotonic()
    run(*bind, "--device-write-bps", f"{disk}:1mb", "busybox", "sh", "-c", write.replace("conv=fsync", "oflag=direct"))
    assert time.monotonic() - began > 0.9
    (tmp_path / "file").unlink()


def test_a_device_and_what_may_be_done_with_it(run: Run) -> None:
    device = next((path for path in ("/dev/net/tun", "/dev/fuse", "/dev/loop-control") if os.path.exists(path)), "")
    if device:
        script = "(: < /dev/mine) && echo readable; (: >> /dev/mine) && echo writable"
        assert run("--device", f"{device}:/dev/mine:r", "busybox", "sh", "-c", script, check=False).split("\n")[0] == "readable"
        assert "writable" not in run("--device", f"{device}:/dev/mine:r", "busybox", "sh", "-c", script, check=False)
        assert run("--device", f"{device}:/dev/mine", "busybox", "sh", "-c", script).split() == ["readable", "writable"]
    made = "mknod /n c 10 200; cat /n"  # tun: any node may be made, few may be opened
    assert "not permitted" in run("busybox", "sh", "-c", made, check=False)
    assert "not permitted" not in run("--device-cgroup-rule", "c 10:200 rwm", "busybox", "sh", "-c", made, check=False)


def test_limits_of_a_process(run: Run) -> None:
    assert run("--ulimit", "nofile=100:200", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn").split() == ["100", "200"]
    assert run("--ulimit", "fsize=4096", "busybox", "sh", "-c", "(yes > /big) 2>/dev/null; stat -c %s /big") == "4096"
    assert run("--ulimit", "core=0", "busybox", "sh", "-c", "ulimit -c") == "0"


def test_the_kernels_parameters(run: Run) -> None:
    assert run("--sysctl", "kernel.msgmax=4000", "busybox", "cat", "/proc/sys/kernel/msgmax") == "4000"
    refused = run("--sysctl", "kernel.panic=1", "busybox", "true", check=False)
    assert "not allowed" in refused or "not whitelisted" in refused


def test_memory_that_is_shared(run: Run) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1k count=2000 2>/dev/null; stat -c %s /dev/shm/x"
    assert int(run("--shm-size", "1m", "busybox", "sh", "-c", fill)) == 1 << 20


def test_names_of_the_network(run: Run) -> None:
    flags = ("--add-host", "db:10.0.0.9", "--dns", "10.0.0.1", "--dns-search", "example.test", "--dns-option", "ndots:3")
    lines = run(*flags, "busybox", "cat", "/etc/hosts", "/etc/resolv.conf").splitlines()
    assert "10.0.0.9\tdb" in lines
    assert {"nameserver 10.0.0.1", "search example.test", "options ndots:3"} <= set(lines)
    files = ("/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname")
    shown = run("--hostname", "whale", "--domainname", "sea", "busybox", "cat", *files)
    assert shown.split() == ["whale", "sea"]


@pytest.mark.parametrize(
    ("flag", "kind"), [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")]
)
def test_namespaces_of_the_host(run: Run, flag: str, kind: str) -> None:
    here = os.readlink(f"/proc/self/ns/{kind}")
    assert run(f"{flag}=host", "busybox", "readlink", f"/proc/self/ns/{kind}") == here
    assert run("busybox", "readlink", f"/proc/self/ns/{kind}") != here


def test_groups_users_and_files_of_variables(run: Run, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# a comment\nA=1\nFROM=file\n")
    (tmp_path / "labels").write_text("one=1\n")
    files = ("--env-file", f"{tmp_path}/env", "--label-file", f"{tmp_path}/labels", "--cidfile", f"{tmp_path}/cid")
    output = run(*files, "-e", "A=2", "--group-add", "extra", "-u", "user", "busybox", "sh", "-c", "echo $A $FROM; id -G")
    assert output.split() == ["2", "file", "1000", "2000"]
    assert len((tmp_path / "cid").read_text().strip()) == 64
    again = run(*files, "busybox", "true", check=False).lower()
    assert "container id file" in again or "cidfile" in again


def test_cpus(run: Run) -> None:
    assert run("--cpuset-cpus", "0", "busybox", "grep", "Cpus_allowed_list", "/proc/self/status").split()[1] == "0"
    assert "not available" in run("--cpuset-cpus", "4000", "busybox", "true", check=False)


def test_a_cgroup_of_ones_choice(daemon: Daemon) -> None:
    parent = f"{daemon.cgroup_parent}-other"
    words = ("--network", "none", "--cgroup-parent", parent, "busybox", "sleep", "100")
    identity = daemon.docker("run", "-d", *words).stdout.decode().strip()
    try:
        pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", identity).stdout.decode().strip()
        assert f"{parent}/{identity}" in Path(f"/proc/{pid}/cgroup").read_text()
        done = daemon.docker("create", "--cgroup-parent", "/a/../b", "busybox", check=False)
        assert b"invalid cgroup parent" in done.stderr
    finally:
        daemon.docker("rm", "-f", identity)
        # The parent is the user's: it stays when its containers are gone, and is empty.
        for hierarchy in {line.split()[4] for line in census.mounts() if " - cgroup" in line}:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(f"{hierarchy}{parent}")


def test_an_image_for_another_machine(daemon: Daemon) -> None:
    done = daemon.docker("create", "--pull", "never", "--platform", "linux/s390x", "busybox", check=False)
    assert b"does not provide the specified platform" in done.stderr
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    identity = daemon.docker("create", "--pull", "never", "--platform", f"linux/{machine}", "busybox").stdout.decode().strip()
    daemon.docker("rm", identity)


def test_templates_of_both_say_the_same(daemon: Daemon) -> None:
    words = ("--network", "none", "-l", "a=1", "-v", "/tmp:/t:ro", "busybox", "x", "y")
    identity = daemon.docker("create", *words).stdout.decode().strip()
    try:
        for form in (
            "{{range .Mounts}}{{.Source}}:{{.Destination}} {{.RW}}{{end}}",
            "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}} {{json .Args}}",
            "{{if .State.Running}}up{{else}}down{{end}} {{len .Args}} {{printf \"%s-%d\" .Path .State.ExitCode}}",
            "{{with .HostConfig}}{{.NetworkMode}}{{end}} {{index .Args 0}} {{.Config.Labels}}",
            "{{(index .Mounts 0).Type | upper}} {{eq .State.Status \"created\" \"exited\"}} {{.Args}}",
        ):
            theirs = daemon.docker("inspect", "-f", form, identity).stdout
            assert daemon.gorae("inspect", "-f", form, identity).stdout == theirs
    finally:
        daemon.docker("rm", identity)
