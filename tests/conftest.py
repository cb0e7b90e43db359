"""Fixtures for tests that run a whole daemon."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Daemon


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    """Whoever forks holds signals back for a moment; a test that leaves them held deafens all that come after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    after = signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert after == before, "signals are left blocked"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon shared by a module's tests, with the image `busybox`; what they leave behind fails the module."""
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        running.import_busybox()
        running.before = running.count()
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of one test's own, not yet started."""
    running = Daemon(tmp_path)
    yield running
    running.__exit__(None, None, None)
