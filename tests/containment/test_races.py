"""Swap races, eighty tries each; `tests/soak/races.py --tries 10000` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containment import races
from tests.running import Daemon

pytestmark = [pytest.mark.kernel, pytest.mark.peer]
TRIES = 80


@pytest.mark.parametrize("kind", races.KINDS)
def test_a_directory_swapped_for_a_link(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """CVE-2021-30465, CVE-2019-16884, CVE-2024-45310, CVE-2026-55686."""
    result = races.race(daemon.engine, kind, tmp_path, TRIES)
    assert result.escapes == []
    assert sum(result.outcomes.values()) == TRIES
    assert result.outcomes["started"] > 0
    assert not [words for words in result.outcomes if "unexpected" in words], result.outcomes
