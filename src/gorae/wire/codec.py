"""Bytes ↔ structs: as forgiving as Docker's decoder where clients rely on it, and strict everywhere else.

As Docker's:  null stands for a field's zero value · unknown fields are passed over · a name matches in any case when it does not
              match exactly · a string stands for a list of one where Docker says so (`Words`)
Refused:      a wrong type (naming the field) · a number beyond 64 bits · whatever `oci.json` refuses (NaN, NUL, half a surrogate
              pair, depth, anything after the document) · a document longer than `LIMIT` · one name twice, in any case

Two equal names are refused where Docker takes the last: an authorization plugin that reads the same bytes with another decoder
must not see another request than the endpoint (CVE-2024-41110 is that mistake, one floor lower).

A type is compiled once to a plan (nested tuples of `Plan`), and a document is fitted to it before msgspec converts it.
"""

from __future__ import annotations

import re
import types
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import msgspec

from gorae.errors import InvalidArgument
from gorae.oci.json import read_json

# Far beyond any request that a client makes by hand or by program; a create request is a few KiB.
LIMIT = 4 << 20

INT64 = range(-(1 << 63), 1 << 63)

T = TypeVar("T")


def docker_name(name: str) -> str:
    """`restart_policy` → `RestartPolicy`; what this does not reach is spelled out with `msgspec.field(name=…)`."""
    return "".join(part.capitalize() for part in name.split("_"))


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename=docker_name):
    """A JSON object of Docker's API. Fields have Python's spelling here and Docker's on the wire."""


class Empty(Shape, frozen=True, kw_only=True):
    """`{}`: the value of Docker's sets, such as `{"80/tcp": {}}`."""


_WORDS = msgspec.Meta(extra={"words": True})

# A list of words for which Docker also takes a single string. None tells "not given" from "empty".
Words = Annotated[list[str] | None, _WORDS]


class Plan(NamedTuple):
    """How to fit a value: `kind` is struct, map, list, words, integer, text or other."""

    kind: str
    fields: dict[str, Plan] = {}
    folded: dict[str, str] = {}
    item: Plan | None = None
    zero: Any = None


def decode(shape: type[T], data: bytes, *, limit: int = LIMIT) -> T:
    """The struct that `data` says; `InvalidArgument` names what is wrong and where."""
    if len(data) > limit:
        raise InvalidArgument(f"invalid JSON: the document has {len(data)} bytes, at most {limit} are taken")
    return convert(shape, read_json(data, "invalid JSON", limit))


def convert(shape: type[T], document: object) -> T:
    """The same for a document that is decoded already."""
    try:
        return msgspec.convert(_fit(_plan(cast("Any", shape)), document, ""), shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid JSON: {_located(str(error))}") from None


def encode(value: object) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(value)


def _decapitalize(text: str) -> str:
    return text[:1].lower() + text[1:]


def _located(message: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.HostConfig.Memory`" with the field in front."""
    message = message.replace(" | null`", "`")
    found = re.fullmatch(r"(.*) - at `\$\.?(.*)`", message, re.DOTALL)
    if found is None:
        return _decapitalize(message)
    return f"{found[2]}: {_decapitalize(found[1])}"


def _fit(plan: Plan, value: Any, path: str) -> Any:
    kind = plan.kind
    if value is None:
        return plan.zero
    if kind == "struct" and type(value) is dict:
        return _fit_struct(plan, value, path)
    if kind == "text" and type(value) is str:
        return _text(value, path)
    if kind == "integer" and type(value) is int:
        if value not in INT64:
            raise InvalidArgument(f"invalid JSON: {path}: {value} is beyond 64 bits")
        return value
    if kind == "words" and type(value) is str:
        return [_text(value, path)]
    if kind in ("list", "words") and type(value) is list and plan.item:
        return [_fit(plan.item, item, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind == "map" and type(value) is dict and plan.item:
        return {_text(key, path): _fit(plan.item, item, f"{path}.{key}") for key, item in value.items()}
    return value


def _fit_struct(plan: Plan, value: dict[str, Any], path: str) -> dict[str, Any]:
    fitted: dict[str, Any] = {}
    seen: set[str] = set()
    for key, item in value.items():
        name = key if key in plan.fields else plan.folded.get(key.lower(), "")
        if not name:
            continue
        if name in seen:
            raise InvalidArgument(f"invalid JSON: {path + '.' if path else ''}{name}: given twice")
        seen.add(name)
        if item is not None:
            fitted[name] = _fit(plan.fields[name], item, f"{path}.{name}" if path else name)
    return fitted


def _text(value: str, path: str) -> str:
    if "\0" in value:
        raise InvalidArgument(f"invalid JSON: {path}: a string must not contain NUL")
    return value


@cache
def _plan(hint: Any) -> Plan:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        words = any(isinstance(note, msgspec.Meta) and (note.extra or {}).get("words") for note in arguments[1:])
        return Plan("words", item=_plan(str)) if words else _plan(arguments[0])
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument not in (type(None), msgspec.UnsetType)]
        return _plan(inner[0])._replace(zero=None) if len(inner) == 1 else Plan("other")
    if origin is list:
        return Plan("list", item=_plan(arguments[0]), zero=[])
    if origin is dict:
        return Plan("map", item=_plan(arguments[1]), zero={})
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        fields = {field.encode_name: _plan(field.type) for field in msgspec.structs.fields(hint)}
        return Plan("struct", fields, {name.lower(): name for name in fields}, zero={})
    if hint is bool:
        return Plan("other", zero=False)
    if hint is int:
        return Plan("integer", zero=0)
    if hint is str:
        return Plan("text", zero="")
    return Plan("other")
