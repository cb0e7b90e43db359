"""Many runs, one after the other; nothing grows, nothing is left."""

from __future__ import annotations

import argparse
import sys
import time

from tests.reliability.scenarios import Stage
from tests.reliability.test_pressure import fill_the_events, runs
from tests.soak import table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10000)
    arguments = parser.parse_args()
    with table.daemon() as daemon:
        stage = Stage(daemon)
        fill_the_events(stage)
        begun = time.monotonic()
        grown = runs(stage, arguments.count, warm=300)
        seconds = time.monotonic() - begun
        left = len(daemon.left_behind())
    figures = [table.Figure("left behind", left, 0)]
    for index, who in enumerate(("daemon", "supervisor")):
        figures += [
            table.Figure(f"{who}: descriptors", grown["descriptors"][index], 2),
            table.Figure(f"{who}: threads", grown["threads"][index], 0),
            table.Figure(f"{who}: bytes a run", grown["bytes a run"][index], 1024),
        ]
    return table.show(f"{arguments.count} runs in {seconds:.0f} s", figures)


if __name__ == "__main__":
    sys.exit(main())
