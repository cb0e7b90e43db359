"""One more process in a running container."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import BirthError, CommandNotFound
from gorae.oci import runtimespec
from gorae.runtime import birth
from gorae.runtime.birth import Context, Living
from tests.runtime import stage

pytestmark = pytest.mark.kernel
CAPABILITIES = dict.fromkeys(("bounding", "effective", "permitted"), stage.CAPABILITIES)


@pytest.fixture
def living(image: Path, context: Context) -> Iterator[Living]:
    spec = stage.with_seccomp(stage.config(image, "sleep", "1000"))
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        yield Living(running.nascent.pid, spec, running.nascent.pidfd)


def execute(living: Living, context: Context, *args: str, **process: Any) -> stage.Outcome:
    given = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "capabilities": CAPABILITIES, **process}
    born = birth.plan_exec(runtimespec.decode_process(given), living, context)
    with stage.Running(born) as running:
        return running.finish()


def test_it_is_inside(living: Living, context: Context) -> None:
    outcome = execute(living, context, "sh", "-c", "hostname; cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/self/fd | tr '\\n' ' '")
    assert outcome.lines == ["box", "sleep 1000 0 1 2 3 "]


def test_its_namespaces_and_cgroups_are_the_containers(living: Living, context: Context) -> None:
    outcome = execute(
        living,
        context,
        "sh",
        "-c",
        "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; sed 's/.*://' /proc/self/cgroup | sort -u",
    )
    theirs = [os.readlink(f"/proc/{living.pid}/ns/{kind}") for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup")]
    assert outcome.lines == [*theirs, "/"]


def test_it_is_confined_like_the_first(living: Living, context: Context) -> None:
    outcome = execute(living, context, "grep", "-E", "^(Cap|Seccomp:|NoNew|SigIgn|SigBlk|Groups)", "/proc/self/status")
    assert outcome.lines == [
        *("Groups:\t0 ", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "CapInh:\t0000000000000000"),
        *("CapPrm:\t00000000a80425fb", "CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb", "CapAmb:\t0000000000000000"),
        *("NoNewPrivs:\t0", "Seccomp:\t2"),
    ]


def test_a_user(living: Living, context: Context) -> None:
    outcome = execute(
        living, dataclasses.replace(context, user="alice"), "sh", "-c", "id; echo $HOME; grep CapEff /proc/self/status"
    )
    assert outcome.lines == [
        *("uid=1000(alice) gid=1000(alice) groups=10(wheel),100(users),1000(alice)", "/home/alice", "CapEff:\t0000000000000000"),
    ]


def test_the_working_directory(living: Living, context: Context) -> None:
    assert execute(living, context, "pwd", cwd="/tmp").lines == ["/tmp"]
    with pytest.raises(BirthError) as caught:
        execute(living, context, "pwd", cwd="/missing")
    assert caught.value.step == "enter_directory"


@pytest.mark.parametrize("number", range(3, 21))
def test_no_descriptor_leads_out(living: Living, context: Context, number: int) -> None:
    """CVE-2024-21626. What this birth itself holds open is the container's root, at most."""
    for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
        step, output = "", ""
        try:
            output = execute(living, context, "sh", "-c", "pwd; cat /etc/passwd", cwd=cwd).output
        except BirthError as error:
            step = error.step
        assert step == "enter_directory" or output == f"/\n{stage.PASSWD}"


def test_a_missing_command(living: Living, context: Context) -> None:
    with pytest.raises(CommandNotFound, match="executable file not found"):
        execute(living, context, "missing")


def test_exit_status(living: Living, context: Context) -> None:
    assert execute(living, context, "sh", "-c", "exit 7").status == 7


def test_a_container_that_has_ended(image: Path, context: Context) -> None:
    spec = runtimespec.decode(stage.config(image, "true"))
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        pid, pidfd = running.nascent.pid, os.dup(running.nascent.pidfd)
        running.finish()
    try:
        for living in (Living(pid, spec, pidfd), Living(pid, spec)):
            with pytest.raises(BirthError, match="not running"):
                execute(living, context, "true")
    finally:
        os.close(pidfd)


def test_a_container_that_has_ended_but_was_not_reaped(image: Path, context: Context) -> None:
    spec = runtimespec.decode(stage.config(image, "true"))
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        stage.drain(running.read_out)
        os.waitid(os.P_PID, running.nascent.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(BirthError, match="not running"):
            execute(Living(running.nascent.pid, spec, running.nascent.pidfd), context, "true")
        running.finish()


def test_every_step_of_an_exec_may_fail(living: Living, context: Context, fail_at: Callable[[int], None]) -> None:
    from tests.runtime.conftest import snapshot

    process = runtimespec.decode_process({"args": ["true"], "cwd": "/", "capabilities": CAPABILITIES})
    born = birth.plan_exec(process, living, context)
    before = snapshot()
    for wanted, step in enumerate(born.child):
        fail_at(wanted)
        with pytest.raises(BirthError) as caught:
            stage.Running(born)
        assert caught.value.step == step.call
        assert snapshot() == before, step


def test_cpu_affinity(living: Living, context: Context) -> None:
    outcome = execute(
        living, context, "grep", "Cpus_allowed_list", "/proc/self/status", execCPUAffinity={"initial": "0-1", "final": "1"}
    )
    assert outcome.lines == ["Cpus_allowed_list:\t1"]


def test_children_of_the_parent_are_born_outside_again(living: Living, context: Context) -> None:
    """The detour into the pid namespace is over, also after failures."""
    execute(living, context, "true")
    with pytest.raises(BirthError):
        execute(living, context, "missing")
    pid = os.posix_spawn(
        "/bin/sh", ["sh", "-c", f"test $(readlink /proc/self/ns/pid) = {os.readlink('/proc/self/ns/pid')}"], dict(os.environ)
    )
    assert os.waitpid(pid, 0)[1] == 0
