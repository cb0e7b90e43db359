"""From facts to findings. Pure: the same facts give the same lines, in the same order."""

from __future__ import annotations

from collections.abc import Iterable

from gorae.preflight import cgroups, distribution, kernel, rights, storage
from gorae.preflight.facts import Facts
from gorae.preflight.finding import Finding

OLDEST_PYTHON = (3, 11)


def evaluate(facts: Facts) -> tuple[Finding, ...]:
    """A line each, the most general first. Names are unique."""
    return (
        distribution.evaluate(facts.os_release, facts.today),
        python(facts),
        *rights.evaluate(facts),
        *kernel.evaluate(facts),
        *cgroups.evaluate(facts),
        *storage.evaluate(facts),
    )


def verdict(findings: Iterable[Finding]) -> int:
    """The exit status: 0 when the machine is fit, warnings or not; 1 when it is not."""
    return int(any(finding.status == "fail" for finding in findings))


def python(facts: Facts) -> Finding:
    version = ".".join(map(str, facts.python))
    if facts.python[:2] < OLDEST_PYTHON:
        return Finding("python", "fail", f"Python {version} is too old", "install Python 3.11 or newer")
    return Finding("python", "ok", f"Python {version}")
