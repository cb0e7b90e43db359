"""Imported first of all: keeps out of this process what it does not need, for every page of it is one that a fork must look after.

`dataclasses` imports `inspect` (with it ast, dis, tokenize: 1.4 MiB) only to write a docstring for classes that have none. While
our modules are loaded a stand-in answers instead; `end` takes it away again, so that a later import gets the real module.
"""

from __future__ import annotations

import sys
from types import ModuleType


def begin() -> None:
    if "inspect" not in sys.modules:
        stand_in = ModuleType("inspect")
        stand_in.__dict__.update(signature=lambda *_, **__: "()", gorae_stand_in=True)
        sys.modules["inspect"] = stand_in


def end() -> None:
    found = sys.modules.get("inspect")
    if found is not None and hasattr(found, "gorae_stand_in"):
        del sys.modules["inspect"]


begin()
