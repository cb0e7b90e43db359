"""One daemon for the whole suite, with the images `busybox` and `probe`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containment import inside
from tests.running import Daemon


@pytest.fixture(scope="package")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """What the tests of this folder leave behind fails the last of them."""
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        running.import_busybox()
        running.docker("import", "-", inside.IMAGE, input=inside.image())
        running.before = running.count()
        yield running


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the machine, with a file, that must be the same afterwards."""
    where = tmp_path / "canary"
    where.mkdir()
    (where / "file").write_text("untouched")
    before = where.stat().st_mode, where.stat().st_uid, (where / "file").stat().st_mode, (where / "file").stat().st_uid
    yield where
    assert [(each.name, each.read_text()) for each in where.iterdir()] == [("file", "untouched")]
    assert (where.stat().st_mode, where.stat().st_uid, (where / "file").stat().st_mode, (where / "file").stat().st_uid) == before
