"""The executor and the parent's side: what is told, and that a birth which fails at any step leaves nothing (see
`nothing_left`).
"""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gorae.errors import BirthError, CommandNotExecutable, CommandNotFound, Conflict, InvalidArgument
from gorae.oci import runtimespec
from gorae.runtime import birth, life, plain
from gorae.runtime.birth import Context, RootMount, Step
from tests.runtime import stage

pytestmark = pytest.mark.kernel


def rich(image: Path, where: Path) -> runtimespec.Spec:
    """A specification that uses every kind of step."""
    document = stage.config(image, "true", noNewPrivileges=True)
    document["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    document["root"]["readonly"] = True
    document["mounts"] += [
        {"destination": "/data", "type": "bind", "source": str(where), "options": ["rbind", "rro", "nosuid", "rprivate"]},
        {"destination": "/copied", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]},
    ]
    document["linux"]["sysctl"] = {"kernel.msgmax": "4321"}
    return stage.with_seccomp(document)


def test_every_step_of_the_child_may_fail(
    overlay: tuple[Path, tuple[RootMount, ...]], context: Context, tmp_path: Path, fail_at: Callable[[int], None]
) -> None:
    root, rootfs = overlay
    (tmp_path / "data").mkdir()
    context = dataclasses.replace(context, rootfs=rootfs, user="alice")
    born = birth.plan(rich(root, tmp_path / "data"), context)
    from tests.runtime.conftest import snapshot

    before = snapshot()
    for wanted, step in enumerate(born.child):
        fail_at(wanted)
        with pytest.raises(BirthError) as caught:
            stage.Running(born)
        assert (caught.value.step, caught.value.errno) == (step.call, errno.EIO)
        assert snapshot() == before, step


