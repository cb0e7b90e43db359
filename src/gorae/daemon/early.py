"""The supervisor, launched before the daemon has imported what it needs.

    daemon      options · configuration · locks │ imports 0.12 s │ engine ── connects ──▶
    supervisor                                  └ its own start 0.13 s ┘

When one runs already (a daemon before us was killed or upgraded), there is nothing to launch. When the daemon then fails to
start, the supervisor that it launched goes with it.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gorae.supervisor.launch import launch

PATIENCE = 5.0


@contextmanager
def supervisor(exec_root: Path) -> Iterator[subprocess.Popen[bytes] | None]:
    """The process that was launched, None when one answers already.

    Whoever leaves this by an exception leaves no supervisor of ours behind, unless containers live in it by now.
    """
    directory = exec_root / "supervisor"
    directory.mkdir(mode=0o700, exist_ok=True)
    if _answers(directory / "supervisor.sock"):
        yield None
        return
    process = launch(directory)
    try:
        yield process
    except BaseException:
        process.terminate()  # which it heeds only without containers
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        raise


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
