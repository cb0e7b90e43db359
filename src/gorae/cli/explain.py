"""`gorae run --explain`: the steps of a birth as they really happened.

what            why                                     time
─ before the child exists ─
mkdir …         a cgroup of its own, to count and limit   38 µs
─ clone3 ─
…
"""

from __future__ import annotations

import re
import sys
from typing import Any

IDENTITY = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
WIDTH = 140  # of what goes into a file

PHASES = {
    "before": "the parent, before the child exists",
    "clone": "the birth itself",
    "beside": "the parent, while the child waits",
    "child": "the child, inside its new namespaces",
}


def draw(birth: dict[str, Any]) -> None:
    """To stderr, so that the container's own output stays clean."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH)
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("call", no_wrap=True, style="cyan")
    table.add_column("what", overflow="fold", ratio=3)
    table.add_column("why", overflow="fold", ratio=3, style="dim")
    table.add_column("µs", justify="right", no_wrap=True)
    phase = ""
    for step in birth["Steps"]:
        if step["Phase"] != phase:
            phase = step["Phase"]
            table.add_section()
            table.add_row("", Text(PHASES.get(phase, phase), style="bold"), "", "")
        table.add_row(step["Call"], Text(IDENTITY.sub(r"\1…", step["What"])), Text(step["Why"]), microseconds(step["Nanoseconds"]))
    console.print(table)
    console.print(f"{len(birth['Steps'])} steps, {birth['Nanoseconds'] / 1e6:.1f} ms from the request to the program")


def microseconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1000:.0f}"
