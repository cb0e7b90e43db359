"""A cgroup on v2, against a directory tree that behaves like one (this kind of machine has its controllers on v1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cgroup.unified import Unified

from gorae.cgroup import limits
from gorae.cgroup.limits import Write
from gorae.errors import Conflict, InvalidArgument, NotFound, Unavailable
from gorae.oci.runtimespec import CPU, Memory, Pids, Resources


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unified:
    tree = Unified(tmp_path / "cgroup")
    tree.install(monkeypatch)
    return tree


def test_controllers_are_enabled_from_the_top_down(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    names = ("cpu", "cpuset", "memory", "pids")
    assert unified.written == [(f"{place}cgroup.subtree_control", f"+{name}") for place in ("", "gorae/") for name in names]
    assert (unified.root / "gorae/a/memory.max").exists()
    unified.written.clear()
    unified.layout().place("/gorae/b").create()
    assert unified.written == []


def test_a_parent_made_by_others_gets_its_controllers(unified: Unified) -> None:
    unified.mkdir(str(unified.root / "gorae"))
    unified.layout().place("/gorae/a").create()
    assert (unified.root / "gorae/a/pids.max").exists()


def test_what_cannot_be_enabled_becomes_a_warning(unified: Unified) -> None:
    unified.busy.add(".")
    layout = unified.layout()
    group = layout.place("/gorae/a")
    group.create()
    writes, warnings = limits.files(Resources(pids=Pids(5)), layout)
    assert warnings == ()
    assert group.apply(writes) == ("pids.max is not enforced: this host's kernel does not have it",)


def test_limits_are_written(unified: Unified) -> None:
    layout = unified.layout()
    group = layout.place("/gorae/a")
    group.create()
    resources = Resources(memory=Memory(limit=100, swap=150), cpu=CPU(quota=5, period=10), pids=Pids(-1))
    writes, warnings = limits.files(resources, layout)
    assert (warnings, group.apply(writes)) == ((), ())
    place = unified.root / "gorae/a"
    found = {name: (place / name).read_text().strip() for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")}
    assert found == {"memory.max": "100", "memory.swap.max": "50", "cpu.max": "5 10", "pids.max": "max"}


def test_a_limit_below_what_is_in_use_is_refused_when_asked(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    (unified.root / "gorae/a/memory.current").write_text("101\n")
    with pytest.raises(Conflict, match="is already higher"):
        group.apply((Write("memory", "memory.max", "100", unless_above="memory.current"),))
    assert group.apply((Write("memory", "memory.max", "101", unless_above="memory.current"),)) == ()


def test_limits_need_a_cgroup(unified: Unified) -> None:
    with pytest.raises(NotFound, match="cgroup /gorae/x does not exist"):
        unified.layout().place("/gorae/x").apply((Write("memory", "memory.max", "100"),))


def test_freeze_waits_and_gives_up(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    assert not group.frozen()
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()
    unified.stuck = True
    with pytest.raises(Unavailable, match="uninterruptible"):
        group.freeze(patience=0.02)
    assert not group.frozen()


def test_kill_and_counts(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.kill()  # nothing there is nothing to kill
    group.create()
    group.kill()
    assert unified.written[-1] == ("gorae/a/cgroup.kill", "1")
    (unified.root / "gorae/a/memory.events").write_text("oom 3\noom_kill 2\noom_group_kill 0\n")
    assert group.oom_kills() == 2
    assert group.paths()["memory"] == group.paths()["devices"] == group.paths()[""] == str(unified.root / "gorae/a")


def test_an_oom_event_wakes(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    watch = group.watch_oom()
    assert watch is not None
    with watch:
        assert not watch.drain()
        (unified.root / "gorae/a/memory.events").write_text("oom_kill 1\n")
        assert watch.drain()
        assert not watch.drain()


def test_create_refuses_one_with_processes(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    group.create()
    (unified.root / "gorae/a/cgroup.procs").write_text("4194000\n")
    with pytest.raises(Conflict, match="holds processes 4194000"):
        group.create()


def test_remove_takes_what_the_container_made(unified: Unified) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    for below in ("gorae/a/x", "gorae/a/x/y", "gorae/a/z"):
        unified.mkdir(str(unified.root / below))
    group.remove()
    assert not group.exists()
    group.remove()


def test_a_bad_value_is_the_callers(unified: Unified, monkeypatch: pytest.MonkeyPatch) -> None:
    group = unified.layout().place("/gorae/a")
    group.create()
    refusals = ((22, InvalidArgument, "invalid argument"), (16, Conflict, "in use"), (5, Unavailable, "input/output"))
    for number, kind, words in refusals:

        def refuse(path: str, value: str, number: int = number) -> None:
            raise OSError(number, "write")

        monkeypatch.setattr("gorae.cgroup.files.write", refuse)
        with pytest.raises(kind, match=words):
            group.apply((Write("memory", "memory.max", "5"),))
