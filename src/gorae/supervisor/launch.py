"""Starts a supervisor. It imports next to nothing: a starting daemon calls it before it imports everything else, so that both come
up side by side.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gorae import crashpoints

PROGRAM = Path(__file__).with_name("main.py")


def launch(directory: Path) -> subprocess.Popen[bytes]:
    """A process that will listen on `directory`/supervisor.sock; the directory (0700) is there already.

    It survives us: a session of its own, no descriptor of ours, an empty environment. Where one runs already, the new one ends with
    status 1.
    """
    with open(directory / "supervisor.log", "ab") as output:
        os.fchmod(output.fileno(), 0o600)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), "--directory", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                **crashpoints.environment(),
            },
            start_new_session=True,
        )
