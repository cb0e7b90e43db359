"""`--format`: `json`, `table …` and the part of Go's templates that people use.

    {{.Name}}  {{.State.Status}}  {{json .Config}}  {{upper .Name}}  {{join .Args " "}}  {{index .Labels "a"}}  {{len .Mounts}}
    {{.Names | upper}}    {{(index .Mounts 0).Source}}              pipes give their value as the last argument
    {{range .Mounts}}{{.Source}} {{end}}    {{range $key, $value := .Labels}}{{$key}}={{$value}} {{else}}none{{end}}
    {{if and .State.Running (eq .Name "x")}}…{{else if …}}…{{else}}…{{end}}    {{with .State.Health}}{{.Status}}{{end}}
    {{$x := .Id}}{{$x}}    {{- trims what is before -}} and behind    {{/* a comment */}}

text ──scan──▶ pieces ──parse──▶ nodes ──render──▶ text. Fields that do not exist are an error, as in Go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gorae.errors import InvalidArgument

ACTION = re.compile(r"\{\{(-(?=\s))?\s*(/\*.*?\*/|(?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|.)*?)\s*((?<=\s)-)?\}\}", re.DOTALL)
WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|:=|[|(),]|[^\s|(),]+')
MOST_DEPTH = 50


def _truth(value: Any) -> bool:
    return bool(value)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    return lambda first, second: test(first, second)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "title": lambda value: str(value).title(),
    "join": lambda values, separator: separator.join(str(value) for value in values or []),
    "split": lambda text, separator: text.split(separator),
    "len": lambda value: len(value or ()),
    "index": lambda value, *keys: _index(value, keys),
    "slice": lambda value, start=0, end=None: value[start:end],
    "println": lambda *values: " ".join(text(value) for value in values) + "\n",
    "print": lambda *values: "".join(text(value) for value in values),
    "printf": lambda form, *values: _printf(form, values),
    "truncate": lambda value, length: str(value)[: int(length)],
    "pad": lambda value, before, after: " " * int(before) + str(value) + " " * int(after),
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": _compare(lambda first, second: bool(first != second)),
    "lt": _compare(lambda first, second: bool(first < second)),
    "le": _compare(lambda first, second: bool(first <= second)),
    "gt": _compare(lambda first, second: bool(first > second)),
    "ge": _compare(lambda first, second: bool(first >= second)),
    "not": lambda value: not _truth(value),
    "and": lambda *values: next((value for value in values if not _truth(value)), values[-1]),
    "or": lambda *values: next((value for value in values if _truth(value)), values[-1]),
}


class Node(NamedTuple):
    """`kind` is text, value, if, range or with; `branches` are (expression, nodes), the last one of an else with None."""

    kind: str
    words: tuple[str, ...] = ()
    text: str = ""
    branches: tuple[tuple[tuple[str, ...] | None, tuple[Node, ...]], ...] = ()


class Scope(NamedTuple):
    dot: Any
    variables: dict[str, Any]


def render(template: str, value: Any) -> str:
    """The template with one object's fields filled in."""
    unescaped = template.replace("\\t", "\t").replace("\\n", "\n")
    nodes, rest = _parse(list(_scan(unescaped)), 0)
    if rest is not None:
        raise InvalidArgument(f"template parsing error: unexpected {{{{{rest}}}}}")
    return _render(nodes, Scope(value, {"$": value}))


def fields(template: str) -> list[str]:
    """The header names of a `table` template: each action's last field."""
    return [action.split(".")[-1].strip() for _, action, _ in ACTION.findall(template)]


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


# ── parsing ──


def _scan(template: str) -> Iterator[str | tuple[str, ...]]:
    """Texts, and the words of actions."""
    position = 0
    trim = False
    for match in ACTION.finditer(template):
        before = template[position : match.start()]
        before = before.lstrip() if trim else before
        yield before.rstrip() if match[1] else before
        position, trim = match.end(), bool(match[3])
        if match[2].startswith("/*"):
            continue
        words = tuple(WORD.findall(match[2]))
        if not words:
            raise InvalidArgument("template parsing error: empty action {{}}")
        yield words
    yield template[position:].lstrip() if trim else template[position:]


def _parse(pieces: list[str | tuple[str, ...]], depth: int) -> tuple[tuple[Node, ...], str | None]:
    """Nodes up to `end`, `else` or the end of all; and which it was. The pieces are consumed."""
    if depth > MOST_DEPTH:
        raise InvalidArgument("template parsing error: nested too deeply")
    nodes: list[Node] = []
    while pieces:
        piece = pieces.pop(0)
        if isinstance(piece, str):
            nodes.append(Node("text", text=piece))
        elif piece[0] in ("end", "else"):
            return tuple(nodes), " ".join(piece)
        elif piece[0] in ("if", "range", "with"):
            nodes.append(_block(piece, pieces, depth))
        elif piece[0] in ("template", "define", "block", "break", "continue"):
            raise InvalidArgument(f"template parsing error: {{{{{piece[0]}}}}} is not supported; use --format json")
        else:
            nodes.append(Node("value", words=piece))
    return tuple(nodes), None


