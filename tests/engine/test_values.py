"""Configuration, events, filters, names, the state table, rows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae import errors
from gorae.engine import config, filters
from gorae.engine.container import filter, names
from gorae.engine.container.entries import Entries, Entry
from gorae.engine.container.life import ALREADY, TRANSITIONS, Deed
from gorae.engine.container.model import Container, ContainerConfig, MountPoint, State, Status
from gorae.engine.container.record import Records
from gorae.engine.events import SUBSCRIBER_LIMIT, Events
from gorae.storage.db.database import Database


def made(number: int = 1, **fields: object) -> Container:
    settings: dict[str, object] = {
        "id": f"{number:064x}",
        "name": f"name{number}",
        "created_at": number,
        "image_id": "sha256:" + "a" * 64,
        "config": ContainerConfig(image="busybox"),
        "state": State(),
        "path": "sh",
    }
    return Container(**(settings | fields))  # type: ignore[arg-type]


# ── configuration ──


def test_the_configuration_speaks_dockers_keys(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"data-root": "/d", "log-opts": {"max-size": "1m"}, "default-shm-size": "1M", "init": True}))
    loaded = config.load(path, cgroup_parent="/x")
    assert loaded.data_root == Path("/d")
    assert (loaded.log_options, loaded.default_shm_size, loaded.init, loaded.cgroup_parent) == (
        {"max-size": "1m"},
        1 << 20,
        True,
        "/x",
    )
    assert config.load(tmp_path / "missing") == config.Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"data-rot": "/x"}', "did you mean 'data-root'"),
        ('{"data-root": "rel"}', "data-root must be an absolute path"),
        ('{"data-root": 1}', "data-root"),
        ('{"labels": "x"}', "`labels`"),
        ('{"log-driver": "fluentd"}', "log-driver"),
        ('{"cgroup-parent": "/a/../b"}', "cgroup-parent"),
        ('{"hosts": ["http://x"]}', "http://x"),
        ('{"default-shm-size": "lots"}', "invalid size"),
        ('{"default-ulimits": {"nope": {"Soft": 1, "Hard": 1}}}', "default-ulimits"),
        ('{"default-ulimits": {"nofile": {"Hard": 1}}}', "default-ulimits"),
        ('{"seccomp-profile": "mine.json"}', "absolute path"),
        ("[]", "an object is expected"),
        ("{", "not valid JSON"),
    ],
)
def test_bad_configurations_name_the_file_and_the_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(text)
    with pytest.raises(errors.InvalidArgument, match=words):
        config.load(path)


def test_a_seccomp_profile_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(errors.InvalidArgument, match="cannot be read"):
        config.seccomp_profile(config.Config(seccomp_profile=str(path)))
    path.write_text("{}")
    assert config.seccomp_profile(config.Config(seccomp_profile=str(path))) == "{}"
    assert config.seccomp_profile(config.Config(seccomp_profile="unconfined")) == "unconfined"


def test_every_key_is_a_field() -> None:
    assert set(config.KEYS.values()) == set(config.Config.__struct_fields__)


# ── events ──


async def collect(events: Events, **arguments: object) -> list[str]:
    subscription = events.subscribe(**arguments)  # type: ignore[arg-type]
    subscription.end()
    return [event.action async for event in subscription]


async def test_events_are_replayed_and_bounded() -> None:
    events = Events(size=3)
    for moment in range(1, 6):
        events.publish("container", f"a{moment}", "id", {}, time=moment)
    assert await collect(events, since=1) == ["a3", "a4", "a5"]
    assert await collect(events, since=4) == ["a4", "a5"]
    assert await collect(events, until=4) == ["a3", "a4"]
    assert await collect(events) == []


async def test_live_events_end_at_until() -> None:
    events = Events()
    subscription = events.subscribe(until=__import__("time").time_ns() + 50_000_000)
    events.publish("container", "start", "id", {})
    assert [event.action async for event in subscription] == ["start"]
    assert events.listeners == 0


async def test_a_subscriber_that_does_not_read_loses_its_subscription() -> None:
    events = Events()
    subscription = events.subscribe()
    for _ in range(SUBSCRIBER_LIMIT + 1):
        events.publish("container", "start", "id", {})
    assert events.listeners == 0
    for _ in range(SUBSCRIBER_LIMIT):
        await anext(subscription)
    with pytest.raises(errors.Unavailable):
        await anext(subscription)


async def test_events_are_filtered_as_dockers() -> None:
    events = Events()
    events.publish("container", "exec_create: sh", "abc", {"name": "web", "image": "busybox:latest", "k": "v"}, time=1)
    events.publish("image", "tag", "sha256:1", {"name": "busybox:latest"}, time=2)
    for wanted, count in (
        ({"type": ("image",)}, 1),
        ({"event": ("exec_create",)}, 1),
        ({"event": ("exec_create: sh",)}, 1),
        ({"event": ("exec",)}, 0),
        ({"container": ("web",)}, 1),
        ({"container": ("ab",)}, 1),
        ({"container": ("x",)}, 0),
        ({"image": ("busybox",)}, 2),
        ({"image": ("busybox:latest",), "type": ("container",)}, 1),
        ({"label": ("k=v",)}, 1),
        ({"label": ("k=w",)}, 0),
        ({"scope": ("local",)}, 2),
    ):
        assert len(await collect(events, since=1, filters=wanted)) == count, wanted
    with pytest.raises(errors.InvalidArgument, match="invalid filter 'nope'"):
        events.subscribe(filters={"nope": ("x",)})


# ── filters ──


def chosen(wanted: filters.Filters, *containers: Container, all: bool = True) -> list[str]:
    table = {each.name: each for each in containers}

    def find(reference: str) -> Container:
        try:
            return table[reference]
        except KeyError:
            raise errors.NotFound(f"No such container: {reference}") from None

    return [
        each.name for each in filter.select(containers, wanted, all=all, find=find, image_id={"busybox": "sha256:" + "a" * 64}.get)
    ]


def test_containers_are_filtered() -> None:
    one = made(1, labels={"a": "1", "b": "2"})
    two = made(2, state=State(status="running", started_at=1), image_id="sha256:b", config=ContainerConfig(image="other"))
    three = made(
        3,
        state=State(status="exited", exit_code=3),
        mounts=(MountPoint(type="bind", source="/s", destination="/d"),),
        config=ContainerConfig(image="busybox", network_mode="host"),
    )
    group = (one, two, three)
    assert chosen({}, *group, all=False) == ["name2"]
    assert chosen({}, *group) == ["name3", "name2", "name1"]
    for wanted, expected in (
        ({"status": ("exited", "created")}, ["name3", "name1"]),
        ({"exited": ("3",)}, ["name3"]),
        ({"exited": ("0",)}, []),
        ({"name": ("ame1$",)}, ["name1"]),
        ({"name": ("^/name2",)}, ["name2"]),
        ({"name": ("[",)}, []),
        ({"id": (one.id[:63],)}, ["name3", "name2", "name1"]),
        ({"id": (one.id,)}, ["name1"]),
        ({"label": ("a", "b=2")}, ["name1"]),
        ({"label": ("a", "b=3")}, []),
        ({"ancestor": ("busybox",)}, ["name3", "name1"]),
        ({"ancestor": ("other",)}, ["name2"]),
        ({"before": ("name2",)}, ["name1"]),
        ({"since": ("name2",)}, ["name3"]),
        ({"volume": ("/d",)}, ["name3"]),
        ({"network": ("host",)}, ["name3"]),
        ({"health": ("healthy",)}, []),
        ({"is-task": ("true",)}, []),
    ):
        assert chosen(wanted, *group) == expected, wanted
    with pytest.raises(errors.NotFound):
        chosen({"before": ("nobody",)}, *group)


@pytest.mark.parametrize(
    "wanted", [{"nope": ("x",)}, {"status": ("asleep",)}, {"exited": ("x",)}, {"is-task": ("maybe",)}, {"health": ("x",)}]
)
def test_unknown_filters_are_refused(wanted: filters.Filters) -> None:
    with pytest.raises(errors.InvalidArgument, match="invalid filter"):
        chosen(wanted)


# ── names ──


@pytest.mark.parametrize("name", ["", "a", "/", "/a", "-ab", ".ab", "a b", "ab/c", "ab\n", "a\u0301b", "é0", "x" * 256])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="Invalid container name"):
        names.check_name(name)


def test_names_and_ids() -> None:
    assert names.check_name("/ab.c_d-e") == "ab.c_d-e"
    assert names.check_name(names.new_name(lambda name: False))
    assert names.ID.fullmatch(names.new_id())
    taken = {"agile_agnesi", "agile_agnesi1"}
    assert names.new_name(taken.__contains__, choose=lambda words: words[0]) == "agile_agnesi2"


@given(st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_checked_name_is_safe_everywhere(name: str) -> None:
    try:
        checked = names.check_name(name)
    except errors.InvalidArgument:
        return
    assert checked.isascii()
    assert "/" not in checked
    assert len(checked) >= 2


async def test_entries_are_found_by_name_id_and_prefix() -> None:
    entries = Entries()
    for number in (0x10, 0x11):
        entries.add(Entry(made(number, id=f"{number:x}" + "e" * 62)))
    assert entries.find("name16").id == entries.find("/name16").id == entries.find("10").id
    with pytest.raises(errors.InvalidArgument, match="Multiple IDs found with provided prefix: 1"):
        entries.find("1")
    for reference in ("", "zz", "name"):
        with pytest.raises(errors.NotFound, match=f"No such container: {reference}"):
            entries.find(reference)
    with pytest.raises(errors.Conflict, match='container name "/name16" is already in use by container "10e'):
        entries.claim("name16", "other")
    entries.claim("new", "other")
    assert entries.taken("new")
    entries.release("new", "other")
    assert not entries.taken("new")


# ── states ──


def test_the_state_table_is_closed() -> None:
    assert set(TRANSITIONS) == set(get_args(Deed))
    statuses = set(get_args(Status))
    for deed, moves in TRANSITIONS.items():
        assert set(moves) <= statuses
        assert set(moves.values()) <= statuses
        assert not set(moves) & set(ALREADY.get(deed, ())), deed
    reachable = {"created"}
    for _ in statuses:
        reachable |= {end for moves in TRANSITIONS.values() for begin, end in moves.items() if begin in reachable}
    assert reachable == statuses


async def test_those_who_wait_are_told() -> None:
    entry = Entry(made(state=State(status="running", started_at=1)))
    not_running, next_exit, removed = entry.wait("not-running"), entry.wait("next-exit"), entry.wait("removed")
    given_up = entry.wait("not-running")
    given_up.cancel()
    entry.set_state(State(status="exited", exit_code=5))
    entry.tell("not-running", "next-exit")
    assert (await not_running).exit_code == (await next_exit).exit_code == 5
    assert not removed.done()
    assert (await entry.wait("not-running")).exit_code == 5
    entry.tell("removed")
    assert (await removed).exit_code == 5


# ── rows ──


async def test_rows_outlive_the_process(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "db")
    records = Records(database)
    one = made(1, labels={"a": "b"}, config=ContainerConfig(image="x", tmpfs={"/t": "size=1"}, init=False))
    await records.insert(one)
    with pytest.raises(errors.Conflict, match='name "/name1" is already in use'):
        await records.insert(msgspec.structs.replace(one, id="2" * 64))
    running = msgspec.structs.replace(one, state=State(status="running", pid=7, started_at=9))
    await records.update(running, {"token": 1})
    await records.insert(made(2))
    with pytest.raises(errors.Conflict, match="already in use"):
        await records.rename(msgspec.structs.replace(running, name="name2"))
    await records.rename(msgspec.structs.replace(running, name="renamed"))
    database.close()
    database = Database.open(tmp_path / "db")
    records = Records(database)
    rows = records.all()
    assert [row.container.name for row in rows] == ["renamed", "name2"]
    assert rows[0].container == msgspec.structs.replace(running, name="renamed")
    assert rows[0].handle == {"token": 1}
    await records.delete(one.id)
    assert len(records.all()) == 1
    await asyncio.to_thread(database.close)
