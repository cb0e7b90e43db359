"""An engine for a test, and the check that nothing of it stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.home import Home

from gorae.engine.engine import Engine


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    found = Home(tmp_path)
    try:
        yield found
    finally:
        await found.leave()


@pytest.fixture
async def engine(home: Home) -> Engine:
    return await home.open()
