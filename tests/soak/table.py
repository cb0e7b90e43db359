"""The table that each command prints; its exit status says whether all figures were met."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.running import Daemon


class Figure(NamedTuple):
    what: str
    found: float
    most: float  # passes up to here


def show(title: str, figures: list[Figure]) -> int:
    print(f"\n{title}\n")
    for what, found, most in figures:
        print(f"  {'ok  ' if found <= most else 'FAIL'}  {what:44} {found:>12.6g}   at most {most:g}")
    return int(any(found > most for _, found, most in figures))


@contextmanager
def daemon() -> Iterator[Daemon]:
    """With busybox; its directory is kept when something fails."""
    folder = Path(tempfile.mkdtemp(prefix="gorae-soak-"))
    try:
        with Daemon(folder) as running:
            running.import_busybox()
            running.before = running.count()
            yield running
    except BaseException:
        print(f"see {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)
