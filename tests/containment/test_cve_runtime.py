"""The known ways out of runc, crun and their like, tried on ours: one test each, named after its id (docs/security.md, 1 to 21)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import GoraeError
from gorae.linux import capability
from gorae.netlink import attribute
from gorae.oci import runtimespec
from gorae.runtime import birth
from tests import census
from tests.containment import filters, inside, races, watcher
from tests.containment.traps import image, trap
from tests.running import Daemon
from tests.runtime import stage
from tests.runtime.test_namespaces import mapped, shift
from tests.storage.tars import directory, member, symlink

pytestmark = [pytest.mark.kernel, pytest.mark.peer]


ON_WHAT = "import os; print(bool(os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY))"


@pytest.fixture(autouse=True)
def no_image_stays(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.docker("rmi", "-f", "hostile", check=False)


def output(daemon: Daemon, *words: str) -> str:
    return daemon.docker(*words).stdout.decode().strip()


def hostile(daemon: Daemon, *members: Any) -> None:
    daemon.docker("import", "-", "hostile", input=image(*members))


def run_hostile(daemon: Daemon, *flags: str, command: tuple[str, ...] = ("echo", "fine")) -> subprocess.CompletedProcess[bytes]:
    return daemon.docker("run", "--rm", *inside.USR, *flags, "hostile", *command, check=False)


def refused(done: subprocess.CompletedProcess[bytes], words: str) -> bool:
    return done.returncode in (125, 126, 127) and words.encode() in done.stderr and b"unexpected" not in done.stderr


@pytest.fixture
def sleeper(daemon: Daemon) -> Iterator[str]:
    container = output(daemon, "run", "-d", "busybox", "sleep", "1000")
    yield container
    daemon.docker("rm", "-f", container)


def test_cve_2016_3697_a_number_is_a_number_first(daemon: Daemon, sleeper: str) -> None:
    """The image has a user called 4242, who is root."""
    assert output(daemon, "run", "--rm", "-u", "4242", "busybox", "id", "-u") == "4242"
    assert output(daemon, "exec", "-u", "4242", sleeper, "id", "-u") == "4242"


@pytest.mark.parametrize("flags", [(), ("--cap-add", "SYS_PTRACE")], ids=["default", "may trace"])
def test_cve_2016_9962_an_exec_shows_nothing_of_the_machine(daemon: Daemon, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Nor does it to who may look into every process it sees."""
    secret = tmp_path / "secret"
    secret.write_text("the machine's")
    with watcher.watching(daemon, str(secret), *flags) as container:
        for _ in range(15):
            daemon.docker("exec", container, "true")
        found = watcher.found(daemon, container)
    assert not [each for each in found if each[0] == "root"]
    inside_it = {"/", "/null", "/dev/null", "/etc/passwd", "/etc/group", "pipe", "socket", "anon_inode", ""}
    assert {rest for word, rest in found if word == "fd" and not rest.startswith("/usr/")} <= inside_it
    # LANG is all that the supervisor has.
    assert {rest for word, rest in found if word == "environ"} <= {"PATH", "HOSTNAME", "HOME", "LANG", ""}


def test_cve_2016_8867_users_have_no_capabilities(daemon: Daemon, sleeper: str) -> None:
    words = ("grep", "-E", "Cap(Inh|Prm|Eff|Amb)", "/proc/self/status")
    for answer in (
        output(daemon, "run", "--rm", "-u", "1000", "busybox", *words),
        output(daemon, "run", "--rm", "-u", "1000", "--cap-add", "SYS_ADMIN", "busybox", *words),
        output(daemon, "exec", "-u", "1000", sleeper, *words),
    ):
        assert [int(line.split()[1], 16) for line in answer.splitlines()] == [0, 0, 0, 0]


@pytest.mark.parametrize("flags", [(), ("--cap-add", "SYS_PTRACE")], ids=["default", "may trace"])
def test_cve_2019_5736_the_interpreter_cannot_be_written(daemon: Daemon, flags: tuple[str, ...]) -> None:
    """Through /proc/PID/exe, which is the machine's Python for a moment."""
    before = os.stat(os.path.realpath(inside.PYTHON))
    with watcher.watching(daemon, "/etc/hostname", *flags) as container:
        for _ in range(15):
            daemon.docker("exec", container, "true")
        found = watcher.found(daemon, container)
    assert not [each for each in found if each[0] == "write"]
    after = os.stat(os.path.realpath(inside.PYTHON))
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("program", ["/proc/self/exe", "/trap", "/link"])
def test_cve_2019_5736_a_program_that_is_proc_self_exe(daemon: Daemon, program: str) -> None:
    """That is the machine's Python, then: it may run with the image's libraries, but nobody can write it."""
    hostile(daemon, member("trap", b"#!/proc/self/exe\n" + ON_WHAT.encode(), mode=0o755), symlink("link", "/proc/self/exe"))
    for flags in ((), ("--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined")):
        done = run_hostile(daemon, *flags, command=(program, "-I", "-S", "-c", ON_WHAT))
        assert done.returncode in (126, 127) or done.stdout == b"True\n", done


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/proc/self/attr", "/proc/1/attr", "/pr", "/pr/sys"])
def test_cve_2019_16884_nothing_is_mounted_over_proc(daemon: Daemon, canary: Path, target: str) -> None:
    hostile(daemon, symlink("pr", "proc"))
    for flags in (("-v", f"{canary}:{target}"), ("--tmpfs", target)):
        assert refused(run_hostile(daemon, *flags), "inside /proc")


