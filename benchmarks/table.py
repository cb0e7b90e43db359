"""One command, one table: each row is measured on every engine in turn (A B A B …), and told as medians and their ratio.

The column "goal" is the design's; a row that misses it is marked. `--json FILE` keeps the raw values.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import engines, workloads
from benchmarks.engines import Contender


@dataclass
class Row:
    """`measure` gives one value of one engine; `goal` judges (ours, theirs or None)."""

    name: str
    unit: str
    measure: Callable[[Contender], float]
    goal: str
    met: Callable[[float, float | None], bool]
    rounds: int = 15
    only_ours: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)


def below(limit: float) -> Callable[[float, float | None], bool]:
    return lambda ours, theirs: ours <= limit


def ratio(limit: float) -> Callable[[float, float | None], bool]:
    """Met when ours is at most `limit` of theirs; unknown without a peer counts as met, and the table says so."""
    return lambda ours, theirs: theirs is None or ours <= limit * theirs


ROWS = [
    Row("docker run --rm --network none IMAGE true (stock CLI)", "ms", workloads.run_cli, "≤ 1/8", ratio(1 / 8)),
    Row("docker exec C true (stock CLI)", "ms", workloads.exec_cli, "≤ 1/2", ratio(1 / 2)),
    Row("API create + start + wait + delete", "ms", workloads.run_api, "≤ 15 ms", below(15)),
    Row("API exec create + start", "ms", workloads.exec_api, "≤ 5 ms", below(5)),
    Row("birth and death in the supervisor", "ms", workloads.birth_and_death, "≤ 7 ms", below(7), only_ours=True),
    Row("daemon start to first ping", "ms", workloads.daemon_start, "≤ 300 ms", below(300), rounds=5),
    Row("gorae version (docker version)", "ms", workloads.version_cli, "≤ 60 ms", below(60)),
    Row("50 sleeping containers: RSS of all engine processes", "MiB", workloads.fifty_sleepers, "≤ 80 MiB", below(80), rounds=1),
    Row("1,000,000 log lines: run", "s", workloads.log_write, "≤ 1/2", ratio(1 / 2), rounds=3),
    Row("1,000,000 log lines: read back", "s", workloads.log_read, "≤ 1/2", ratio(1 / 2), rounds=3),
    Row("containers per second, 8 at a time, API", "1/s", workloads.sustained, "≥ 60", lambda ours, theirs: ours >= 60, rounds=1),
    Row("import of 231 MB, 15,000 entries", "s", workloads.import_large, "≤ 2/3", ratio(2 / 3), rounds=3),
]  # fmt: skip


def measure(rows: list[Row], contenders: list[Contender], quick: bool) -> None:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(rows))
        for row in rows:
            progress.update(task, description=row.name[:50])
            rounds = max(1, row.rounds // 5) if quick else row.rounds
            for turn in range(rounds + (row.rounds > 1)):
                for engine in contenders:
                    if row.only_ours and engine.name != "gorae":
                        continue
                    value = row.measure(engine)
                    if turn or row.rounds == 1:  # the first one warms up
                        row.values.setdefault(engine.name, []).append(value)
            progress.advance(task)


def show(rows: list[Row]) -> bool:
    """Prints the table; whether every goal is met."""
    table = Table(title="medians of this run", title_justify="left")
    for name in ("work", "gorae", "dockerd", "ratio", "goal", ""):
        table.add_column(name, justify="right" if name in ("gorae", "dockerd", "ratio") else "left")
    good = True
    for row in rows:
        ours = statistics.median(row.values["gorae"])
        theirs = statistics.median(row.values["dockerd"]) if "dockerd" in row.values else None
        met = row.met(ours, theirs)
        good &= met
        sign = "[green]✓[/]" if met else "[red]✗[/]"
        quotient = f"{theirs / ours:.1f}×" if theirs and row.unit != "1/s" else f"{ours / theirs:.1f}×" if theirs else ""
        table.add_row(row.name, f"{ours:.3g} {row.unit}", f"{theirs:.3g} {row.unit}" if theirs else "", quotient, row.goal, sign)
    Console(width=None if sys.stdout.isatty() else 132).print(table)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the rounds")
    parser.add_argument("--only", default="", help="only rows whose name contains this word")
    parser.add_argument("--json", type=Path, help="keep the raw values in this file")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in row.name]
    with tempfile.TemporaryDirectory(prefix="gorae-benchmark-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        contenders = engines.contenders(Path(folder))
        try:
            measure(rows, contenders, options.quick)
        finally:
            for engine in contenders:
                engine.close()
    if options.json:
        options.json.write_text(json.dumps({row.name: row.values for row in rows}, indent=2, ensure_ascii=False))
    return 0 if show(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