def _block(piece: tuple[str, ...], pieces: list[str | tuple[str, ...]], depth: int) -> Node:
    kind, condition = piece[0], piece[1:]
    if not condition:
        raise InvalidArgument(f"template parsing error: missing value for {kind}")
    branches: list[tuple[tuple[str, ...] | None, tuple[Node, ...]]] = []
    wanted: tuple[str, ...] | None = condition
    while True:
        body, end = _parse(pieces, depth + 1)
        branches.append((wanted, body))
        if end is None:
            raise InvalidArgument(f"template parsing error: {kind} without end")
        if end == "end":
            return Node(kind, branches=tuple(branches))
        words = tuple(WORD.findall(end))[1:]
        if wanted is None or (words and words[0] != kind):
            raise InvalidArgument(f"template parsing error: unexpected {{{{{end}}}}}")
        wanted = words[1:] or None


# ── rendering ──


def _render(nodes: tuple[Node, ...], scope: Scope) -> str:
    out: list[str] = []
    for node in nodes:
        match node.kind:
            case "text":
                out.append(node.text)
            case "value":
                if len(node.words) > 2 and node.words[0].startswith("$") and node.words[1] in (":=", "="):
                    scope.variables[node.words[0]] = _pipeline(node.words[2:], scope)
                else:
                    out.append(text(_pipeline(node.words, scope)))
            case "range":
                out.append(_range(node, scope))
            case _:
                out.append(_choose(node, scope))
    return "".join(out)


def _choose(node: Node, scope: Scope) -> str:
    for condition, body in node.branches:
        inner = Scope(scope.dot, dict(scope.variables))
        if condition is None:
            return _render(body, inner)
        names, words = _declared(condition)
        value = _pipeline(words, inner)
        if _truth(value):
            inner.variables.update(dict.fromkeys(names, value))
            return _render(body, Scope(value, inner.variables) if node.kind == "with" else inner)
    return ""


def _range(node: Node, scope: Scope) -> str:
    condition, body = node.branches[0]
    assert condition is not None
    names, words = _declared(condition)
    value = _pipeline(words, scope)
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = [(key, value[key]) for key in sorted(value)]
    elif isinstance(value, list | str):
        items = list(enumerate(value))
    elif value is not None:
        raise InvalidArgument(f"template error: range can't iterate over {text(value)[:40]}")
    if not items:
        return "".join(_render(body, scope) for condition, body in node.branches[1:] if condition is None)
    out = []
    for key, item in items:
        variables = dict(scope.variables)
        variables |= dict(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))
        out.append(_render(body, Scope(item, variables)))
    return "".join(out)


def _declared(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`$key, $value := …` → the names, and the rest."""
    if ":=" not in words:
        return (), words
    at = words.index(":=")
    return tuple(word for word in words[:at] if word != ","), words[at + 1 :]


def _pipeline(words: tuple[str, ...], scope: Scope) -> Any:
    stages: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += (word == "(") - (word.startswith(")"))
        if word == "|" and not depth:
            stages.append([])
        else:
            stages[-1].append(word)
    piped: list[Any] = []
    for stage in stages:
        piped = [_stage(stage, scope, piped)]
    return piped[0]


def _stage(words: list[str], scope: Scope, piped: list[Any]) -> Any:
    if not words:
        raise InvalidArgument("template parsing error: nothing beside a |")
    if words[0] in FUNCTIONS:
        arguments = [*_operands(words[1:], scope), *piped]
        try:
            return FUNCTIONS[words[0]](*arguments)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise InvalidArgument(f"template error: {words[0]}: {error}") from error
    found = _operands(words, scope)
    if len(found) != 1 or piped:
        raise InvalidArgument(f'template parsing error: function "{words[0]}" not defined')
    return found[0]


def _operands(words: list[str], scope: Scope) -> list[Any]:
    found: list[Any] = []
    at = 0
    while at < len(words):
        if words[at] != "(":
            found.append(_operand(words[at], scope))
            at += 1
            continue
        start, depth = at + 1, 1
        while depth:
            at += 1
            if at >= len(words):
                raise InvalidArgument("template parsing error: unclosed left paren")
            depth += (words[at] == "(") - (words[at] == ")")
        value = _pipeline(tuple(words[start:at]), scope)
        at += 1
        if at < len(words) and words[at].startswith(".") and len(words[at]) > 1:
            value = _field(value, words[at])
            at += 1
        found.append(value)
    return found


def _operand(word: str, scope: Scope) -> Any:
    if word[0] in '"`':
        return json.loads(word) if word[0] == '"' else word[1:-1]
    if word.lstrip("-").isdigit():
        return int(word)
    if word in ("true", "false", "nil"):
        return {"true": True, "false": False, "nil": None}[word]
    if word.startswith("$"):
        name, dot, path = word.partition(".")
        if name not in scope.variables:
            raise InvalidArgument(f"template error: undefined variable {name!r}")
        return _field(scope.variables[name], dot + path)
    if not word.startswith("."):
        raise InvalidArgument(f'template parsing error: function "{word}" not defined')
    return _field(scope.dot, word)


def _field(value: Any, path: str) -> Any:
    for name in path.strip(".").split("."):
        if not name:
            continue
        if not isinstance(value, dict) or name not in value:
            raise InvalidArgument(f"template error: there is no field {name!r} in {path!r}")
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


def _printf(form: str, values: tuple[Any, ...]) -> str:
    """Go's verbs that Python has too, and %v, %q, %t."""
    given = iter(values)

    def one(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = next(given, None)
        flags, verb = match[1], match[2]
        if verb in "dxXof":
            return f"%{flags}{verb}" % value
        return f"%{flags}s" % (json.dumps(text(value), ensure_ascii=False) if verb == "q" else text(value))

    return re.sub(r"%([-+ 0#]*[0-9]{0,4}(?:\.[0-9]{1,4})?)([a-zA-Z%])", one, form)
