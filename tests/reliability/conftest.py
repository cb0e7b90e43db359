"""A stage a module: a daemon with busybox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.scenarios import Stage
from tests.running import Daemon


@pytest.fixture
def stage(daemon: Daemon) -> Iterator[Stage]:
    """After each test nothing is left."""
    yield Stage(daemon)
    daemon.remove_everything(but=("busybox:latest",))
    assert daemon.left_behind() == []
