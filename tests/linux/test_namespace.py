from __future__ import annotations

import errno
import os
import select
import signal

import pytest

from gorae.linux import libc, mount, namespace, process

pytestmark = pytest.mark.kernel


def test_a_child_and_its_pidfd() -> None:
    pid, pidfd = namespace.clone3(0)
    if pid == 0:
        os._exit(7 if pidfd == -1 else 1)
    try:
        assert not os.get_inheritable(pidfd)
        assert select.select([pidfd], [], [], 10)[0]
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        assert found is not None
        assert (found.si_pid, found.si_code, found.si_status) == (pid, os.CLD_EXITED, 7)
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("kind", namespace.KINDS, ids=lambda kind: kind.oci)
def test_every_kind_is_made_by_clone3_and_unshare_and_joined_by_setns(in_child, kind: namespace.Kind) -> None:
    assert kind in namespace.available()
    here = namespace.identity(kind)

    def by_clone() -> list[str]:
        return [namespace.identity(kind), os.getpid() == 1]

    made, first = in_child(by_clone, kind.flag)
    assert made.startswith(f"{kind.file}:[")
    assert made != here
    assert first == (kind.oci == "pid")

    def by_unshare_and_back() -> list[str]:
        before = namespace.open_namespace(kind)
        namespace.unshare(kind.flag)
        made = in_child(lambda: namespace.identity(kind))
        if kind.oci == "user":
            return [made, here]
        namespace.setns(before, kind.flag)
        # pid and time take effect for children only, so it is a child that looks.
        return [made, in_child(lambda: namespace.identity(kind))]

    made, back = in_child(by_unshare_and_back)
    assert made != here
    assert back == here
    assert namespace.identity(kind) == here


def test_all_at_once(in_child) -> None:
    everything = 0
    for kind in namespace.KINDS:
        everything |= kind.flag
    here = [namespace.identity(kind) for kind in namespace.KINDS]
    there = in_child(lambda: [namespace.identity(kind) for kind in namespace.KINDS], everything)
    assert not set(here) & set(there)


def test_joining_by_pidfd(in_child) -> None:
    """setns with a pidfd joins several namespaces of a process in one call (Linux 5.8)."""
    ready_reader, ready_writer = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespace.clone3(namespace.CLONE_NEWNS | namespace.CLONE_NEWUTS)
    if pid == 0:
        os.write(ready_writer, b".")
        signal.pause()
        os._exit(0)
    try:
        os.read(ready_reader, 1)
        kinds = [namespace.BY_OCI["mount"], namespace.BY_OCI["uts"]]
        theirs = [namespace.identity(kind, pid) for kind in kinds]

        def child() -> list[str]:
            namespace.setns(pidfd, namespace.CLONE_NEWNS | namespace.CLONE_NEWUTS)
            return [namespace.identity(kind) for kind in kinds]

        assert in_child(child) == theirs
    finally:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        for descriptor in (pidfd, ready_reader, ready_writer):
            os.close(descriptor)


def test_without_clone3_clone_does_it(monkeypatch: pytest.MonkeyPatch, in_child) -> None:
    monkeypatch.setattr(libc, "SYS", {name: number for name, number in libc.SYS.items() if name != "clone3"})
    uts = namespace.BY_OCI["uts"]
    assert in_child(lambda: [os.getppid(), namespace.identity(uts)], uts.flag)[0] == os.getpid()
    with pytest.raises(OSError) as caught:
        namespace.clone3(namespace.CLONE_NEWTIME)
    assert caught.value.errno == errno.ENOSYS


def test_a_child_is_born_in_a_cgroup() -> None:
    unified = next((entry.mount_point for entry in mount.mountinfo() if entry.fs_type == "cgroup2"), None)
    if unified is None:
        pytest.skip("no cgroup v2")
    group = f"{unified}/gorae-test-{os.getpid()}"
    os.mkdir(group)
    directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid, pidfd = namespace.clone3(0, cgroup_fd=directory)
        if pid == 0:
            with open("/proc/self/cgroup", "rb") as file:
                os.write(writer, file.read())
            os._exit(0)
        os.close(writer)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        with open(reader) as file:
            assert f"0::/gorae-test-{os.getpid()}" in file.read().splitlines()
    finally:
        os.close(directory)
        os.rmdir(group)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="memory"):
        namespace.clone3(namespace.CLONE_VM)
    with pytest.raises(OSError, match="clone3: Invalid argument"):
        namespace.clone3(namespace.CLONE_NEWNS | namespace.CLONE_FS)
    with pytest.raises(OSError, match="setns: Bad file descriptor"):
        namespace.setns(-1, namespace.CLONE_NEWNS)
    with pytest.raises(FileNotFoundError, match="readlink: "):
        namespace.identity(namespace.KINDS[0], 0x3FFFFFFF)
