"""A container writes 10 MB/s while the daemon is dead."""

from __future__ import annotations

import argparse
import sys

from tests.reliability.scenarios import Stage
from tests.reliability.test_pressure import write_without_daemon
from tests.soak import table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    with table.daemon() as daemon:
        took = write_without_daemon(Stage(daemon), seconds)
    return table.show(f"{seconds * 10} MB, every line there", [table.Figure("seconds that it took", took, seconds * 1.5 + 1)])


if __name__ == "__main__":
    sys.exit(main())
