"""50,000 requests made from the Docker API's description, seed after seed: python -m tests.soak.schema [cases [seed]]."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.conformance.schema import Campaign, description
from tests.running import Daemon

ROUND = 2500


def main(cases: int = 50_000, number: int = 1) -> int:
    path = description()
    if path is None:
        print("the Docker API's description is neither at GORAE_ENGINE_API nor in ../shared beside the clone")
        return 2
    sent = 0
    begun = time.monotonic()
    while sent < cases:
        with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder)) as daemon:
            campaign = Campaign(daemon, path, number)
            campaign.run(min(ROUND, cases - sent), float("inf"))
        sent += campaign.sent
        print(f"seed {number}: {sent} requests, {time.monotonic() - begun:.0f} s, {dict(campaign.statuses)}", flush=True)
        if campaign.problems:
            print("\n".join(campaign.problems))
            return 1
        number += 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
