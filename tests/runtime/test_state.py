"""What is remembered of a container: files, locks and the status that follows from them."""

from __future__ import annotations

import os
import string
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import Conflict, CorruptData, InvalidArgument, NotFound
from gorae.runtime import state
from gorae.runtime.state import Entry, Record, Store

RECORD = Record(
    id="box",
    bundle="/b",
    oci_version="1.2.0",
    created="2026-01-01T00:00:00Z",
    cgroup="/g/box",
    rootfs="/b/rootfs",
    annotations={"a": "ö"},
)
NAMES = st.text(string.ascii_letters + string.digits + "_+-.", min_size=1, max_size=255)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def make(store: Store, record: Record = RECORD) -> Entry:
    return store.create(record, b'{"ociVersion": "1.2.0"}')


def test_what_is_written_is_read(store: Store) -> None:
    with make(store):
        pass
    with store.open("box") as entry:
        assert entry.record == RECORD
        assert entry.spec().ociVersion == "1.2.0"
    assert store.identifiers() == ["box"]
    assert not [name for name in os.listdir(entry.directory) if name.endswith(".new")]


def test_a_name_is_taken_once(store: Store) -> None:
    make(store).close()
    with pytest.raises(Conflict, match="exists already"):
        make(store)
    with pytest.raises(NotFound, match="does not exist"):
        store.open("other")
    with store.open("box", lock=True) as entry:
        entry.destroy()
    assert store.identifiers() == []
    make(store).close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "~a", "a\n", "ä", "x" * 256, "a\0"])
def test_names_that_are_no_names(store: Store, name: str) -> None:
    for attempt in (lambda: store.open(name), lambda: make(store, replace(RECORD, id=name)), lambda: store.fifo(name)):
        with pytest.raises(InvalidArgument, match="invalid container id"):
            attempt()
    assert not os.path.exists(store.root)


@settings(max_examples=50, deadline=None)
@given(NAMES.filter(lambda name: name not in (".", "..")))
def test_names_that_are_names(name: str) -> None:
    state.check_id(name)
    assert os.path.basename(os.path.join("/r", name)) == name


class TestStatus:
    def test_of_a_container_that_is_being_made(self, store: Store) -> None:
        with make(store) as maker:
            with store.open("box") as other:
                assert other.status() == "creating"
            assert maker.status() == "stopped"  # who holds the lock knows that nobody is making it
        with store.open("box") as other:
            assert other.status() == "stopped"

    def test_follows_the_process(self, store: Store, sleeper: subprocess.Popen[bytes]) -> None:
        with make(store) as entry:
            entry.make_barrier(os.geteuid(), os.getegid())
            entry.born(sleeper.pid)
            assert entry.status() == "created"
            os.unlink(entry.fifo)
            assert entry.status() == "running"
            sleeper.kill()
            os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
            assert entry.status() == "stopped"  # a zombie
            sleeper.wait()
            assert entry.status() == "stopped"

    def test_another_process_with_the_same_number_is_another(self, store: Store, sleeper: subprocess.Popen[bytes]) -> None:
        with make(store) as entry:
            entry.save(replace(RECORD, pid=sleeper.pid, start_time=state.start_time(sleeper.pid) - 1))
            assert entry.status() == "stopped"

    def test_names_of_programs_do_not_confuse(self, tmp_path: Path) -> None:
        program = tmp_path / "a) Z 1 ("
        program.symlink_to("/bin/sleep")
        odd = subprocess.Popen([str(program), "1000"])
        try:
            assert state.lives(odd.pid, state.start_time(odd.pid))
        finally:
            odd.kill()
            odd.wait()
        assert state.start_time(odd.pid) == 0


class TestLock:
    def test_one_after_the_other(self, store: Store) -> None:
        make(store).close()
        order: list[str] = []
        first = store.open("box", lock=True)

        def second() -> None:
            with store.open("box", lock=True):
                order.append("second")

        waiting = threading.Thread(target=second)
        waiting.start()
        order.append("first")
        first.close()
        waiting.join(20)
        assert order == ["first", "second"]

    def test_who_waited_for_a_deleted_container_learns_it(self, store: Store) -> None:
        make(store).close()
        first = store.open("box", lock=True)
        errors: list[Exception] = []

        def second() -> None:
            try:
                store.open("box", lock=True)
            except NotFound as error:
                errors.append(error)

        waiting = threading.Thread(target=second)
        waiting.start()
        first.destroy()
        waiting.join(20)
        assert len(errors) == 1
        assert store.identifiers() == []

    def test_the_kernel_gives_it_back_when_its_holder_dies(self, store: Store) -> None:
        make(store).close()
        pid = os.fork()
        if pid == 0:
            store.open("box", lock=True)
            os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)
        store.open("box", lock=True).close()


class TestRemains:
    """Of a runtime that was killed."""

    def test_an_empty_directory(self, store: Store) -> None:
        os.makedirs(os.path.join(store.root, "box"))
        with store.open("box", lock=True) as entry:
            assert entry.status() == "stopped"
            assert entry.config() == {}
            entry.destroy()
        assert os.listdir(store.root) == []

    def test_a_file_half_written(self, store: Store) -> None:
        make(store).close()
        Path(store.root, "box", "state.json.new").write_text('{"id": "b')
        with store.open("box", lock=True) as entry:
            assert entry.record == RECORD
            entry.born(os.getpid())
            assert entry.load().pid == os.getpid()

    def test_a_delete_half_done(self, store: Store) -> None:
        make(store).close()
        os.rename(os.path.join(store.root, "box"), os.path.join(store.root, "~box"))
        assert store.identifiers() == []
        make(store).close()
        with store.open("box", lock=True) as entry:
            entry.destroy()
        assert os.listdir(store.root) == []

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 5, "colour": "red"}', "\xff"])
    def test_a_state_that_is_none(self, store: Store, text: str) -> None:
        make(store).close()
        Path(store.root, "box", "state.json").write_text(text, encoding="latin-1")
        with pytest.raises((CorruptData, InvalidArgument), match=r"state\.json"):
            store.open("box")
        with store.open("box", lock=True, unreadable=True) as entry:
            assert (entry.record.id, entry.record.pid, entry.record.cgroup) == ("box", 0, None)


def test_the_state_as_the_specification_has_it() -> None:
    told = state.oci_state(replace(RECORD, pid=7), "running")
    assert told.items() >= {"ociVersion": "1.2.0", "id": "box", "status": "running", "pid": 7, "bundle": "/b"}.items()
    assert told["annotations"] == {"a": "ö"}
    assert state.oci_state(replace(RECORD, pid=7), "stopped")["pid"] == 0


def test_where_the_states_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/5")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state.default_root() == "/run/gorae-runtime"
    monkeypatch.setattr(os, "geteuid", lambda: 5)
    assert state.default_root() == "/run/user/5/gorae-runtime"
