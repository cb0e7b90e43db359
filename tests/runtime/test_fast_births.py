"""Births by the fast executor: which ones, how many at once, what the child can see of us, and that every op may fail.

What a container promises is asked of both executors elsewhere (`conftest.BOTH`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import BirthError, CommandNotFound
from gorae.oci import runtimespec
from gorae.runtime import birth, life
from gorae.runtime.birth import Context, Living, RootMount
from gorae.runtime.fast import arena, flight
from tests.engine import test_spec
from tests.runtime import stage
from tests.runtime.conftest import snapshot

pytestmark = pytest.mark.kernel
CAPABILITIES = dict.fromkeys(("bounding", "effective", "permitted"), stage.CAPABILITIES)


@pytest.fixture(autouse=True)
def boarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Who bore each child of the test: "fast", "plain", and "gave up" after a "fast"."""
    if arena.open_pool() is None:
        pytest.skip("no fast executor on this machine")
    told: list[str] = []
    board, failure = flight.board, flight.Flight.failure

    def boarding(*arguments: Any) -> flight.Flight | None:
        found = board(*arguments)
        told.append("fast" if found else "plain")
        return found

    def failing(self: flight.Flight) -> BirthError:
        try:
            return failure(self)
        except flight.GiveUp:
            told.append("gave up")
            raise

    monkeypatch.setattr(flight, "board", boarding)
    monkeypatch.setattr(flight.Flight, "failure", failing)
    free = len(arena.open_pool().free)  # type: ignore[union-attr]
    yield told
    assert len(arena.open_pool().free) == free  # type: ignore[union-attr]


def docker_like(image: Path, where: Path, context: Context, **fields: object) -> tuple[runtimespec.Spec, Context]:
    """What the engine writes for a container with its three files of the network, an overlay and no network."""
    for name in ("hosts", "hostname", "resolv.conf"):
        (where / name).write_text(f"{name} of the engine\n")
    made = dataclasses.replace  # the container is a msgspec struct: the paths go in by its own fields
    container = test_spec.container(**fields)
    spec = runtimespec.decode(json.loads(json.dumps(runtimespec.encode(test_spec.told(container)))))
    mounts = tuple(
        made(entry, source=str(where / Path(entry.destination).name)) if (entry.source or "").startswith("/d/") else entry
        for entry in spec.mounts
    )
    for name in ("merged", "upper", "work"):
        (where / name).mkdir()
    options = (f"lowerdir={image}", f"upperdir={where}/upper", f"workdir={where}/work")
    rootfs = (RootMount("overlay", "overlay", options),)
    root = runtimespec.Root(path=str(where / "merged"))
    return made(spec, mounts=mounts, root=root), made(context, rootfs=rootfs, user="0")


def with_args(spec: runtimespec.Spec, *args: str) -> runtimespec.Spec:
    assert spec.process is not None
    return dataclasses.replace(spec, process=dataclasses.replace(spec.process, args=args))


def test_what_the_engine_asks_for_is_fast(image: Path, tmp_path: Path, context: Context, boarded: list[str]) -> None:
    spec, context = docker_like(image, tmp_path, context)
    outcome = stage.run(with_args(spec, "sh", "-c", "cat /etc/hosts; id; echo $HOME; readlink /proc/self/ns/time"), context)
    assert boarded == ["fast"]
    assert outcome.lines[:3] == ["hosts of the engine", "uid=0(root) gid=0(root) groups=0(root)", "/root"]
    assert outcome.lines[3] != os.readlink("/proc/self/ns/time")


@pytest.mark.parametrize("fields", [{"tty": True}, {"user": "alice"}, {"read_only": True}, {"privileged": True}], ids=str)
def test_its_options_too(image: Path, tmp_path: Path, context: Context, boarded: list[str], fields: dict[str, object]) -> None:
    spec, context = docker_like(image, tmp_path, context, **fields)
    with stage.Running(birth.plan(with_args(spec, "sleep", "1000"), context), cgroup=context.cgroup):
        assert boarded == ["fast"]


def test_a_network_that_is_joined(image: Path, tmp_path: Path, context: Context, boarded: list[str]) -> None:
    spec, context = docker_like(image, tmp_path, context)
    assert spec.linux is not None
    own = "/proc/self/ns/net"
    joined = tuple(dataclasses.replace(each, path=own) if each.type == "network" else each for each in spec.linux.namespaces)
    spec = dataclasses.replace(spec, linux=dataclasses.replace(spec.linux, namespaces=joined))
    assert stage.run(with_args(spec, "readlink", own), context).lines == [os.readlink(own)]
    assert boarded == ["fast"]


