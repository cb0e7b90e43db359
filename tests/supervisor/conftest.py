from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.supervisor.house import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A supervisor whose births are fakes."""
    house = House()
    try:
        house.begin()
        yield house
    finally:
        await house.aclose()
