"""The steps of a birth, as the supervisor reported them → `GET /gorae/containers/{id}/birth`.

    {"Steps": [{"Phase": "before", "Call": "mkdir", "What": "…", "Why": "…", "Nanoseconds": 38000}, …], "Nanoseconds": …}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorae.wire.codec import Shape


class Step(Shape, frozen=True, kw_only=True):
    phase: str
    call: str
    what: str
    why: str
    nanoseconds: int | None


class Birth(Shape, frozen=True, kw_only=True):
    steps: list[Step]
    nanoseconds: int


# The parent's and the child's steps overlap in time; they are told in this order.
PHASES = ("before", "clone", "beside", "child")


def birth(steps: Sequence[Mapping[str, Any]]) -> Birth:
    """`steps` in the order of their ends, each with the side (parent or child) that took it."""
    shown: list[Step] = []
    born = False
    for step in steps:
        call = str(step.get("call", ""))
        phase = "child" if step.get("side") == "child" else "beside" if born else "clone" if call.startswith("clone") else "before"
        born = born or phase in ("clone", "child")
        shown.append(
            Step(
                phase=phase,
                call=call,
                what=what(step.get("arguments", ())),
                why=str(step.get("reason", "")),
                nanoseconds=step.get("nanoseconds"),
            )
        )
    shown.sort(key=lambda step: PHASES.index(step.phase))
    return Birth(steps=shown, nanoseconds=sum(step.nanoseconds or 0 for step in shown))


def what(arguments: object) -> str:
    """Arguments as a person writes them: words bare, the rest as `name=value` or as a list."""
    if isinstance(arguments, Mapping):
        return " ".join(f"{name}={what(value)}" for name, value in arguments.items() if value not in (None, "", [], {}))
    if isinstance(arguments, list | tuple):
        return " ".join(what(item) for item in arguments if item not in (None, "", [], {}))
    text = str(arguments)
    return text if len(text) <= 200 else f"{text[:199]}…"
