"""The codec: what annotations promise, and errors that name the place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from gorae.errors import InvalidArgument
from gorae.oci import codec
from gorae.oci.codec import OneOf, named, uint16


@dataclass(frozen=True)
class Inner:
    number: uint16
    word: Annotated[str, OneOf("a", "b")] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    table: dict[str, Inner] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    odd: str | None = named("odd.name", None)
    share: float = 0.0
    ports: frozenset[str] = frozenset()
    flag: bool | None = None
    anything: object = None


def outer(**members: object) -> Outer:
    return codec.decode(Outer, {"inner": {"number": 1}, **members}, "file")


def test_decodes_and_encodes_each_kind() -> None:
    members = {
        "inner": {"number": 65535, "word": "b"},
        "many": [{"number": 0}, {"number": 2, "word": "b"}],
        "table": {"x": {"number": 3}},
        "names": [],
        "odd.name": "here",
        "share": 1.5,
        "ports": {"80/tcp": {}, "443/tcp": {}},
        "flag": False,
        "anything": {"a": [1, None]},
    }
    value = codec.decode(Outer, members, "file")
    assert value.many == (Inner(0), Inner(2, "b"))
    assert value.names == ()
    assert value.odd == "here"
    assert value.ports == {"80/tcp", "443/tcp"}
    assert value.flag is False
    assert codec.encode(value) == members


def test_unknown_members_and_null_are_passed_over() -> None:
    assert outer(unknown=[1], names=None, flag=None) == outer()
    assert codec.encode(outer()) == {"inner": {"number": 1}}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"inner": None}, r"^file: inner is required$"),
        ({"inner": {}}, r"^file: inner\.number is required$"),
        ({"inner": {"number": 65536}}, r"^file: inner\.number: expected an integer from 0 to 65535, not 65536$"),
        ({"inner": {"number": True}}, r"not true$"),
        ({"inner": {"number": 1.0}}, r"not 1\.0$"),
        ({"inner": []}, r"^file: inner: expected an object, not an array$"),
        ({"many": [{"number": 1}, {"number": "x"}]}, r"^file: many\[1\]\.number: .* not 'x'$"),
        ({"table": {"k": {"number": 1, "word": "c"}}}, r"^file: table\['k'\]\.word: expected one of 'a', 'b', not 'c'$"),
        ({"names": ["a", 1]}, r"^file: names\[1\]: expected a string, not 1$"),
        ({"names": "a"}, r"expected an array, not 'a'$"),
        ({"ports": ["80"]}, r"expected an object, not an array$"),
        ({"share": "1"}, r"expected a number"),
        ({"flag": 1}, r"expected true or false, not 1$"),
    ],
)
def test_errors_name_the_place(members: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        outer(**members)


def test_the_whole_document_may_be_wrong() -> None:
    with pytest.raises(InvalidArgument, match=r"^file: expected an object, not an array$"):
        codec.decode(Outer, [], "file")
