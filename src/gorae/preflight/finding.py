"""One line of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    status: Status
    """`warn`: containers run, without something. `fail`: they do not run, or not safely."""
    detail: str
    advice: str = ""
    """What to do; empty when nothing has to be done."""
