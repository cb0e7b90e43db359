"""From a configuration to a row: history, times, names of trees."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.engine.image import builtin, record
from gorae.engine.image.catalogue import name_meant
from gorae.engine.image.model import HealthCheck, ImageConfig
from gorae.errors import InvalidArgument
from gorae.oci import imageconfig

LAYER = "sha256:" + "1" * 64


def configuration(**fields: object) -> bytes:
    whole = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [LAYER, LAYER]}, **fields}
    return json.dumps(whole).encode()


def test_a_configuration_becomes_a_record_and_comes_back() -> None:
    config = ImageConfig(
        user="u",
        exposed_ports=("1/tcp", "2/udp"),
        env=("A=b",),
        entrypoint=("e",),
        cmd=(),
        volumes=("/v",),
        working_dir="/w",
        labels={"a": "b"},
        stop_signal="SIGINT",
        healthcheck=HealthCheck(test=("CMD", "x"), interval=5, retries=2),
        on_build=("RUN x",),
        shell=("sh",),
    )
    document = imageconfig.ImageConfig("arm64", "linux", imageconfig.RootFS("layers"), record.to_oci(config), variant="v8")
    data = imageconfig.encode(document)
    found = record.describe(data, [])
    assert found.image.config == config
    assert (found.image.architecture, found.image.variant) == ("arm64", "v8")
    assert found.image.id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert record.decode(record.encode(found)) == found


def test_history_is_newest_first_and_only_the_image_itself_has_an_id() -> None:
    steps = [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}, {"created_by": "c", "created": "1970-01-01T00:00:01Z"}]
    items = record.steps(record.describe(configuration(history=steps), [10, 20]))
    assert [(item.created_by, item.size, item.created) for item in items] == [("c", 20, 10**9), ("b", 0, 0), ("a", 10, 0)]
    assert items[0].id.startswith("sha256:")
    assert {item.id for item in items[1:]} == {"<missing>"}
    assert record.steps(record.describe(configuration(), [1, 2])) == ()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b"null",
        configuration(os="windows"),
        configuration(config={"Env": "A=b"}),
        configuration(config={"Env": [1]}),
        configuration(config={"Labels": {"a": 1}}),
        configuration(rootfs={"type": "layers", "diff_ids": ["../x"]}),
        configuration(rootfs={"type": "layers", "diff_ids": [LAYER] * 2000}),
        configuration(config={"Cmd": ["a\0b"]}),
        configuration(author="x" * (9 << 20)),
        b'{"os":"linux","os":"linux"}',
    ],
)
def test_hostile_configurations(bad: bytes) -> None:
    with pytest.raises(InvalidArgument):
        record.describe(bad, [])


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-02-29T12:00:00.5+02:00", 1709200800_500000000),
        ("2024-02-29T12:00:00.123456789-01:30", 1709213400_123456789),
        ("1969-12-31T23:59:59Z", -(10**9)),
        ("2016-12-31T23:59:60Z", 1483228799_000000000),
        ("0001-01-01T00:00:00Z", -62135596800 * 10**9),
        ("2024-13-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times(text: str | None, nanoseconds: int | None) -> None:
    assert record.nanoseconds(text) == nanoseconds


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4 * 10**18))
def test_times_there_and_back(nanoseconds: int) -> None:
    assert record.nanoseconds(record.rfc3339(nanoseconds)) == nanoseconds


def test_chain_ids() -> None:
    one, two, three = record.chain_ids(["sha256:a", "sha256:b", "sha256:c"])
    assert one == "sha256:a"
    assert two == "sha256:" + hashlib.sha256(b"sha256:a sha256:b").hexdigest()
    assert three == "sha256:" + hashlib.sha256(f"{two} sha256:c".encode()).hexdigest()
    assert record.chain_ids([]) == ()


def test_by_which_name_an_image_was_meant() -> None:
    names = ("s:latest", "abc:1", "x@" + LAYER)
    assert name_meant("s", names) == "s:latest"
    assert name_meant("abc:1", names) == "abc:1"
    assert name_meant("x:7@" + LAYER, names) == "x@" + LAYER
    assert name_meant("abc", names) is None
    assert name_meant("sha256:s", names) is None
    assert name_meant("S", names) is None


def test_the_built_in_configuration_is_stable() -> None:
    assert builtin.configuration() == builtin.configuration()
    assert record.describe(builtin.configuration(), (), builtin=True).image.created is not None
