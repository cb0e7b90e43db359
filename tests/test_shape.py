"""The shape of the house: what everyone drifts from, checked in milliseconds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "gorae"
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
MAY_FORK = {"runtime/plain.py", "runtime/hooks.py", "supervisor/spawn.py"}
STORIES = {"runtime/birth.py", "engine/container/life.py", "engine/image/pull.py", "engine/build/service.py", "compose/project.py"}
NO_ASYNC = ("linux", "cgroup", "runtime", "supervisor")
MAY_BE_ASYNC = {"supervisor/client.py"}
FORBIDDEN_IN_NO_ASYNC = {"asyncio", "threading", "logging"}

FILES = sorted(SOURCE.rglob("*.py"))
IDS = [str(path.relative_to(SOURCE)) for path in FILES]


def code_lines(tree: ast.Module, source: str) -> int:
    """Lines of a file apart from tables of data: top-level assignments of pure literals."""
    lines = len(source.splitlines())
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and is_data(node.value):
            lines -= (node.end_lineno or node.lineno) - node.lineno
    return lines


def is_data(node: ast.expr) -> bool:
    allowed = (
        ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Call, ast.Name, ast.Load, ast.keyword, ast.BinOp, ast.BitOr,
        ast.UnaryOp, ast.USub, ast.Attribute, ast.LShift, ast.Starred, ast.Add, ast.JoinedStr,
    )  # fmt: skip
    return all(isinstance(child, allowed) for child in ast.walk(node))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_shape(path: Path) -> None:
    relative = str(path.relative_to(SOURCE))
    source = path.read_text()
    tree = ast.parse(source)

    assert not FORBIDDEN_NAMES & {part.removesuffix(".py") for part in relative.split("/")}, "a concept without a name"
    assert source.strip() == "" or ast.get_docstring(tree), "a module begins with what it is"
    assert code_lines(tree, source) <= 400, f"{code_lines(tree, source)} lines: a file has at most 400"
    limit = 80 if relative in STORIES else 50
    long = [f"{node.name}: {size}" for node in functions(tree) if (size := (node.end_lineno or 0) - node.lineno + 1) > limit]
    assert not long, f"a function has at most {limit} lines"
    if relative not in MAY_FORK:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in {"fork", "forkpty"}]
        assert not calls, "os.fork stands in the files that may fork"
    if relative.startswith(NO_ASYNC) and relative not in MAY_BE_ASYNC:
        assert not FORBIDDEN_IN_NO_ASYNC & imported(tree)


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_room_has_a_door_sign(folder: Path) -> None:
    sign = ast.parse((folder / "__init__.py").read_text())
    assert ast.get_docstring(sign), "the door sign says what is in here, what is not, where to start"
    assert len(sign.body) == 1, "a door sign re-exports nothing"
