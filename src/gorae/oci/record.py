"""`dataclass(frozen=True)` as `dataclasses` has it, made three times as fast.

The standard one compiles seven methods for each class: 20 ms for the runtime specification's forty, which is paid whenever
goraed or the supervisor starts. Here only `__init__` is compiled; the others are shared. For type checkers it is the standard
one:

    if TYPE_CHECKING:
        from dataclasses import dataclass
    else:
        from gorae.oci.record import dataclass
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def dataclass(*, frozen: bool) -> Callable[[type[T]], type[T]]:
    """Only frozen ones, without `slots` or `order`."""
    if not frozen:
        raise TypeError("values of a specification are frozen")

    def make(kind: type[T]) -> type[T]:
        for method in (__eq__, __hash__, __repr__, __setattr__, __delattr__):
            setattr(kind, method.__name__, method)
        return dataclasses.dataclass(eq=False, repr=False)(kind)

    return make


def __eq__(self: object, other: object) -> bool:
    return NotImplemented if other.__class__ is not self.__class__ else self.__dict__ == other.__dict__


def __hash__(self: object) -> int:
    return hash(tuple(self.__dict__.values()))  # __init__ sets them in one order


def __repr__(self: object) -> str:
    return f"{self.__class__.__qualname__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def __setattr__(self: object, name: str, value: object) -> None:
    """Once, which is what `__init__` does."""
    if name in self.__dict__ or name not in self.__class__.__dataclass_fields__:  # type: ignore[attr-defined]
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
    self.__dict__[name] = value


def __delattr__(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
