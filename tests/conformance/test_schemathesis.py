"""2,000 requests made from the Docker API's description: no 5xx, no traceback, state intact. `tests/soak/schema.py` sends more."""

from __future__ import annotations

import pytest
from tests.conformance import schema
from tests.running import Daemon

pytestmark = [pytest.mark.kernel, pytest.mark.peer, pytest.mark.timeout(300)]

CASES = 2000
SECONDS = 150.0  # on a machine as slow as that, as many as fit


def test_the_description(daemon: Daemon) -> None:
    path = schema.description()
    if path is None:
        pytest.skip("the Docker API's description is neither at GORAE_ENGINE_API nor in ../shared/engine-api.yaml beside the clone")
    pytest.importorskip("schemathesis")
    campaign = schema.Campaign(daemon, path, number=1)
    campaign.run(CASES, SECONDS)
    print(f"{campaign.sent} requests", dict(campaign.statuses), dict(campaign.silent), dict(campaign.seconds))
    assert not campaign.problems, "\n".join([f"{len(campaign.problems)} problems", *campaign.problems[:20]])
    assert campaign.sent >= CASES // 2
