"""Frozen dataclasses ↔ JSON objects, driven by the annotations.

    annotation            JSON                          absent or null
    ------------------    --------------------------    --------------
    bool str int float    true "x" 1 1.5                an error, unless the field has a default
    Annotated[int, Between(low, high)]                  (`uint32` and so on below)
    Annotated[str, OneOf("a", "b")]
    X | None              as X                          None
    tuple[X, ...]         [ … ]                         ()
    dict[str, X]          { … }                         {}
    frozenset[str]        {"a": {}, "b": {}}            ()              (a set, as Go writes it)
    a dataclass           { … }                         an error, unless the field has a default
    a subclass of str     "x", checked by its making    an error, unless the field has a default
    object                anything, untouched

A field is required when it has no default. `named("os.version")` gives the JSON name where it is no Python name. Unknown members
are passed over, as the specifications demand of readers. `null` counts as absent, as Go's writers use it.

A decoder is a closure made once for each type; paths are put together only when something is wrong.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gorae.errors import InvalidArgument

T = TypeVar("T")
Decoder = Callable[[object], Any]


@dataclass(frozen=True)
class Between:
    low: int
    high: int


class OneOf:
    def __init__(self, *words: str) -> None:
        self.words = words


uint16 = Annotated[int, Between(0, 2**16 - 1)]
uint32 = Annotated[int, Between(0, 2**32 - 1)]
uint64 = Annotated[int, Between(0, 2**64 - 1)]
int32 = Annotated[int, Between(-(2**31), 2**31 - 1)]
int64 = Annotated[int, Between(-(2**63), 2**63 - 1)]


class Mismatch(Exception):
    """What was expected and what was found; the frames on the way out add their part of the path."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found
        self.path: list[str] = []


def named(json: str, default: Any = MISSING) -> Any:
    """A field whose JSON name is not its Python name."""
    return field(default=default, metadata={"json": json})


def decode(kind: type[T], value: object, what: str) -> T:
    """`value` (as `json.read_json` returns it) as a `kind`.

    `what` names the document in errors: `config.json: process.user.uid: expected …, not …`. Raises `InvalidArgument`.
    """
    try:
        decoded: T = decoder_of(kind)(value)
        return decoded
    except Mismatch as mismatch:
        path = "".join(reversed(mismatch.path)).lstrip(".")
        where = f"{what}: {path}" if path else what
        if mismatch.found is MISSING:
            raise InvalidArgument(f"{where} is required") from None
        raise InvalidArgument(f"{where}: expected {mismatch.expected}, not {show(mismatch.found)}") from None


def encode(value: object) -> dict[str, Any]:
    """The JSON object of a dataclass; optional fields that hold their default (None, (), {}, False …) are left out."""
    encoded: dict[str, Any] = {}
    for entry in _layout(type(value)):
        item = getattr(value, entry.name)
        if item is None or (not entry.required and item == entry.default()):
            continue
        encoded[entry.json] = _plain(item)
    return encoded


