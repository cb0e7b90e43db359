"""The shared methods behave as those that `dataclasses` compiles."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from gorae.oci import record
from gorae.oci.runtimespec import Memory, Pids, Resources


@dataclasses.dataclass(frozen=True)
class Standard:
    a: int
    b: tuple[str, ...] = ()


@record.dataclass(frozen=True)
class Ours:
    a: int
    b: tuple[str, ...] = ()


def test_as_the_standard_one() -> None:
    for kind in (Standard, Ours):
        make: Any = kind
        assert make(1) == make(a=1, b=())
        assert make(1) != make(2)
        assert hash(make(1, ("x",))) == hash(make(1, ("x",)))
        assert len({make(1), make(1), make(2)}) == 2
        assert repr(make(1, ("x",))) == f"{kind.__name__}(a=1, b=('x',))"
        assert dataclasses.replace(make(1), b=("y",)) == make(1, ("y",))
        assert dataclasses.asdict(make(1)) == {"a": 1, "b": ()}
        for name in ("a", "c"):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(make(1), name, 2)
        with pytest.raises(dataclasses.FrozenInstanceError):
            del make(1).a
        with pytest.raises(TypeError):
            make()
    assert Ours(1) != Standard(1)
    assert (Ours(1) == 1) is False


def test_values_can_be_copied_and_sent() -> None:
    value = Resources(memory=Memory(limit=1), pids=Pids(2), unified={"a.b": "c"})
    assert copy.deepcopy(value) == value == pickle.loads(pickle.dumps(value))
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)


def test_only_frozen_ones() -> None:
    with pytest.raises(TypeError, match="frozen"):
        record.dataclass(frozen=False)
