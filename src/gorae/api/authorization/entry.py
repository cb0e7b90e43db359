"""Plugins written in Python: classes named in the entry point group `gorae.authorization` of an installed distribution."""

from __future__ import annotations

import inspect
from importlib import metadata
from typing import Any

from gorae.api.authorization.model import Decision, Outcome, Question
from gorae.errors import InvalidArgument

GROUP = "gorae.authorization"


class EntryPoint:
    def __init__(self, name: str, policy: Any) -> None:
        self.name = name
        self._policy = policy

    async def request(self, question: Question) -> Decision:
        return await _awaited(self._policy.request(question))

    async def response(self, question: Question, outcome: Outcome) -> Decision:
        return await _awaited(self._policy.response(question, outcome))

    async def aclose(self) -> None:
        return None


async def _awaited(value: Any) -> Decision:
    """The chain checks that it is a Decision."""
    answer: Decision = await value if inspect.isawaitable(value) else value
    return answer


def find(name: str) -> EntryPoint | None:
    """The plugin of that name; InvalidArgument when it cannot be loaded or two distributions offer it."""
    found = tuple(metadata.entry_points(group=GROUP, name=name))
    if not found:
        return None
    if len(found) > 1:
        raise InvalidArgument(f"authorization plugin {name!r}: {len(found)} installed distributions offer it; remove all but one")
    try:
        policy = found[0].load()()
    except Exception as error:
        raise InvalidArgument(f"authorization plugin {name!r} ({found[0].value}) cannot be loaded: {error}") from error
    for method in ("request", "response"):
        if not callable(getattr(policy, method, None)):
            raise InvalidArgument(f"authorization plugin {name!r} ({found[0].value}) has no method {method!r}")
    return EntryPoint(name, policy)