def show(value: object) -> str:
    """A value from outside for a message: short, printable."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(item: object) -> object:
    if isinstance(item, (str, int, float, bool)) or item is None:
        return item
    if isinstance(item, (tuple, list)):
        return [_plain(each) for each in item]
    if isinstance(item, frozenset):
        return {key: {} for key in sorted(item)}
    if isinstance(item, dict):
        return {key: _plain(each) for key, each in item.items()}
    return encode(item) if is_dataclass(item) else str(item)


@dataclass(frozen=True)
class _Entry:
    name: str
    json: str
    annotation: Any
    required: bool
    default: Callable[[], object]


_layouts: dict[type, tuple[_Entry, ...]] = {}
_decoders: dict[Any, Decoder] = {}


def _layout(kind: type) -> tuple[_Entry, ...]:
    known = _layouts.get(kind)
    if known is None:
        hints = get_type_hints(kind, include_extras=True)
        known = _layouts[kind] = tuple(_entry(each, hints[each.name]) for each in fields(kind))
    return known


def _entry(each: Field[Any], annotation: Any) -> _Entry:
    if each.default_factory is not MISSING:
        required, default = False, each.default_factory
    else:
        required, constant = each.default is MISSING, each.default

        def default() -> object:
            return constant

    return _Entry(each.name, each.metadata.get("json", each.name), annotation, required, default)


def decoder_of(annotation: Any) -> Decoder:
    """The decoder of a type; it raises `Mismatch`."""
    known = _decoders.get(annotation)
    if known is None:
        known = _decoders[annotation] = _make(annotation)
    return known


def _make(annotation: Any) -> Decoder:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, rule = get_args(annotation)[:2]
        return _between(rule.low, rule.high) if isinstance(rule, Between) else _checked(decoder_of(base), rule)
    if origin in (Union, types.UnionType):
        return _alternatives(annotation)
    if origin is tuple:
        return _array(decoder_of(get_args(annotation)[0]), get_args(annotation)[0] is str)
    if origin is frozenset:
        return _set
    if origin is dict:
        return _mapping(decoder_of(get_args(annotation)[1]))
    if is_dataclass(annotation):
        return _object(annotation)
    if isinstance(annotation, type) and issubclass(annotation, str) and annotation is not str:
        return _word(annotation)
    return _SCALARS[annotation]


def _alternatives(annotation: Any) -> Decoder:
    kinds = [each for each in get_args(annotation) if each is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"{annotation}: only X | None can be told apart")
    return decoder_of(kinds[0])


def _string(value: object) -> object:
    if type(value) is not str:
        raise Mismatch("a string", value)
    return value


def _word(kind: type[str]) -> Decoder:
    """A str with a grammar of its own: `kind(text)` raises `InvalidArgument`."""

    def decode(value: object) -> object:
        if type(value) is not str:
            raise Mismatch("a string", value)
        try:
            return kind(value)
        except InvalidArgument as error:
            raise Mismatch(f"a {kind.__name__.lower()}", value) from error

    return decode


def _set(value: object) -> object:
    if type(value) is not dict:
        raise Mismatch("an object", value)
    return frozenset(value)


def _boolean(value: object) -> object:
    if value is not True and value is not False:
        raise Mismatch("true or false", value)
    return value


def _integer(value: object) -> object:
    if type(value) is not int:
        raise Mismatch("an integer", value)
    return value


def _number(value: object) -> object:
    if type(value) is not int and type(value) is not float:
        raise Mismatch("a number", value)
    return float(value)


def _anything(value: object) -> object:
    return value


_SCALARS: dict[Any, Decoder] = {str: _string, bool: _boolean, int: _integer, float: _number, object: _anything}


def _between(low: int, high: int) -> Decoder:
    def decode(value: object) -> object:
        if type(value) is not int or not low <= value <= high:
            raise Mismatch(f"an integer from {low} to {high}", value)
        return value

    return decode


def _checked(base: Decoder, rule: Any) -> Decoder:
    """`OneOf`, or a rule of a format's own: `check(text) -> str | None` answers what was expected."""
    words = frozenset(rule.words) if isinstance(rule, OneOf) else None

    def one_of(value: object) -> object:
        if base(value) not in words:  # type: ignore[operator]
            raise Mismatch("one of " + ", ".join(map(repr, rule.words)), value)
        return value

    def checked(value: object) -> object:
        expected = rule.check(base(value))
        if expected is not None:
            raise Mismatch(expected, value)
        return value

    return checked if words is None else one_of


def _array(item: Decoder, strings: bool) -> Decoder:
    def decode(value: object) -> object:
        if type(value) is not list:
            raise Mismatch("an array", value)
        if strings and set(map(type, value)) <= {str}:  # most arrays; a seccomp profile alone has 400 names
            return tuple(value)
        decoded = []
        for index, each in enumerate(value):
            try:
                decoded.append(item(each))
            except Mismatch as mismatch:
                mismatch.path.append(f"[{index}]")
                raise
        return tuple(decoded)

    return decode


def _mapping(item: Decoder) -> Decoder:
    def decode(value: object) -> object:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        decoded = {}
        for key, each in value.items():
            try:
                decoded[key] = item(each)
            except Mismatch as mismatch:
                mismatch.path.append(f"[{show(key)}]")
                raise
        return decoded

    return decode


def _object(kind: Any) -> Decoder:
    layout = _layout(kind)
    members = {entry.json: (entry.name, decoder_of(entry.annotation)) for entry in layout}
    required = tuple((entry.name, entry.json) for entry in layout if entry.required)

    def decode(value: object) -> object:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        arguments = {}
        for key, item in value.items():
            member = members.get(key)
            if member is None or item is None:
                continue
            name, decoder = member
            try:
                arguments[name] = decoder(item)
            except Mismatch as mismatch:
                mismatch.path.append(f".{key}")
                raise
        for name, key in required:
            if name not in arguments:
                missing = Mismatch("a value (it is required)", MISSING)
                missing.path.append(f".{key}")
                raise missing
        return kind(**arguments)

    return decode