@pytest.fixture
def living(image: Path, tmp_path: Path, context: Context) -> Iterator[Living]:
    spec, context = docker_like(image, tmp_path, context)
    spec = with_args(spec, "sleep", "1000")
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        yield Living(running.nascent.pid, spec, running.nascent.pidfd)


def plan_exec(living: Living, context: Context, *args: str) -> birth.Birth:
    given = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "capabilities": CAPABILITIES}
    return birth.plan_exec(runtimespec.decode_process(given), living, dataclasses.replace(context, user="0"))


def test_exec_is_fast_and_joins_the_time_namespace(living: Living, context: Context, boarded: list[str]) -> None:
    with stage.Running(plan_exec(living, context, "readlink", "/proc/self/ns/time")) as running:
        assert running.finish().lines == [os.readlink(f"/proc/{living.pid}/ns/time")]
    assert boarded[-1] == "fast"


def test_nobody_shares_the_pid_namespace_of_a_fast_child(image: Path, context: Context, boarded: list[str]) -> None:
    """Whoever may look into the child could write to memory that other births use."""
    document = stage.config(image, "true")
    document["linux"]["namespaces"] = [each for each in document["linux"]["namespaces"] if each["type"] != "pid"]
    stage.run(document, context)
    document["linux"]["namespaces"].append({"type": "pid", "path": "/proc/self/ns/pid"})
    stage.run(document, context)
    assert boarded == ["plain", "plain"]


def test_exec_into_a_container_that_may_trace_is_plain(image: Path, context: Context, boarded: list[str]) -> None:
    document = stage.config(image, "sleep", "1000")
    for kind in ("bounding", "effective", "permitted"):
        document["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    spec = runtimespec.decode(document)
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        living = Living(running.nascent.pid, spec, running.nascent.pidfd)
        with stage.Running(plan_exec(living, context, "true")) as inside:
            inside.finish()
    assert boarded == ["fast", "plain"]


def test_a_link_on_the_way_is_for_plain(rootfs: Path, tmp_path: Path, context: Context, boarded: list[str]) -> None:
    (rootfs / "elsewhere").mkdir()
    (rootfs / "data").symlink_to("/elsewhere")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/here").touch()
    document = stage.config(rootfs, "sh", "-c", "ls /elsewhere; cat /proc/self/oom_score_adj", oomScoreAdj=7)
    document["mounts"].append({"destination": "/data", "type": "bind", "source": str(tmp_path / "volume"), "options": ["rbind"]})
    assert stage.run(document, context).lines == ["here", "7"]
    assert boarded == ["fast", "gave up"]


def test_what_plain_cannot_do_either_is_told_once(rootfs: Path, context: Context, boarded: list[str]) -> None:
    (rootfs / "data").symlink_to("/proc/sys")
    document = stage.config(rootfs, "true")
    document["mounts"].append({"destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind"]})
    error = stage.failure(document, context)
    assert boarded == ["fast", "gave up"]
    assert error.step == "bind_in_root"


