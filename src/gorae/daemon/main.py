"""goraed: from the command line to an exit status.

    options ─▶ root? ─▶ configuration ─▶ ground (directories, pid file) ─▶ life (engine, sockets, signals)

0: asked to stop, or nothing to do. 1: could not start, or failed; the last line on stderr says why. 2: misused.
"""

from __future__ import annotations

import os
import sys
import time

BEGUN = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    from gorae.daemon import options

    given = options.parse(arguments)
    if os.geteuid() != 0:
        return _refuse("must run as root: containers need mounts, namespaces and cgroups (try it with sudo)")
    # All imports that cost time happen in here.
    from gorae.daemon.imports import load

    with load():
        from gorae.api.errors import describe
        from gorae.daemon import life
        from gorae.errors import GoraeError
    try:
        life.run(given, BEGUN)
    except GoraeError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        return 1
    except Exception as error:
        if given.overrides.get("debug"):
            raise
        return _refuse(f"unexpected error (--debug tells more): {describe(error)}")
    return 0


def _refuse(message: str) -> int:
    print(f"goraed: {message}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
