"""Places at which a test lets a process die as by kill -9: before and after each durable step.

    GORAE_CRASH_POINTS=/path    the name in that file is the place to die at; the file goes with the process, so it dies once

    crashpoints.hit("container.remove.before-row")

Without the variable `hit` is a comparison with nothing. The names stand in the source as literals (one placeholder, `{status}`,
stands for what a container's row may say), so that a test can list them: tests/reliability dies at each.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "GORAE_CRASH_POINTS"

_path = os.environ.get(VARIABLE)


def hit(name: str) -> None:
    """Die here, if this is the place."""
    if _path is not None:
        _consider(name, _path)


def environment() -> dict[str, str]:
    """For a process of ours that starts with an otherwise empty environment."""
    return {} if _path is None else {VARIABLE: _path}


def _consider(name: str, path: str) -> None:
    try:
        with open(path, encoding="ascii") as file:
            wanted = file.read()
    except FileNotFoundError:
        return
    if wanted == name:
        os.unlink(path)
        os.kill(os.getpid(), signal.SIGKILL)
