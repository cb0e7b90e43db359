"""Tables and small words: ages, sizes, statuses, as Docker's users know them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

STEPS = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (4.35, "week"), (12, "month"))


def show(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table that fits the terminal: on one, long cells are cut; into a pipe everything goes out whole."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    if not terminal:
        plain(header, rows)
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        justify = "right" if index in right else "left"
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns three spaces apart, as scripts expect them of `docker ps`."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def age(seconds: float) -> str:
    """`5 minutes`, `2 hours`, `3 weeks`: Docker's coarse words."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return counted(int(seconds), "second")
    if seconds < 120:
        return "About a minute"
    if 3600 <= seconds < 5400:
        return "About an hour"
    value = seconds
    for factor, unit in STEPS:
        if value < factor * (2 if unit in ("hour", "day", "week", "month") else 1):
            return counted(int(value), unit)
        value /= factor
    return counted(int(value), "year")


def counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def size(count: float) -> str:
    """Decimal, three digits, as `docker images`: 4.26MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g}{unit}" if count < 100 else f"{count:.0f}{unit}"
        count /= 1000
    raise AssertionError("unreachable")


def binary_size(count: float) -> str:
    """Binary, four digits, as `docker stats`: 1.945GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.4g}{unit}"
        count /= 1024
    raise AssertionError("unreachable")


def color(text: str, code: str, stream: int = 1) -> str:
    """`text` in an ANSI colour, on terminals only (and not where NO_COLOR is set)."""
    if os.environ.get("NO_COLOR") or not os.isatty(stream):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"
