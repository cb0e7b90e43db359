"""The one strict reader of JSON from outside.

Python's decoder accepts what other readers of the same bytes refuse or read differently (NaN, two members of one name, lone
surrogates, depth until the stack ends), and two readers of one document is how checks are passed by (CVE-2021-41190). So
refused are: more bytes than `limit`, anything but valid UTF-8, a NUL in any string, NaN and Infinity, numbers too long to
convert, more than 64 levels, the same member twice in one object, anything after the value.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from gorae.errors import InvalidArgument

DEPTH = 64
LIMIT = 16 << 20
_DIGITS = 4300  # sys.int_info.default_max_str_digits: a longer number costs quadratic time (CVE-2020-10735)

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(data: bytes, what: str = "document", limit: int = LIMIT) -> Any:
    """The value of one JSON text; `what` names it in `InvalidArgument`."""
    if len(data) > limit:
        raise InvalidArgument(f"{what}: {len(data)} bytes are more than the {limit} allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{what}: not valid UTF-8 at byte {error.start}") from None
    # Only an escape can bring in a NUL (raw ones are refused as control characters) or half a surrogate pair.
    escapes = "\\u" in text
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object_with_escapes if escapes else _object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_float,
        )
        if type(value) is dict or type(value) is list:
            _check_depth(value, DEPTH)
        if escapes:
            _check_strings(value)
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"{what}: not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:  # the decoder's own bound, some hundred levels
        raise InvalidArgument(f"{what}: nested deeper than {DEPTH} levels") from None
    except _Refused as error:
        raise InvalidArgument(f"{what}: {error}") from None
    return value


class _Refused(Exception):
    pass


def _check_depth(value: Any, left: int) -> None:
    if not left:
        raise _Refused(f"nested deeper than {DEPTH} levels")
    for item in value.values() if type(value) is dict else value:
        if type(item) is dict or type(item) is list:
            _check_depth(item, left - 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Refused(f"member {name!a} stands twice in one object")
            seen.add(name)
    return members


def _object_with_escapes(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in pairs:
        _check_text(name)
    return _object(pairs)


def _check_strings(value: Any) -> None:
    """Looks at every string that is not a member's name."""
    if type(value) is str:
        _check_text(value)
    elif type(value) is list:
        for item in value:
            _check_strings(item)
    elif type(value) is dict:
        for item in value.values():
            _check_strings(item)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _Refused(f"string {text[:60]!a} contains a NUL")
    if _SURROGATE.search(text):
        raise _Refused(f"string {text[:60]!a} contains half a surrogate pair")


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise _Refused(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _DIGITS:
        raise _Refused(f"a number of {len(digits)} digits")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Refused(f"number {digits[:60]} is too large")
    return number
