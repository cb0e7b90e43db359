"""The pages about security name only tests that exist, and tell of all seventy known flaws."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.running import Daemon

ROOT = Path(__file__).parents[2]
PAGES = ("docs/security.md", "docs/docker-differences.md", "docs/threat-model.md")


def tests() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").glob("**/test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"`(?:[a-z/_]+\.py::)?(test_[a-z0-9_]+)(?:\[[^`]*\])?`", (ROOT / page).read_text()))
    assert named
    assert named <= tests(), named - tests()
    files = set(re.findall(r"`(tests/[a-z_/]+\.py)", (ROOT / page).read_text()))
    assert all((ROOT / file).exists() for file in files), files


def test_all_seventy_are_told_of() -> None:
    rows = re.findall(r"^\| ([0-9]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs/security.md").read_text(), re.M)
    assert [int(row[0]) for row in rows] == list(range(1, 71))
    for number, identity, rule, shown in rows:
        assert re.search(r"CVE-|GHSA-", identity), number
        assert len(rule) > 10, number
        assert re.search(r"`test|with issue [0-9]|still to come|not applicable", shown), number


@pytest.mark.kernel
@pytest.mark.peer
def test_an_unchosen_log_driver(daemon: Daemon) -> None:
    identity = daemon.engine.create({"Image": "busybox", "Cmd": ["true"]})["Id"]
    try:
        assert daemon.engine.inspect(identity)["HostConfig"]["LogConfig"]["Type"] == "json-file"
    finally:
        daemon.engine.remove(identity)
    chosen = daemon.engine.create({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"LogConfig": {"Type": "json-file"}}})
    daemon.engine.remove(chosen["Id"])
    assert not any("json-file" in warning for warning in chosen["Warnings"] or [])


@pytest.mark.kernel
@pytest.mark.peer
def test_the_image_host_is_there(daemon: Daemon) -> None:
    assert daemon.engine.image("host")["RepoTags"] == ["host:latest"]