def test_every_step_of_the_parent_may_fail(image: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    born = birth.plan(runtimespec.decode(stage.config(image, "true")), context)
    from tests.runtime.conftest import snapshot

    before = snapshot()
    for step in (*born.before, *born.beside):

        def fault(*arguments: object) -> None:
            raise OSError(errno.EIO, "made to fail")

        with monkeypatch.context() as patch:
            patch.setitem(life.DEEDS, step.call, fault)
            with pytest.raises(BirthError) as caught:
                stage.Running(born)
        assert caught.value.step == step.call
        assert snapshot() == before, step


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_is_killed_is_a_failure(image: Path, context: Context, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fault(_: int, step: Step) -> None:
        if step.call == "pivot_root":
            os.kill(os.getpid(), number)
            # PID 1 of a pid namespace is immune to signals from inside; killed from outside it would look like this.
            os._exit(9)

    monkeypatch.setattr(plain, "fault", fault)
    monkeypatch.setattr(life, "FAST", False)
    error = stage.failure(stage.config(image, "true"), context)
    assert "ended without a word before its program ran" in str(error)


def test_killed_from_outside(image: Path, context: Context, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "barrier")
    born = birth.plan(
        runtimespec.decode(stage.config(image, "true")), dataclasses.replace(context, barrier=str(tmp_path / "barrier"))
    )
    with stage.Running(born, cgroup=context.cgroup) as running:
        assert running.nascent is not None
        os.kill(running.nascent.pid, signal.SIGKILL)
        assert running.finish().status == 137
        with pytest.raises(Conflict):
            life.release(str(tmp_path / "barrier"))


def test_abort(image: Path, context: Context) -> None:
    born = birth.plan(runtimespec.decode(stage.config(image, "sleep", "1000")), context)
    nascent = life.bear(born, life.Stdio())
    nascent.abort()
    assert nascent.failure is not None
    assert nascent.advance()
    assert nascent.pidfd == -1


def test_the_barrier_holds_until_it_is_released(image: Path, context: Context, tmp_path: Path) -> None:
    fifo = tmp_path / "barrier"
    os.mkfifo(fifo)
    born = birth.plan(runtimespec.decode(stage.config(image, "echo", "started")), dataclasses.replace(context, barrier=str(fifo)))
    with stage.Running(born, cgroup=context.cgroup) as running:
        assert running.nascent is not None
        assert running.nascent.fileno() == -1
        assert Path(f"/proc/{running.nascent.pid}/exe").readlink() != Path("/bin/busybox")
        life.release(str(fifo))
        assert running.finish().output == "started\n"
    with pytest.raises(Conflict):
        life.release(str(fifo))


def test_a_barrier_that_is_no_fifo(image: Path, context: Context, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = stage.failure(stage.config(image, "true"), dataclasses.replace(context, barrier=str(tmp_path / "file")))
    assert "must be a FIFO" in str(error)


@pytest.mark.parametrize(
    ("program", "words", "kind"),
    [
        ("nothing-here", 'exec: "nothing-here": executable file not found in $PATH', CommandNotFound),
        ("/bin/nothing", 'exec: "/bin/nothing": stat /bin/nothing: no such file or directory', CommandNotFound),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied', CommandNotExecutable),
        ("/etc", 'exec: "/etc": is a directory', CommandNotExecutable),
        ("/etc/passwd/x", 'exec: "/etc/passwd/x": not a directory', CommandNotExecutable),
        ("/bin/garbage", "exec /bin/garbage: exec format error", CommandNotExecutable),
        ("/bin/orphan", "exec /bin/orphan: no such file or directory", CommandNotFound),
    ],
)
def test_commands_that_do_not_run(rootfs: Path, context: Context, program: str, words: str, kind: type[BirthError]) -> None:
    for name, text in (("garbage", "\x7fELFgarbage"), ("orphan", "#!/no/such/shell\n")):
        (rootfs / "bin" / name).write_text(text)
        (rootfs / "bin" / name).chmod(0o755)
    error = stage.failure(stage.config(rootfs, program), context)
    assert str(error) == words
    assert type(error) is kind


def test_the_path_is_the_programs_own(rootfs: Path, context: Context) -> None:
    (rootfs / "opt").mkdir()
    (rootfs / "opt/tool").symlink_to("/bin/busybox")
    document = stage.config(rootfs, "tool")
    assert isinstance(stage.failure(document, context), CommandNotFound)
    document["process"]["env"] = ["PATH=/nowhere:/opt"]
    assert "not found" in stage.run(document, context).error  # busybox has no applet of that name: it did run


def test_stdin_reaches_the_program(image: Path, context: Context) -> None:
    read, write = os.pipe()
    out, into = os.pipe()
    born = birth.plan(runtimespec.decode(stage.config(image, "cat")), context)
    nascent = life.bear(born, life.Stdio(read, into, into))
    stage.follow(nascent)
    os.close(read)
    os.close(into)
    os.write(write, b"hello")
    os.close(write)
    assert stage.drain(out) == ("hello",)
    os.waitpid(nascent.pid, 0)
    os.close(nascent.pidfd)
    os.close(out)
    assert life.bury(context.cgroup, context.cgroup_layout) == life.Remains(0)


def test_more_descriptors_are_passed_on_in_order(image: Path, context: Context) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    pipes = [os.pipe() for _ in range(3)]
    born = birth.plan(runtimespec.decode(stage.config(image, "sh", "-c", 'for i in 3 4 5; do eval "echo $i >&$i"; done')), context)
    nascent = life.bear(born, life.Stdio(null, null, null, tuple(write for _, write in reversed(pipes))))
    stage.follow(nascent)
    assert nascent.failure is None
    for _, write in pipes:
        os.close(write)
    assert [stage.drain(read)[0] for read, _ in reversed(pipes)] == ["3\n", "4\n", "5\n"]
    os.waitpid(nascent.pid, 0)
    for descriptor in (nascent.pidfd, null, *(read for read, _ in pipes)):
        os.close(descriptor)
    life.bury(context.cgroup, context.cgroup_layout)


def test_explain_tells_every_step(image: Path, context: Context) -> None:
    born = birth.plan(runtimespec.decode(stage.config(image, "true")), context)
    with stage.Running(born, explain=True, cgroup=context.cgroup) as running:
        timings = running.finish().timings
    child = [timing.step for timing in timings if timing.side == "child"]
    assert child == list(born.child[:-1])  # execve does not return to tell
    parent = [timing.step.call for timing in timings if timing.side == "parent"]
    assert parent == [*(step.call for step in born.before), "clone3", *(step.call for step in born.beside)]
    assert all(timing.nanoseconds > 0 for timing in timings)


def test_nothing_is_timed_unasked(image: Path, context: Context) -> None:
    assert stage.run(stage.config(image, "true"), context).timings == []


def test_a_limit_that_the_kernel_refuses(image: Path, context: Context) -> None:
    document = stage.config(image, "true")
    document["linux"]["resources"]["cpu"] = {"cpus": "4000-4001"}
    with pytest.raises(InvalidArgument):
        stage.run(document, context)


def test_a_limit_above_the_hard_limit_needs_a_capability(image: Path, context: Context) -> None:
    """This machine's root lacks CAP_SYS_RESOURCE."""
    hard = int(
        next(line for line in Path("/proc/self/limits").read_text().splitlines() if line.startswith("Max open files")).split()[4]
    )
    error = stage.failure(
        stage.config(image, "true", rlimits=[{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]), context
    )
    assert "CAP_SYS_RESOURCE is missing" in str(error)


def test_limits_and_scores(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "ulimit -n; ulimit -H -n; cat /proc/self/oom_score_adj; cat /proc/self/personality")
    document["process"].update(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 12}], oomScoreAdj=321)
    document["linux"]["personality"] = {"domain": "LINUX32"}
    assert stage.run(document, context).lines == ["9", "12", "321", "00000008"]


def test_an_oom_score_that_needs_a_capability(image: Path, context: Context) -> None:
    error = stage.failure(stage.config(image, "true", oomScoreAdj=-500), context)
    assert "CAP_SYS_RESOURCE" in str(error)


def test_capabilities_that_nobody_has_are_warned_of(image: Path, context: Context) -> None:
    document = stage.config(image, "grep", "CapBnd", "/proc/self/status")
    for kind in ("bounding", "effective", "permitted"):
        document["process"]["capabilities"][kind] = ["CAP_SYS_RESOURCE", "CAP_KILL"]
    outcome = stage.run(document, context)
    assert outcome.lines == ["CapBnd:\t0000000000000020"]
    assert outcome.warnings == ["capabilities that this machine cannot grant: CAP_SYS_RESOURCE"]


def test_ambient_capabilities_reach_a_user(image: Path, context: Context) -> None:
    document = stage.config(image, "grep", "-E", "Cap(Eff|Amb)", "/proc/self/status")
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    document["process"]["capabilities"] = {kind: ["CAP_NET_RAW"] for kind in kinds}
    outcome = stage.run(document, dataclasses.replace(context, user="alice"))
    assert outcome.lines == ["CapEff:\t0000000000002000", "CapAmb:\t0000000000002000"]


def test_a_death_by_memory_is_counted(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo survived")
    document["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    born = birth.plan(runtimespec.decode(document), context)
    running = stage.Running(born)
    running.finish()
    remains = life.bury(context.cgroup, context.cgroup_layout)
    running.__exit__()
    assert remains.oom_kills > 0


def test_burying_kills_what_is_left(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "sleep 1000 & echo up; wait")
    document["linux"]["namespaces"] = [each for each in document["linux"]["namespaces"] if each["type"] != "pid"]
    born = birth.plan(runtimespec.decode(document), context)
    with stage.Running(born) as running:
        assert running.nascent is not None
        assert os.read(running.read_out, 10) == b"up\n"
        assert context.cgroup_layout is not None
        assert context.cgroup is not None
        group = context.cgroup_layout.place(context.cgroup)
        assert len(group.procs()) == 2
        os.kill(running.nascent.pid, signal.SIGKILL)
        os.waitpid(running.nascent.pid, 0)
        os.close(running.nascent.pidfd)
        running.nascent.pidfd = -1
        assert life.bury(context.cgroup, context.cgroup_layout).warnings == ()
        assert not group.exists()
    assert life.bury(context.cgroup, context.cgroup_layout) == life.Remains(0)


def test_scheduling(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "awk '{print $19, $41}' /proc/self/stat")
    document["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 3}
    document["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    assert stage.run(document, context).lines == ["3 3"]
