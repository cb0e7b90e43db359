"""A process dies at each named place of the source; what was acknowledged holds, nothing half-made stays, and work goes on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorae import crashpoints
from gorae.errors import GoraeError
from tests.reliability import scenarios
from tests.reliability.scenarios import Scenario, Stage
from tests.running import Daemon, until

SOURCE = Path(crashpoints.__file__).parent
RECORDED = ("created", "running", "paused", "restarting", "exited")  # the others are never in a row


def points() -> list[str]:
    """Each `hit("…")` of the source."""
    found: set[str] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        if "crashpoints.hit(" not in text or path.name == "crashpoints.py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "hit":
                found |= names(node.args[0])
    return sorted(found)


def names(argument: ast.expr) -> set[str]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return {argument.value}
    pattern = ast.unparse(argument)[2:-1]
    assert isinstance(argument, ast.JoinedStr), pattern
    assert "{status}" in pattern, pattern
    return {pattern.replace("{status}", status) for status in RECORDED}


CASES = [(point, scenario) for point in points() for scenario in scenarios.that_reach(point)]


def test_every_place_has_a_scenario() -> None:
    assert [point for point in points() if not scenarios.that_reach(point)] == []
    assert len(points()) >= 60


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("armed") / "point"


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory, armed: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("mortal"), variables={crashpoints.VARIABLE: str(armed)}) as daemon:
        daemon.import_busybox()
        daemon.before = daemon.count()
        yield daemon


@pytest.mark.kernel
@pytest.mark.parametrize(("point", "scenario"), CASES, ids=[f"{point}-{scenario.__name__}" for point, scenario in CASES])
def test_dies_there(mortal: Daemon, armed: Path, point: str, scenario: type[Scenario]) -> None:
    stage = Stage(mortal)
    work = scenario()
    work.prepare(stage)
    armed.write_text(point)
    try:
        work.act(stage)
    except (GoraeError, OSError):
        pass
    try:
        until(lambda: not armed.exists(), f"{scenario.__name__} does not come to {point}", 5)
        recover(mortal)
        stage.ledger.check()
        works(stage)
    finally:
        armed.unlink(missing_ok=True)
        recover(mortal)
        mortal.remove_everything(but=("busybox:latest",))
    assert mortal.left_behind() == []


def recover(daemon: Daemon) -> None:
    """The daemon again, if it was the one who died; its supervisor is replaced by itself."""
    assert daemon.process is not None
    try:
        daemon.engine.ping(timeout=5)
    except (GoraeError, OSError):
        daemon.process.wait(5)
        assert daemon.start() < 3


def works(stage: Stage) -> None:
    stage.run("next", "sh", "-c", "exit 3")
    assert stage.wait_for_end("next") == 3
    stage.engine.remove("next")
