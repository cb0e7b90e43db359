"""The n-th call fails, for every n: a clean error or none, nothing is left, and the next operation works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from gorae.api.errors import UNEXPECTED
from gorae.errors import GoraeError
from tests.reliability.scenarios import Stage
from tests.running import Daemon, until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

ERRORS = ("ENOSPC", "EIO", "EMFILE", "EAGAIN", "EPERM", "ENOMEM")
MOST = 400


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("armed") / "call"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory, armed: Path) -> Iterator[Daemon]:
    program = (str(Path(__file__).with_name("failing.py")), str(armed))
    with Daemon(tmp_path_factory.mktemp("fragile"), program=program) as daemon:
        daemon.import_busybox()
        daemon.before = daemon.count()
        yield daemon


def create(stage: Stage) -> None:
    stage.create("made", "true")


def start(stage: Stage) -> None:
    stage.engine.start("victim")


def exec_(stage: Stage) -> None:
    stage.engine.exec_detach(stage.engine.exec_create("victim", {"Cmd": ["true"]}))


def remove(stage: Stage) -> None:
    stage.engine.remove("victim", force=True)


def import_(stage: Stage) -> None:
    stage.import_image("imported", "of-import")


def remove_image(stage: Stage) -> None:
    stage.engine.remove_image("imported")


def idle(stage: Stage) -> None:
    stage.create("victim", "sleep", "1000")


def running(stage: Stage) -> None:
    stage.run("victim", "sleep", "1000")


def nothing(stage: Stage) -> None:
    """No preparation."""


@pytest.mark.parametrize(
    ("prepare", "act"),
    [(nothing, create), (idle, start), (running, exec_), (running, remove), (nothing, import_), (import_, remove_image)],
    ids=["create", "start", "exec", "rm", "import", "rmi"],
)
def test_every_call(fragile: Daemon, armed: Path, prepare: Callable[[Stage], None], act: Callable[[Stage], None]) -> None:
    stage = Stage(fragile)
    reached = 0
    for number in count(1):
        assert number < MOST
        prepare(stage)
        error = ERRORS[number % len(ERRORS)]
        armed.write_text(f"{number} {error}")
        words = ""
        try:
            act(stage)
        except GoraeError as failure:
            words = str(failure)
        if UNEXPECTED in words:
            raise AssertionError(f"call {number}, {error}: {words}\n{fragile.log.read_text()[-4000:]}")
        failed = armed.read_text() == "done"
        armed.unlink()
        works(stage, number, error)
        if not failed:
            break
        reached = number
    assert reached, "no call was reached"
    fragile.kill()  # an undo that failed itself is made good by the next start
    fragile.start()
    assert fragile.left_behind() == []


def works(stage: Stage, number: int, error: str) -> None:
    daemon = stage.daemon
    assert daemon.process is not None
    assert daemon.process.poll() is None, (number, error)
    stage.run("next", "true")
    assert stage.wait_for_end("next") == 0
    daemon.remove_everything(but=("busybox:latest",))
    until(lambda: not lasting(daemon), f"call {number}, {error}: {lasting(daemon)}", 3)


def lasting(daemon: Daemon) -> list[str]:
    """What no restart would sweep, or only by chance."""
    return [item for item in daemon.left_behind(0) if not item.startswith(("files", "rows"))]
