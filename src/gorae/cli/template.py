"""`--format`: `json`, `table …` and the part of Go's templates that people use.

    {{.Name}}  {{.State.Status}}  {{json .Config}}  {{upper .Name}}  {{join .Args " "}}  {{index .Labels "a"}}  {{len .Mounts}}
    {{.Names | upper}}                                              pipes give their value as the last argument

Blocks (`range`, `if`, `with`) are refused with words. Fields that do not exist are an error, as in Go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from gorae.errors import InvalidArgument

ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\||[^\s|]+')
BLOCKS = {"range", "if", "with", "else", "end", "template", "define", "block"}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "title": lambda value: str(value).title(),
    "join": lambda values, separator: separator.join(str(value) for value in values or []),
    "split": lambda text, separator: text.split(separator),
    "len": lambda value: len(value or ()),
    "index": lambda value, *keys: _index(value, keys),
    "println": lambda *values: " ".join(text(value) for value in values) + "\n",
    "print": lambda *values: "".join(text(value) for value in values),
    "truncate": lambda value, length: str(value)[: int(length)],
    "pad": lambda value, before, after: " " * int(before) + str(value) + " " * int(after),
}


def render(template: str, value: Any) -> str:
    """The template with one object's fields filled in."""
    unescaped = template.replace("\\t", "\t").replace("\\n", "\n")
    return ACTION.sub(lambda match: text(_pipeline(match.group(1), value)), unescaped)


def fields(template: str) -> list[str]:
    """The header names of a `table` template: each action's last field."""
    return [match.split(".")[-1].strip() for match in ACTION.findall(template)]


def text(value: Any) -> str:
    """As Go prints it: true, <no value>, [a b], map[k:v]."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text(value[key])}" for key in sorted(value)) + "]"
    return str(value)


def _pipeline(expression: str, value: Any) -> Any:
    words = WORD.findall(expression)
    if not words:
        raise InvalidArgument("template parsing error: empty action {{}}")
    if words[0] in BLOCKS:
        raise InvalidArgument(f"template parsing error: {{{{{words[0]}}}}} is not supported; use --format json")
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    piped: list[Any] = []
    for stage in stages:
        piped = [_stage(stage, value, piped)]
    return piped[0]


def _stage(words: list[str], value: Any, piped: list[Any]) -> Any:
    if not words:
        raise InvalidArgument("template parsing error: nothing beside a |")
    head, *rest = words
    arguments = [_operand(word, value) for word in rest] + piped
    if head in FUNCTIONS:
        try:
            return FUNCTIONS[head](*arguments)
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidArgument(f"template error: {head}: {error}") from error
    if arguments:
        raise InvalidArgument(f'template parsing error: function "{head}" not defined')
    return _operand(head, value)


def _operand(word: str, value: Any) -> Any:
    if word[0] in '"`':
        return json.loads(word) if word[0] == '"' else word[1:-1]
    if word.lstrip("-").isdigit():
        return int(word)
    if not word.startswith("."):
        raise InvalidArgument(f'template parsing error: function "{word}" not defined')
    for name in word.strip(".").split("."):
        if not name:
            continue
        if not isinstance(value, dict) or name not in value:
            raise InvalidArgument(f"template error: there is no field {name!r} in {word!r}")
        value = value[name]
    return value


def _index(value: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        else:
            try:
                value = value[key]
            except (IndexError, TypeError) as error:
                raise InvalidArgument(f"template error: index {key!r}: {error}") from error
    return value
