"""Images and wishes that try to get out. Each fails, or stays inside; nothing on the machine changes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import BirthError, InvalidArgument
from gorae.oci import runtimespec
from gorae.runtime import birth
from gorae.runtime.birth import Context
from tests.runtime import stage

pytestmark = pytest.mark.kernel


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A directory of the machine that must stay as it is."""
    where = tmp_path / "canary"
    where.mkdir()
    (where / "file").write_text("untouched")
    return where


def untouched(canary: Path) -> bool:
    return [(each.name, each.read_text()) for each in canary.iterdir()] == [("file", "untouched")]


def replace(rootfs: Path, name: str, target: str | Path) -> None:
    (rootfs / name).rmdir()
    (rootfs / name).symlink_to(target)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("where", ["host", "inside"])
def test_proc_sys_and_dev_must_not_be_links(rootfs: Path, context: Context, canary: Path, name: str, where: str) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579."""
    (rootfs / "elsewhere").mkdir()
    replace(rootfs, name, canary if where == "host" else "/elsewhere")
    error = stage.failure(stage.config(rootfs, "true"), context)
    assert "not a link" in str(error)
    assert error.path == f"/{name}"
    assert untouched(canary)
    assert list((rootfs / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["dev/pts", "dev/shm", "dev/mqueue", "sys/fs"])
def test_links_below_lead_nowhere_outside(rootfs: Path, context: Context, canary: Path, name: str) -> None:
    """They are covered by the mounts of /dev and /sys before anybody follows them."""
    (rootfs / name).parent.mkdir(exist_ok=True)
    (rootfs / name).symlink_to(canary)
    outcome = stage.run(stage.config(rootfs, "sh", "-c", "touch /dev/shm/x && echo fine"), context)
    assert outcome.lines == ["fine"]
    assert untouched(canary)


def test_a_false_null_device_masks_nothing_else(rootfs: Path, context: Context) -> None:
    """CVE-2025-31133: the mask is the machine's own /dev/null, by descriptor."""
    (rootfs / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    outcome = stage.run(stage.config(rootfs, "sh", "-c", "stat -c '%t:%T %F' /proc/keys"), context)
    assert outcome.lines == ["1:3 character special file"]


def test_a_false_null_device_is_refused_where_it_would_stay(rootfs: Path, context: Context) -> None:
    """Without a mount at /dev the image's own nodes are used, if they are what they are called."""
    (rootfs / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    document = stage.config(rootfs, "true")
    document["mounts"] = [each for each in document["mounts"] if not each["destination"].startswith("/dev")]
    error = stage.failure(document, context)
    assert (error.step, error.path) == ("mknod_in_root", "/dev/null")


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/proc/self/attr", "/proc/1", "/pr", "/pr/sys", "/x/../proc/sys"])
def test_nothing_is_bound_over_proc(rootfs: Path, context: Context, canary: Path, target: str) -> None:
    """CVE-2019-16884."""
    (rootfs / "pr").symlink_to("proc")
    (rootfs / "x").mkdir()
    document = stage.config(rootfs, "true")
    document["mounts"].append({"destination": target, "type": "bind", "source": str(canary), "options": ["rbind"]})
    error = stage.failure(document, context)
    assert "inside /proc" in str(error) or "without .." in str(error)
    assert untouched(canary)


def test_what_only_informs_may_be_replaced(image: Path, context: Context, canary: Path) -> None:
    document = stage.config(image, "cat", "/proc/uptime")
    document["mounts"].append(
        {"destination": "/proc/uptime", "type": "bind", "source": str(canary / "file"), "options": ["bind", "ro"]}
    )
    assert stage.run(document, context).output == "untouched"


@pytest.mark.parametrize("target", ["/lnk/sub", "/lnk/a/b/c", "/up/up/up/sub", "/dangling"])
def test_mount_points_are_made_inside(rootfs: Path, context: Context, canary: Path, target: str) -> None:
    """CVE-2021-30465, CVE-2024-45310."""
    (rootfs / "lnk").symlink_to(canary)
    (rootfs / "up").symlink_to("../../../../../../.." + str(canary))
    (rootfs / "dangling").symlink_to(canary / "new")
    document = stage.config(rootfs, "sh", "-c", f"mount | grep -c ' {target} ' ; cat {target}/file")
    document["mounts"].append({"destination": target, "type": "bind", "source": str(canary), "options": ["bind", "ro"]})
    outcome = stage.run(document, context)
    assert outcome.output.endswith("untouched")
    assert untouched(canary)


def test_the_working_directory_is_made_inside(rootfs: Path, context: Context, canary: Path) -> None:
    """CVE-2026-55686."""
    (rootfs / "lnk").symlink_to(canary)
    outcome = stage.run(stage.config(rootfs, "pwd", cwd="/lnk/work/dir"), context)
    assert outcome.status == 0
    assert outcome.lines == [f"{canary}/work/dir"]
    assert untouched(canary)


@pytest.mark.parametrize("number", [*range(3, 21), 9999])
def test_the_working_directory_is_not_a_descriptor(image: Path, context: Context, number: int) -> None:
    """CVE-2024-21626."""
    for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../../.."):
        error = stage.failure(stage.config(image, "cat", "/etc/shadow", cwd=cwd), context)
        assert error.step in ("make_directory", "enter_directory")


def test_a_directory_out_of_reach_is_refused(image: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: a descriptor of the machine's root, kept over pivot_root on purpose, is entered by fchdir."""
    from gorae.runtime import life, plain, program

    monkeypatch.setattr(life, "FAST", False)
    outside = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        monkeypatch.setattr(program.os, "chdir", lambda path: os.fchdir(outside) if path == "/tmp" else os.__dict__["fchdir"](path))
        monkeypatch.setitem(plain.DEEDS, "close_descriptors", lambda scene: None)
        monkeypatch.setitem(plain.DEEDS, "chdir", lambda scene, path: None)
        error = stage.failure(stage.config(image, "true", cwd="/tmp"), context)
    finally:
        os.close(outside)
    assert "outside of the container" in str(error)


def test_descriptors_of_the_parent_do_not_leak(image: Path, context: Context) -> None:
    """CVE-2024-21626, CVE-2016-9962: even inheritable ones."""
    leaking = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leaking, True)
    try:
        outcome = stage.run(stage.config(image, "sh", "-c", "ls -l /proc/self/fd; ls /proc/1/fd; true"), context)
    finally:
        os.close(leaking)
    assert "/etc" not in outcome.output
    assert outcome.lines[-3:] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["fifo", "device", "huge", "directory", "link"])
def test_hostile_passwd_and_group_files(rootfs: Path, context: Context, canary: Path, name: str, kind: str) -> None:
    """CVE-2026-47262: an error within a moment, not a wait."""
    file = rootfs / "etc" / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        os.mknod(file, 0o600 | 0o020000, os.makedev(1, 5))
    elif kind == "huge":
        file.write_bytes(b"x" * (1 << 20) + b"\n")
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to("/proc/self/fd/0")
    context = dataclasses.replace(context, user="alice")
    error = stage.failure(stage.config(rootfs, "id"), context)
    assert error.step == "find_user"
    assert untouched(canary)


def test_a_link_for_passwd_stays_inside(rootfs: Path, context: Context, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("alice:x:0:0::/:/bin/sh\n")
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to(tmp_path / "outside")
    error = stage.failure(stage.config(rootfs, "id"), dataclasses.replace(context, user="alice"))
    assert "unable to find user alice" in str(error)


def test_the_interpreter_cannot_be_opened(image: Path, context: Context) -> None:
    """CVE-2019-5736: while an exec is on its way in, the container looks at every /proc/PID/exe."""
    watcher = "while true; do for e in /proc/[0-9]*/exe; do readlink $e; done; done"
    born = birth.plan(runtimespec.decode(stage.config(image, "sh", "-c", watcher)), context)
    with stage.Running(born, cgroup=context.cgroup) as running:
        assert running.nascent is not None
        living = birth.Living(running.nascent.pid, runtimespec.decode(stage.config(image)))
        for _ in range(5):
            process = runtimespec.decode_process({"args": ["true"], "cwd": "/", "capabilities": {"bounding": stage.CAPABILITIES}})
            with stage.Running(birth.plan_exec(process, living, context)) as second:
                assert second.finish().status == 0
        os.kill(running.nascent.pid, 9)
        outcome = running.finish()
    seen = set(outcome.lines)
    assert "/bin/busybox" in seen
    assert not any("python" in line for line in seen), seen


def test_hashbang_to_proc_self_exe(rootfs: Path, context: Context) -> None:
    """The interpreter of a script is the image's business: /proc/self/exe is then the program, never ours."""
    script = rootfs / "bin/trap"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    error = stage.failure(stage.config(rootfs, "/bin/trap"), context)
    assert error.step == "execve"


def test_modules_of_the_image_are_never_imported(rootfs: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2019-14271's form in Python: everything is loaded before, and an import afterwards is refused."""
    from gorae.runtime import life, plain

    monkeypatch.setattr(life, "FAST", False)
    for name in ("colorsys.py", "usr/lib/python3.11/colorsys.py"):
        (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / name).write_text("open('/pwned', 'w')\n")

    def late_import(scene: Any) -> None:
        import colorsys  # noqa: F401

    plain.DEEDS["late_import"] = late_import
    try:
        born = birth.plan(runtimespec.decode(stage.config(rootfs, "true")), context)
        at = next(number for number, step in enumerate(born.child) if step.call == "take_environment")
        born = dataclasses.replace(born, child=(*born.child[:at], birth.Step("late_import", (), ""), *born.child[at:]))
        with pytest.raises(BirthError, match="should have been loaded before"):
            stage.Running(born)
    finally:
        del plain.DEEDS["late_import"]
    assert not (rootfs / "pwned").exists()


@pytest.mark.parametrize("name", ["LD_PRELOAD=/evil.so", "PYTHONPATH=/", "PYTHONSTARTUP=/x", "PYTHONHOME=/"])
def test_the_programs_environment_reaches_only_the_program(image: Path, context: Context, name: str) -> None:
    document = stage.config(image, "env")
    document["process"]["env"].append(name)
    outcome = stage.run(document, context)
    assert name in outcome.lines
    assert name.partition("=")[0] not in os.environ


@pytest.mark.parametrize(
    "sysctl",
    [
        *("kernel.core_pattern", "kernel.hostname", "kernel.domainname", "vm.swappiness", "kernel.msgmax/../core_pattern"),
        *("net.ipv4.ip_forward+kernel.core_pattern", "fs.file-max", "kernel.shm_rmid_forced;x", "user.max_user_namespaces"),
    ],
)
def test_sysctls_of_the_machine_are_refused(image: Path, context: Context, sysctl: str) -> None:
    """CVE-2022-0811."""
    document = stage.config(image, "true")
    document["linux"]["sysctl"] = {sysctl: "1"}
    with pytest.raises(InvalidArgument, match=r"linux\.sysctl"):
        birth.plan(runtimespec.decode(document), context)


def test_sysctls_of_its_own_namespaces_are_set(image: Path, context: Context) -> None:
    document = stage.config(
        image, "cat", "/proc/sys/kernel/msgmax", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/lo/arp_ignore"
    )
    document["linux"]["sysctl"] = {"kernel.msgmax": "4321", "net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/arp_ignore": "2"}
    before = Path("/proc/sys/kernel/msgmax").read_text()
    assert stage.run(document, context).lines == ["4321", "1", "2"]
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


def test_sysctls_need_the_namespace(image: Path, context: Context) -> None:
    document = stage.config(image, "true")
    document["linux"]["namespaces"] = [each for each in document["linux"]["namespaces"] if each["type"] != "network"]
    document["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    with pytest.raises(InvalidArgument, match="needs a network namespace"):
        birth.plan(runtimespec.decode(document), context)
