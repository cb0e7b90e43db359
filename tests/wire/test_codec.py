"""The decoder: Docker's leniencies, and everything else refused with the field's name."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import InvalidArgument
from gorae.wire import codec
from gorae.wire.codec import decode, docker_name
from gorae.wire.config import Config, CreateRequest
from gorae.wire.hostconfig import HostConfig, Mount, Ulimit, UpdateRequest, is_default


def create(document: Any) -> CreateRequest:
    return decode(CreateRequest, json.dumps(document).encode())


@pytest.mark.parametrize(
    "document", [{}, {"Image": None, "HostConfig": None, "Labels": None, "Tty": None}, {"NetworkingConfig": {}}]
)
def test_null_is_the_zero_value(document: Any) -> None:
    assert create(document) == CreateRequest()


def test_null_inside() -> None:
    request = create(
        {
            "Volumes": {"/a": None},
            "Labels": {"a": None},
            "NetworkingConfig": {"EndpointsConfig": {"net": None}},
            "HostConfig": {"PortBindings": {"80/tcp": None}, "Ulimits": [None], "Binds": [None], "Init": None, "PidsLimit": None},
        }
    )
    assert request.volumes == {"/a": codec.Empty()}
    assert request.labels == {"a": ""}
    assert request.networking_config.endpoints_config == {"net": None}
    assert request.host_config.port_bindings == {"80/tcp": None}
    assert request.host_config.ulimits == [Ulimit()]
    assert request.host_config.binds == [""]
    assert request.host_config.init is None
    assert request.host_config.pids_limit is None


@pytest.mark.parametrize(
    "data",
    [
        b'{"Image":"a","Image":null}', b'{"Image":"a","Image":"a"}', b'{"image":"a","Image":"b"}', b'{"Image":"a","IMAGE":null}',
        b'{"HostConfig":{"Memory":1,"memory":2}}', b'{"Nonsense":1,"Nonsense":1}', b'{"Labels":{"a":"b","a":"c"}}',
        b'{"Image":"a","\\u0049mage":"b"}',
    ],
)  # fmt: skip
def test_one_name_twice_is_refused(data: bytes) -> None:
    """Else a decoder that takes the first and one that takes the last see different requests in the same bytes."""
    with pytest.raises(InvalidArgument, match=r"twice"):
        decode(CreateRequest, data)


def test_labels_differ_by_case() -> None:
    assert decode(Config, b'{"Labels":{"a":"b","A":"c"}}').labels == {"a": "b", "A": "c"}


@pytest.mark.parametrize(
    ("given", "words"), [("ls", ["ls"]), (["ls", "-l"], ["ls", "-l"]), ([], []), (None, None), ("", [""]), ([None], [""])]
)
def test_words(given: Any, words: list[str] | None) -> None:
    assert create({"Cmd": given, "Entrypoint": given}).cmd == words


def test_names_match_in_any_case() -> None:
    assert create({"image": "a", "HOSTCONFIG": {"memory": 5}}).host_config.memory == 5


def test_unknown_names_are_passed_over() -> None:
    assert create({"Nonsense": {"a": [1, 2, {"b": None}]}, "HostConfig": {"Future": 1}}) == CreateRequest()


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"Image": 1}, "Image: expected `str`, got `int`"),
        ({"Tty": "true"}, "Tty: expected `bool`, got `str`"),
        ({"Tty": 1}, "Tty: expected `bool`, got `int`"),
        ({"Env": "A=b"}, "Env: expected `array`"),
        ({"Env": {"A": "b"}}, "Env: expected `array`"),
        ({"Env": ["A", 1]}, "Env[1]: expected `str`"),
        ({"Cmd": [1]}, "Cmd[0]: expected `str`"),
        ({"Cmd": 1}, "Cmd: expected `array"),
        ({"Labels": []}, "Labels: expected `object"),
        ({"Labels": {"a": 1}}, "Labels[...]: expected `str`"),
        ({"HostConfig": []}, "HostConfig: expected `object`"),
        ({"HostConfig": {"Memory": 1.5}}, "HostConfig.Memory: expected `int`, got `float`"),
        ({"HostConfig": {"Memory": True}}, "HostConfig.Memory: expected `int`, got `bool`"),
        ({"HostConfig": {"Memory": 1 << 63}}, "HostConfig.Memory: 9223372036854775808 is beyond 64 bits"),
        ({"HostConfig": {"Memory": 1 << 80}}, "HostConfig.Memory: "),
        ({"HostConfig": {"Ulimits": [{"Name": "a", "Soft": "b"}]}}, "HostConfig.Ulimits[0].Soft: expected `int`"),
        ({"HostConfig": {"Mounts": [{"BindOptions": {"Propagation": 1}}]}}, "HostConfig.Mounts[0].BindOptions.Propagation"),
        ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}}, "HostPort: expected `str`"),
        ({"HostConfig": {"Binds": ["a\0b"]}}, "contains a NUL"),
        ({"Labels": {"a\0": "b"}}, "contains a NUL"),
        ([], "expected `object`, got `array`"),
        ("x", "expected `object`, got `str`"),
        (5, "expected `object`, got `int`"),
    ],
)
def test_wrong_types_are_named(document: Any, where: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        create(document)
    assert str(caught.value).startswith("invalid JSON: ")
    assert where in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"{", b"{}{}", b"{} x", b'{"a":NaN}', b'{"a":Infinity}', b'{"HostConfig":{"Memory":1e999}}', b"\xff",
        b'{"Image":"\xff"}',
        b'{"Image":"\\ud800"}', b"[" * 200_000, b'{"a":' * 5000, b"'a'", b"\xef\xbb\xbf{}", b'{"Image":"a\nb"}', b"{\0}", b"nul",
    ],
)  # fmt: skip
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        decode(CreateRequest, data)


def test_size_is_bounded() -> None:
    with pytest.raises(InvalidArgument, match="at most 10 are taken"):
        decode(CreateRequest, b" " * 11, limit=10)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = [field.encode_name for shape in (CreateRequest, HostConfig, Mount) for field in msgspec.structs.fields(shape)]


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4), max_size=4))
def test_any_document_is_decoded_or_refused(document: Any) -> None:
    """Nothing but InvalidArgument ever comes out, and what is decoded is decoded from its own encoding to the same."""
    try:
        request = create(document)
    except InvalidArgument:
        return
    assert decode(CreateRequest, codec.encode(request)) == request


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with suppress(InvalidArgument):
        assert isinstance(decode(CreateRequest, data), CreateRequest)


def test_names() -> None:
    assert docker_name("restart_policy") == "RestartPolicy"
    encoded = json.loads(codec.encode(HostConfig()))
    for name in (
        "CpusetCpus",
        "BlkioDeviceReadIOps",
        "IOMaximumIOps",
        "UTSMode",
        "ContainerIDFile",
        "ReadonlyRootfs",
        "OomScoreAdj",
    ):
        assert name in encoded


def test_update_takes_resources_and_a_policy() -> None:
    update = decode(UpdateRequest, b'{"Memory":5,"RestartPolicy":{"Name":"no"}}')
    assert (update.memory, update.restart_policy.name) == (5, "no")


def test_is_default() -> None:
    assert is_default(HostConfig())
    assert is_default(Mount())
    assert not is_default(HostConfig(memory=1))
    assert not is_default(Ulimit(name="a"))
