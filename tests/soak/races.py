"""The swap races of the containment suite at full size.

    .venv/bin/python -m tests.soak.races --tries 10000 [--kind bind]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.containment import inside, races
from tests.running import Daemon


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10_000, help="of each kind")
    parser.add_argument("--kind", choices=races.KINDS, action="append", help="default: all")
    arguments = parser.parse_args()
    escapes = 0
    with tempfile.TemporaryDirectory(prefix="gorae-races-") as name, Daemon(Path(name)) as daemon:
        daemon.import_busybox()
        daemon.docker("import", "-", inside.IMAGE, input=inside.image())
        for kind in arguments.kind or races.KINDS:
            began = time.monotonic()
            result = races.race(daemon.engine, kind, Path(name) / kind, arguments.tries)
            escapes += len(result.escapes)
            seconds = time.monotonic() - began
            print(f"{kind}: {dict(result.outcomes)} in {seconds:.0f} s, escapes: {result.escapes or 0}", flush=True)
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main())
