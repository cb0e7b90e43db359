"""A root file system of Debian's busybox, a specification like the one Docker's engine writes, and a run that tells what came
out.
"""

from __future__ import annotations

import dataclasses
import os
import select
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gorae.cgroup.layout import Layout, detect
from gorae.errors import BirthError
from gorae.linux.process import exit_code
from gorae.oci import runtimespec, seccomp_profile
from gorae.oci.runtimespec import Spec
from gorae.runtime import birth, life

BUSYBOX = "/bin/busybox"
APPLETS = """
    sh cat ls echo id env stat mount umount grep sed awk sleep true false kill ps touch mkdir ln rm readlink dd hostname head tail
    wc sort tr chmod chown mknod printf test tty stty cut find timeout unshare expr seq uname date pwd which
"""
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
alice:x:1000:1000:Alice:/home/alice:/bin/sh
4242:x:0:0:trap:/:/bin/sh
bob:x:1001:100::/home/bob:/bin/sh
"""
GROUP = "root:x:0:\nusers:x:100:alice\nalice:x:1000:\nwheel:x:10:alice,bob\n"

CAPABILITIES = [
    "CAP_" + name
    for name in (
        [
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ]
    )
]
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
    },
]
MASKED = [
    *(
        [
            "/proc/asound",
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
        ]
    ),
    *(["/proc/scsi", "/sys/firmware", "/proc/interrupts", "/sys/devices/virtual/powercap"]),
]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_layout: Layout | None = None


def layout() -> Layout:
    global _layout
    if _layout is None:
        _layout = detect()
    return _layout


def make_rootfs(where: Path) -> Path:
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/alice", "home/bob"]:
        (where / directory).mkdir(parents=True)
    shutil.copy(BUSYBOX, where / "bin/busybox")
    for name in APPLETS.split():
        (where / "bin" / name).symlink_to("busybox")
    (where / "etc/passwd").write_text(PASSWD)
    (where / "etc/group").write_text(GROUP)
    (where / "tmp").chmod(0o1777)
    return where


def seccomp(capabilities: list[str]) -> dict[str, Any]:
    profile = seccomp_profile.profile(frozenset(capabilities), os.uname().machine, (6, 1))
    return profile if isinstance(profile, dict) else dataclasses.asdict(profile)


def config(rootfs: Path | str, *args: str, **process: Any) -> dict[str, Any]:
    """config.json as Docker writes it; `process` overrides fields of the process."""
    return {
        "ociVersion": "1.2.0",
        "process": {
            "args": list(args) or ["sh"],
            "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            **process,
        },
        "root": {"path": str(rootfs)},
        "hostname": "box",
        "mounts": [dict(each) for each in MOUNTS],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
            "resources": {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 200}},
        },
    }


def with_seccomp(document: dict[str, Any]) -> Spec:
    spec = runtimespec.decode(document)
    assert spec.linux is not None
    profile = seccomp_profile.profile(frozenset(CAPABILITIES), os.uname().machine, (6, 1))
    return dataclasses.replace(spec, linux=dataclasses.replace(spec.linux, seccomp=profile))


@dataclass
class Outcome:
    status: int
    output: str
    error: str
    warnings: list[str]
    timings: list[life.Timing] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


class Running:
    """A container under way; a context manager that kills and buries it."""

    def __init__(self, born: birth.Birth, explain: bool = False, cgroup: str | None = None) -> None:
        self.cgroup = cgroup
        self.read_out, write_out = os.pipe2(os.O_CLOEXEC)
        self.read_err, write_err = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.nascent: life.Nascent | None = None
        try:
            self.nascent = life.bear(born, life.Stdio(null, write_out, write_err), explain)
            follow(self.nascent)
            if self.nascent.failure is not None:
                raise self.nascent.failure
        except BaseException:
            os.close(self.read_out)
            os.close(self.read_err)
            raise
        finally:
            for descriptor in (null, write_out, write_err):
                os.close(descriptor)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *details: object) -> None:
        assert self.nascent is not None
        if self.nascent.pidfd >= 0:
            try:
                os.kill(self.nascent.pid, 9)
                os.waitpid(self.nascent.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            os.close(self.nascent.pidfd)
            self.nascent.pidfd = -1
        for descriptor in (self.read_out, self.read_err):
            os.close(descriptor)
        if self.nascent.console is not None:
            os.close(self.nascent.console)
        if self.cgroup is not None:
            remains = life.bury(self.cgroup, layout())
            assert not remains.warnings

    def finish(self) -> Outcome:
        """Everything it writes, then its exit code."""
        assert self.nascent is not None
        output, error = drain(self.read_out, self.read_err)
        _, status = os.waitpid(self.nascent.pid, 0)
        os.close(self.nascent.pidfd)
        self.nascent.pidfd = -1
        return Outcome(exit_code(status), output, error, self.nascent.warnings, self.nascent.timings)


def follow(nascent: life.Nascent, seconds: float = 30) -> None:
    poll = select.poll()
    poll.register(nascent.fileno(), select.POLLIN)
    while True:
        assert poll.poll(seconds * 1000), "the birth does not go on"
        if nascent.advance():
            return


def drain(*descriptors: int, seconds: float = 30) -> tuple[str, ...]:
    found: dict[int, bytes] = dict.fromkeys(descriptors, b"")
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left = set(descriptors)
    while left:
        ready = poll.poll(seconds * 1000)
        assert ready, f"the program writes no more: {found}"
        for descriptor, _ in ready:
            piece = os.read(descriptor, 65536)
            if piece:
                found[descriptor] += piece
            else:
                poll.unregister(descriptor)
                left.discard(descriptor)
    return tuple(found[each].decode("utf-8", "replace") for each in descriptors)


def run(spec: Spec | dict[str, Any], context: birth.Context, explain: bool = False) -> Outcome:
    if isinstance(spec, dict):
        spec = runtimespec.decode(spec)
    with Running(birth.plan(spec, context), explain, context.cgroup) as running:
        return running.finish()


def failure(spec: Spec | dict[str, Any], context: birth.Context) -> BirthError:
    if isinstance(spec, dict):
        spec = runtimespec.decode(spec)
    try:
        with Running(birth.plan(spec, context), False, context.cgroup) as running:
            outcome = running.finish()
    except BirthError as error:
        return error
    raise AssertionError(f"it ran: {outcome}")
