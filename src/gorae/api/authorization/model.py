"""What a plugin is told and what it says.

    Question ─▶ request  ─▶ Decision        before the endpoint is called
    Question, Outcome ─▶ response ─▶ Decision   when the head of its answer is known, before any of it is sent

A plugin in Python is a class that is made without arguments, named in the entry point group `gorae.authorization`:

    class Policy:
        async def request(self, question: Question) -> Decision: ...
        async def response(self, question: Question, outcome: Outcome) -> Decision: ...

It runs in the daemon's event loop: it must not block. Whatever it raises, and anything but a Decision, is a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Question:
    """`body` is the very object that the endpoint parses; empty for uploads (archives), which no endpoint parses as a document."""

    method: str
    uri: str  # path and query as they were sent, which is how they are matched
    headers: Mapping[str, str]  # without credentials
    body: bytes
    user: str = ""  # the common name of the client's certificate
    user_authentication: str = ""  # "TLS" or nothing
    certificates: tuple[str, ...] = ()  # PEM


@dataclass(frozen=True)
class Outcome:
    status: int
    headers: Mapping[str, str]
    body: bytes  # empty for answers that grow


@dataclass(frozen=True)
class Decision:
    allowed: bool
    message: str = ""


class Authorizer(Protocol):
    @property
    def name(self) -> str: ...

    async def request(self, question: Question) -> Decision: ...

    async def response(self, question: Question, outcome: Outcome) -> Decision: ...

    async def aclose(self) -> None: ...
