"""What Docker promises about a container, looked at from inside one."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from gorae.runtime.birth import Context
from tests.runtime import stage

pytestmark = pytest.mark.kernel

SCRIPT = r"""
grep -E '^(Cap|Seccomp|NoNewPrivs|Sig(Ign|Blk|Cgt)|Groups|Uid|Gid|Umask)' /proc/self/status | tr '\t' ' '
echo "fds: $(ls /proc/self/fd | tr '\n' ' ')"
echo "host: $(hostname)"
echo "pid: $$"
for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ -e $f ] && echo "mask $f: $(wc -c < $f)"; done
for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && echo "maskdir $d: $(ls -A $d | wc -l)"; done
echo "writable below /proc/sys: $(
  find /proc/sys -type f -perm -200 2>/dev/null | while read f; do ( : >> $f ) 2>/dev/null && echo $f; done | wc -l
)"
touch /sys/x 2>&1; touch /sys/fs/cgroup/x 2>&1; touch /sys/fs/cgroup/memory/x 2>&1
echo "dev: $(ls /dev | sort | tr '\n' ' ')"
for n in null zero full random urandom tty; do stat -c '%n %t:%T %a %F' /dev/$n; done
for l in fd stdin stdout stderr ptmx; do echo "$l -> $(readlink /dev/$l)"; done
for spec in "b 254 0" "c 1 1" "c 10 229" "c 10 237" "c 10 200"; do
  set -- $spec; mknod /tmp/node $1 $2 $3; dd if=/tmp/node of=/dev/null count=1 2>&1 | head -1; rm /tmp/node
done
echo "env: $(env | grep -v -E '^(PWD|SHLVL|_)=' | sort | tr '\n' ' ')"
echo "cgroup: $(sed 's/.*://' /proc/self/cgroup | sort -u | tr '\n' ' ')"
echo "lo: $(cat /sys/class/net/lo/operstate) $(ls /sys/class/net | tr '\n' ' ')"
echo "root: $(awk '$5 == "/" {print $6, $7}' /proc/self/mountinfo)"
mount -t tmpfs none /tmp 2>&1
unshare -m true 2>&1
"""


@pytest.fixture(scope="module")
def seen(image: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    context = Context("defaults", cgroup=f"/gorae-test-{os.getpid()}-defaults", cgroup_layout=stage.layout())
    (Path(image) / "tmp").chmod(0o1777)
    outcome = stage.run(stage.with_seccomp(stage.config(image, "sh", "-c", SCRIPT)), context)
    assert outcome.status in (0, 1), outcome
    return outcome.lines


def test_capabilities_are_dockers_fourteen(seen: list[str]) -> None:
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert f"{name}: 00000000a80425fb" in seen
    assert "CapInh: 0000000000000000" in seen  # CVE-2022-29162
    assert "CapAmb: 0000000000000000" in seen


def test_seccomp_filters_and_setuid_programs_work(seen: list[str]) -> None:
    assert "Seccomp: 2" in seen
    assert "Seccomp_filters: 1" in seen
    assert "NoNewPrivs: 0" in seen


def test_no_signal_is_ignored_or_blocked(seen: list[str]) -> None:
    """Python ignores SIGPIPE and SIGXFSZ; the shell itself may ignore or catch others, so a plain program is asked."""
    assert "SigIgn: 0000000000000000" in seen
    assert "SigBlk: 0000000000000000" in seen
    assert "SigCgt: 0000000000000000" in seen


def test_identity(seen: list[str]) -> None:
    assert "Uid: 0 0 0 0" in seen
    assert "Gid: 0 0 0 0" in seen
    assert "Groups: 0 " in seen or "Groups: 0" in seen  # CVE-2022-36109
    assert "Umask: 0022" in seen


def test_only_three_descriptors(seen: list[str]) -> None:
    assert "fds: 0 1 2 3 " in seen  # 3 is what ls reads the directory with


def test_namespaces_are_its_own(seen: list[str]) -> None:
    assert "host: box" in seen
    assert "pid: 1" in seen
    assert "cgroup: / " in seen
    assert any(line.startswith("lo: ") and line.split()[2:] == ["lo"] for line in seen)


def test_masks_cover_what_tells_about_the_machine(seen: list[str]) -> None:
    covered = [line for line in seen if line.startswith("mask")]
    assert covered
    assert all(line.endswith(": 0") for line in covered), covered


def test_nothing_of_the_kernel_can_be_turned(seen: list[str]) -> None:
    assert "writable below /proc/sys: 0" in seen
    refused = [line for line in seen if "Read-only file system" in line]
    assert len(refused) == 3, refused


def test_devices(seen: list[str]) -> None:
    assert "dev: fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero " in seen
    for name, number in (("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")):
        assert f"/dev/{name} {number} 666 character special file" in seen
    assert "ptmx -> pts/ptmx" in seen
    assert "fd -> /proc/self/fd" in seen


def test_other_devices_cannot_be_opened(seen: list[str]) -> None:
    assert sum("/tmp/node" in line and "Operation not permitted" in line for line in seen) == 5, seen


def test_the_environment_is_only_what_was_given(seen: list[str]) -> None:
    assert "env: HOME=/root HOSTNAME=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin " in seen


def test_mount_and_unshare_are_refused(seen: list[str]) -> None:
    assert "mount: mounting none on /tmp failed: Operation not permitted" in seen or any(
        "permission denied" in line for line in seen
    )
    assert any("unshare" in line and "Operation not permitted" in line for line in seen)


def test_a_user_has_no_capabilities(image: Path, context: Context) -> None:
    """CVE-2016-8867."""
    context = dataclasses.replace(context, user="alice")
    outcome = stage.run(stage.with_seccomp(stage.config(image, "sh", "-c", "id; cat /proc/self/status; echo $HOME")), context)
    assert outcome.lines[0] == "uid=1000(alice) gid=1000(alice) groups=10(wheel),100(users),1000(alice)"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{name}:\t0000000000000000" in outcome.lines
    assert outcome.lines[-1] == "/home/alice"


def test_no_new_privileges(image: Path, context: Context) -> None:
    outcome = stage.run(
        stage.with_seccomp(stage.config(image, "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status", noNewPrivileges=True)),
        context,
    )
    assert outcome.lines == ["NoNewPrivs:\t1", "Seccomp:\t2"]


def test_the_cgroup_limits_hold(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 9 & done; echo all started")
    document["linux"]["resources"]["pids"]["limit"] = 4
    outcome = stage.run(document, context)
    assert "all started" not in outcome.output
    assert "can't fork" in outcome.error