def ops_of(born: birth.Birth, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many there are, the data between them included."""
    counted: list[int] = []

    def count(found: flight.Flight) -> int:
        counted.append(len(found._code) // 64)
        return 0

    monkeypatch.setattr(flight, "fault", count)
    with pytest.raises(BirthError):
        stage.Running(born)
    return counted[0]


def real_ops(found: flight.Flight) -> set[int]:
    return {
        start // 64 + number
        for start, lowered in zip(found.starts, found._steps, strict=True)
        for number in range(len(lowered.tells))
    }


def outcome(born: birth.Birth, cgroup: str | None) -> BirthError | None:
    """None when it ran."""
    try:
        with stage.Running(born, cgroup=cgroup) as running:
            assert running.finish().status == 0
    except BirthError as error:
        return error
    return None


def every_op_fails(born: birth.Birth, cgroup: str | None, monkeypatch: pytest.MonkeyPatch, stride: int) -> int:
    failed = 0
    before = snapshot()
    for wanted in range(0, ops_of(born, monkeypatch), stride):
        met: list[bool] = []

        def fault(found: flight.Flight, wanted: int = wanted, met: list[bool] = met) -> int:
            met.append(wanted in real_ops(found))
            return wanted * 64

        monkeypatch.setattr(flight, "fault", fault)
        error = outcome(born, cgroup)
        if error is not None:
            failed += 1
            assert met[0]
            assert error.errno == 5, (wanted, error)
            assert error.step in {step.call for step in born.child}
        assert snapshot() == before, wanted
    return failed


def test_every_op_of_a_birth_may_fail(
    image: Path, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch, boarded: list[str]
) -> None:
    spec, context = docker_like(image, tmp_path, context, user="alice")
    born = birth.plan(with_args(spec, "true"), context)
    assert every_op_fails(born, context.cgroup, monkeypatch, 3) > 100
    assert set(boarded) == {"fast"}


def test_every_op_of_an_exec_may_fail(
    living: Living, context: Context, monkeypatch: pytest.MonkeyPatch, boarded: list[str]
) -> None:
    assert every_op_fails(plan_exec(living, context, "true"), None, monkeypatch, 1) > 60
    assert set(boarded) == {"fast"}


def test_more_at_once_than_there_are_arenas(image: Path, context: Context, boarded: list[str]) -> None:
    contexts = [dataclasses.replace(context, cgroup=f"{context.cgroup}-{number}", user="bob") for number in range(arena.MOST + 3)]
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    flying = [
        life.bear(birth.plan(runtimespec.decode(stage.config(image, "true")), each), life.Stdio(null, null, null))
        for each in contexts
    ]
    for nascent, each in zip(flying, contexts, strict=True):
        stage.follow(nascent)
        assert nascent.failure is None
        assert os.waitpid(nascent.pid, 0)[1] == 0
        os.close(nascent.pidfd)
        life.bury(each.cgroup, each.cgroup_layout)
    os.close(null)
    assert boarded == ["fast"] * arena.MOST + ["plain"] * 3


def test_a_child_has_nothing_of_our_memory(image: Path, context: Context, boarded: list[str]) -> None:
    """It stops at its identity, until somebody calls advance; there it is looked at."""
    born = birth.plan(runtimespec.decode(stage.config(image, "true")), dataclasses.replace(context, user="0"))
    nascent = life.bear(born, life.Stdio())
    try:
        maps = Path(f"/proc/{nascent.pid}/maps").read_text()
        assert "[heap]" not in maps
        assert "[stack]" not in maps
        assert ".so" not in maps
        assert "python" not in maps
        ours = len(Path("/proc/self/maps").read_text().splitlines())
        assert len(maps.splitlines()) < min(16, ours)
        assert not re.search(r"^[0-9a-f]+-[0-9a-f]+ .wx", maps, re.M)
    finally:
        nascent.abort()
    assert boarded == ["fast"]


def test_we_can_fork_as_before(image: Path, context: Context, boarded: list[str]) -> None:
    """Nothing of ours stays marked MADV_DONTFORK."""
    stage.run(stage.config(image, "true"), context)
    assert not re.search(r"^VmFlags:.* dc( |$)", "\n".join(own_flags()), re.M)


def own_flags() -> list[str]:
    """VmFlags of our mappings, without the kernel's own, which are special."""
    found, name = [], ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            name = line.split()[-1]
        elif line.startswith("VmFlags:") and name not in ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]"):
            found.append(line)
    return found


def test_a_child_that_dies_without_a_word(image: Path, context: Context, boarded: list[str]) -> None:
    born = birth.plan(runtimespec.decode(stage.config(image, "true")), dataclasses.replace(context, user="0"))
    nascent = life.bear(born, life.Stdio())
    os.kill(nascent.pid, 9)
    stage.follow(nascent)
    assert "ended by signal 9 before its program ran" in str(nascent.failure)


def test_warnings_and_timings(image: Path, context: Context, boarded: list[str]) -> None:
    document = stage.config(image, "true")
    document["process"]["capabilities"]["bounding"].append("CAP_SYS_RESOURCE")
    outcome = stage.run(document, context, explain=True)
    assert outcome.warnings == ["capabilities that this machine cannot grant: CAP_SYS_RESOURCE"]
    assert sum(timing.side == "child" for timing in outcome.timings) > 50
    assert boarded == ["fast"]


def test_a_passwd_beyond_all_measure(rootfs: Path, context: Context, boarded: list[str]) -> None:
    (rootfs / "etc/passwd").write_bytes(b"x" * ((1 << 20) + 1))
    error = stage.failure(stage.config(rootfs, "true"), dataclasses.replace(context, user="alice"))
    assert "more than 1048576 bytes" in str(error)
    assert boarded == ["fast"]


def test_a_very_long_command_line(image: Path, context: Context, boarded: list[str]) -> None:
    """It does not fit into an arena."""
    words = ["x" * 100_000 + str(number) for number in range(11)]
    assert stage.run(stage.config(image, "sh", "-c", "echo $#", "sh", *words), context).lines == ["11"]
    assert boarded == ["plain"]


def test_a_missing_command(image: Path, context: Context, boarded: list[str]) -> None:
    assert isinstance(stage.failure(stage.config(image, "missing"), context), CommandNotFound)
    assert boarded == ["fast"]
