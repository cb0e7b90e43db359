"""goraed: from the command line to an exit status.

    options ─▶ root? ─▶ configuration ─▶ ground (directories, locks) ─▶ supervisor (launched) ─▶ life (engine, sockets, signals)

0: asked to stop, or nothing to do. 1: could not start, or failed; the last line on stderr says why. 2: misused.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gorae.daemon.options import Options

BEGUN = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    from gorae.daemon import options
    from gorae.errors import GoraeError

    given = options.parse(arguments)
    if os.geteuid() != 0:
        return _refuse("must run as root: containers need mounts, namespaces and cgroups (try it with sudo)")
    try:
        run(given)
    except GoraeError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        return 1
    except Exception as error:
        if given.overrides.get("debug"):
            raise
        from gorae.api.errors import describe

        return _refuse(f"unexpected error (--debug tells more): {describe(error)}")
    return 0


def run(given: Options) -> None:
    """Imports stand where they do because they are most of a start; see `imports` and `early`."""
    from gorae.daemon import early, ground, imports

    with imports.quick():
        from gorae.daemon import settings
    config = settings.read(given)
    ground.prepare(config.exec_root)
    with ground.pid_file(config.pidfile or config.exec_root / "goraed.pid"):
        ground.look_at_data_root(config.data_root)
        with early.supervisor(config.exec_root) as supervisor:
            with imports.quick():
                from gorae.daemon import life
            life.run(config, supervisor, BEGUN)


def _refuse(message: str) -> int:
    print(f"goraed: {message}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