def test_cve_2019_19921_a_shared_volume_for_proc(daemon: Daemon, tmp_path: Path) -> None:
    """Neither as a volume at /proc nor by a link from /proc into one."""
    shared = tmp_path / "shared"
    (shared / "proc").mkdir(parents=True)
    assert refused(daemon.docker("run", "--rm", "-v", f"{shared}:/proc", "busybox", "true", check=False), "/proc")
    hostile(daemon, symlink("proc", "shared/proc"))
    assert refused(run_hostile(daemon, "-v", f"{shared}:/shared"), "not a link")
    assert list((shared / "proc").iterdir()) == []


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_cve_2021_30465_a_mount_point_swapped_for_a_link(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    result = races.race(daemon.engine, kind, tmp_path, 25)
    assert result.escapes == []
    assert result.outcomes["started"] > 0


def test_cve_2021_43784_no_netlink_length_wraps() -> None:
    for size in (0, 1, 3, 4, attribute.LONGEST):
        assert list(attribute.each(attribute.attribute(1, b"x" * size))) == [(1, b"x" * size)]
    for size in (attribute.LONGEST + 1, 1 << 16, (1 << 16) + 8):
        with pytest.raises(OverflowError):
            attribute.attribute(1, b"x" * size)


@pytest.mark.parametrize("flags", [(), ("--cap-add", "ALL"), ("--privileged",), ("-u", "1000"), ("--cap-drop", "ALL")])
def test_cve_2022_29162_no_capability_is_inheritable(daemon: Daemon, flags: tuple[str, ...]) -> None:
    container = output(daemon, "run", "-d", *flags, "busybox", "sleep", "1000")
    try:
        for words in (("exec", container), ("exec", "--privileged", container)):
            for who in ("self", "1"):
                assert "CapInh:\t0000000000000000" in output(daemon, *words, "cat", f"/proc/{who}/status")
    finally:
        daemon.docker("rm", "-f", container)


def test_cve_2023_25809_control_groups_are_read_only(daemon: Daemon, tmp_path: Path) -> None:
    """Also where the cgroup namespace is the machine's, and in a user namespace."""
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo made $d; done; echo end"
    for flags in ((), ("--cgroupns", "host")):
        assert output(daemon, "run", "--rm", *flags, "busybox", "sh", "-c", script) == "end"
    rootfs = stage.make_rootfs(tmp_path / "rootfs")
    shift(rootfs)
    document = mapped(stage.config(rootfs, "sh", "-c", script))
    document["linux"]["namespaces"].remove({"type": "cgroup"})
    context = birth.Context("mapped", cgroup=f"/gorae-test-{os.getpid()}-mapped", cgroup_layout=stage.layout())
    assert stage.run(document, context).lines == ["end"]


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_cve_2023_27561_and_28642_proc_and_sys_are_no_links(daemon: Daemon, canary: Path, name: str) -> None:
    for target in ("/inside", str(canary)):
        hostile(daemon, directory("inside"), symlink(name, target))
        assert refused(run_hostile(daemon), "not a link")


@pytest.mark.parametrize("number", range(3, 13))
def test_cve_2024_21626_no_descriptor_is_a_way_out(daemon: Daemon, sleeper: str, number: int) -> None:
    machine = os.stat("/")
    for where in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
        for words in (("run", "--rm", "-w", where, "busybox"), ("exec", "-w", where, sleeper)):
            done = daemon.docker(*words, "stat", "-c", "%d:%i", "/proc/self/cwd/../../../../../..", check=False)
            assert done.stdout.decode().strip() != f"{machine.st_dev}:{machine.st_ino}"


@pytest.mark.parametrize("flags", [("-v", "/var/tmp:/lnk/sub"), ("-w", "/lnk/sub"), ("--tmpfs", "/lnk/a/b"), ("-w", "/up/wd")])
def test_cve_2024_45310_directories_are_made_inside(daemon: Daemon, canary: Path, flags: tuple[str, ...]) -> None:
    hostile(daemon, symlink("lnk", str(canary)), symlink("up", "../" * 20 + str(canary)[1:]))
    done = run_hostile(daemon, *flags)
    assert done.stdout == b"fine\n", done


def test_cve_2025_31133_masks_are_the_machines_null_device(daemon: Daemon, canary: Path) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for target in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", str(canary / "file")):
        hostile(daemon, symlink("dev/null", target), directory("dev"))
        done = run_hostile(daemon, command=("stat", "-c", "%t:%T", "/proc/keys", "/proc/timer_list"))
        assert done.stdout.split() == [b"1:3", b"1:3"], done
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_cve_2025_52565_the_console_is_the_terminal(daemon: Daemon, canary: Path) -> None:
    for traps in (
        [symlink("dev/console", "/proc/sys/kernel/core_pattern")],
        [symlink("dev/console", str(canary / "file"))],
        [symlink("dev/pts", "/proc/self/fd")],
        [directory("dev/pts"), symlink("dev/pts/0", "/proc/sys/kernel/core_pattern")],
    ):
        hostile(daemon, directory("dev"), *traps)
        done = run_hostile(daemon, "-t", command=("sh", "-c", "stat -c %t /dev/console /dev/pts/0; tty"))
        assert done.stdout.split() == [b"88", b"88", b"/dev/pts/0"], done


def test_cve_2025_52881_what_is_written_below_proc_has_no_path(daemon: Daemon, canary: Path) -> None:
    """Through a procfs that is mounted nowhere, opened before the image's files are in sight."""
    document = stage.config("/nowhere", "true")
    document["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    document["process"]["apparmorProfile"] = "some"
    calls = [step.call for step in birth.plan(runtimespec.decode(document), birth.Context("box")).child]
    first_mount = calls.index("mount_in_root")
    for call in ("open_procfs", "write_attribute", "write_procfs"):
        assert calls.index(call) < first_mount
    hostile(daemon, symlink("proc", str(canary)))
    assert refused(run_hostile(daemon, "--sysctl", "net.ipv4.ip_forward=1"), "not a link")


@pytest.mark.parametrize("name", ["dev", "dev/pts", "dev/shm", "dev/mqueue"])
def test_cve_2026_41579_no_device_is_made_outside(daemon: Daemon, canary: Path, name: str) -> None:
    hostile(daemon, trap("link", name, canary))
    done = run_hostile(daemon, "--device", "/dev/fuse")
    assert refused(done, "not a link") if name == "dev" else done.stdout == b"fine\n"


def test_ghsa_g54h_m393_cpwq_devices_are_an_allow_list(daemon: Daemon) -> None:
    script = (
        "for d in 'b 254 0' 'c 1 1' 'c 10 229' 'c 10 237' 'c 10 200'; do"
        " set -- $d; mknod /n $1 $2 $3; dd if=/n of=/dev/null count=0 2>/dev/null && echo opened $d; rm /n; done;"
        " cat /sys/fs/cgroup/devices/devices.list 2>/dev/null; echo end"
    )
    lines = output(daemon, "run", "--rm", "--device-cgroup-rule", "c 42:* rwm", "busybox", "sh", "-c", script).splitlines()
    assert lines[-1] == "end"
    assert not [line for line in lines if line.startswith("opened")]
    if len(lines) > 1:  # cgroup v1 tells
        assert "a *:* rwm" not in lines
        assert "c 42:* rwm" in lines
        assert "c 10:200 rwm" not in lines


@pytest.mark.parametrize("name", ["etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "etc"])
def test_cve_2025_24965_files_are_put_into_the_image_inside_it(daemon: Daemon, canary: Path, name: str) -> None:
    target = canary if name == "etc" else canary / "file"
    hostile(daemon, symlink(name, str(target)))
    assert run_hostile(daemon).stdout == b"fine\n"


def test_cve_2026_88264_and_88265_the_null_device_is_opened_outside(daemon: Daemon, canary: Path) -> None:
    """For input that nobody gives, and never again by a path; nor is anything given to the container's user through it."""
    owner = os.stat("/dev/null")
    hostile(daemon, directory("dev"), symlink("dev/null", str(canary / "file")))
    done = run_hostile(daemon, "-u", "user", command=("sh", "-c", "stat -Lc %t:%T /proc/self/fd/0; cat"))
    assert done.stdout == b"1:3\n"
    assert (os.stat("/dev/null").st_uid, os.stat("/dev/null").st_mode) == (owner.st_uid, owner.st_mode)


def test_cve_2026_31431_no_kernel_crypto_and_no_vsock(daemon: Daemon, sleeper: str) -> None:
    """By the filter that is loaded, in all three ways to call socket(2); the old i386 entry has to stay (it tells no family)."""
    pid = daemon.engine.inspect(sleeper)["State"]["Pid"]
    (program,) = filters.loaded(pid)
    for abi, number in (("x86_64", 41), ("x32", 41), ("i386", 359)):
        assert [filters.verdict(program, abi, number, family) for family in (1, 2, 10, 16, 17, 38, 40)] == [
            *("allow", "allow", "allow", "allow", "allow", "EPERM", "EPERM")
        ]
    assert filters.verdict(program, "i386", 102, 1) == "allow"


def test_all_that_was_granted_was_the_engines_to_give(daemon: Daemon) -> None:
    status = output(daemon, "run", "--rm", "--privileged", "busybox", "cat", "/proc/self/status")
    line = next(line for line in status.splitlines() if line.startswith("CapEff"))
    assert int(line.split()[1], 16) == capability.bounding()


def test_no_mount_of_a_container_is_the_machines(daemon: Daemon, sleeper: str) -> None:
    with pytest.raises(GoraeError):
        daemon.engine.inspect("nobody")
    assert not [line for line in census.mounts() if str(daemon.data_root) in line]
