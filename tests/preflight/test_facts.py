"""Looking at the real machine changes nothing and answers everything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gorae.linux import libc, mount
from gorae.linux import system as linux_system
from gorae.preflight import facts
from gorae.preflight.evaluation import evaluate, verdict
from gorae.preflight.facts import gather

pytestmark = pytest.mark.kernel


def test_this_machine_is_fit(tmp_path: Path) -> None:
    """The rest of the suite runs containers here, so it had better be."""
    found = gather(str(tmp_path))
    findings = evaluate(found)
    assert verdict(findings) == 0, [finding for finding in findings if finding.status == "fail"]
    assert found.user_id == 0
    assert found.kernel_release == os.uname().release
    assert {"clone3", "openat2", "fsopen"} <= found.calls
    assert {"mount", "pid", "time"} <= found.namespaces
    assert found.cgroup_mode != "none"
    assert "overlay" in found.filesystems
    assert set(facts.ACTIONS) == found.seccomp_actions
    assert found.nftables is True
    assert found.disk is not None
    assert found.disk.path == str(tmp_path)
    assert found.disk.filesystem == linux_system.statfs(str(tmp_path)).name
    assert 0 < found.disk.free <= found.disk.total


def test_nothing_is_left(tmp_path: Path) -> None:
    gather(str(tmp_path))
    before = (mount.mountinfo(), sorted(os.listdir("/proc/self/fd")), os.listdir(tmp_path))
    gather(str(tmp_path))
    assert (mount.mountinfo(), sorted(os.listdir("/proc/self/fd")), os.listdir(tmp_path)) == before


def test_a_data_root_that_is_not_there_yet(tmp_path: Path) -> None:
    found = gather(str(tmp_path / "a/b/c"))
    assert found.disk is not None
    assert found.disk.path == str(tmp_path)
    (tmp_path / "file").touch()
    found = gather(str(tmp_path / "file/x"))
    assert found.disk is not None
    assert found.disk.path == str(tmp_path)


@pytest.mark.parametrize("name", sorted(facts._HARMLESS))
def test_each_tried_call_fails_without_doing_anything(name: str) -> None:
    with pytest.raises(OSError) as caught:
        libc.call(name, *facts._HARMLESS[name])
    assert caught.value.errno in (errno.EINVAL, errno.EBADF, errno.EFAULT, errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS)


def test_without_new_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on an old kernel: what cannot be asked is answered from elsewhere or left open."""
    gone = {"clone3", "openat2", "fsopen", "seccomp", "pidfd_open", "mount_setattr"}
    monkeypatch.setattr(libc, "SYS", {name: number for name, number in libc.SYS.items() if name not in gone})
    found = gather(str(tmp_path))
    assert not gone & found.calls
    assert found.seccomp_actions == {"errno"}
    assert not found.exit_status_by_pidfd
    status = {finding.name: finding.status for finding in evaluate(found)}
    assert (status["clone3"], status["pidfd"], status["seccomp"]) == ("warn", "fail", "ok")


def test_as_nobody(tmp_path: Path) -> None:
    """What a user without rights gets is an answer, not a traceback."""
    import json

    from tests.linux.conftest import run_in_child

    def child() -> dict[str, object]:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        found = gather("/var/lib/gorae")
        return {"status": {f.name: f.status for f in evaluate(found)}, "nftables": found.nftables, "effective": found.effective}

    found = json.loads(json.dumps(run_in_child(child)))
    assert found["effective"] == 0
    assert found["status"]["user"] == "fail"
    assert found["status"]["overlay"] == "ok"
    assert found["nftables"] in (None, True)
