"""All configured plugins, asked one after the other. It fails closed.

    every plugin says yes     the request goes on
    one says no               403, Docker's words `authorization denied by plugin x: …`
    one fails, is late,       500, Docker's words `plugin x failed with error: …`
    or says nonsense

Attach, exec and what grows (events, logs, wait) are asked for by their request; of an answer that grows, the plugin sees the head.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp.web_request import BaseRequest

from gorae.api.authorization.model import Authorizer, Decision, Outcome, Question
from gorae.errors import Forbidden, GoraeError

log = logging.getLogger("gorae.api")

PATIENCE = 30.0  # Docker's, for one answer of one plugin

# Docker keeps these from plugins.
CREDENTIALS = frozenset({"authorization", "x-registry-auth", "x-registry-config"})


class Chain:
    """Closed by its opener."""

    def __init__(self, authorizers: Sequence[Authorizer], patience: float = PATIENCE) -> None:
        self._authorizers = tuple(authorizers)
        self._patience = patience

    async def aclose(self) -> None:
        for authorizer in self._authorizers:
            await authorizer.aclose()

    async def admit(self, request: BaseRequest, body: bytes) -> Admission:
        """Ask for a request. Forbidden or GoraeError when it must not be carried out."""
        question = _question(request, body)
        await self._all(lambda authorizer: authorizer.request(question))
        return Admission(self, question)

    async def answer(self, question: Question, outcome: Outcome) -> None:
        await self._all(lambda authorizer: authorizer.response(question, outcome))

    async def _all(self, ask: Callable[[Authorizer], Awaitable[Decision]]) -> None:
        for authorizer in self._authorizers:
            try:
                async with asyncio.timeout(self._patience):
                    decision = await ask(authorizer)
                if type(decision) is not Decision:
                    raise GoraeError(f"it answered a {type(decision).__name__}, not a Decision")
            except Exception as error:
                reason = f"no answer within {self._patience:g} s" if isinstance(error, TimeoutError) else _reason(error)
                log.error("authorization plugin %s failed: %s", authorizer.name, reason)
                raise GoraeError(f"plugin {authorizer.name} failed with error: {reason}") from error
            if decision.allowed is not True:
                raise Forbidden(f"authorization denied by plugin {authorizer.name}: {decision.message}")


class Admission:
    """A request that was let in; its answer has still to be (`Call.gate`)."""

    def __init__(self, chain: Chain, question: Question) -> None:
        self._chain = chain
        self._question = question

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        await self._chain.answer(self._question, Outcome(status, dict(headers), body))


def _question(request: BaseRequest, body: bytes) -> Question:
    url = request.rel_url
    transport = request.transport
    peer = transport.get_extra_info("peer") if transport is not None else None
    return Question(
        method=request.method,
        uri=url.raw_path + (f"?{url.raw_query_string}" if url.raw_query_string else ""),
        headers={
            name: ", ".join(request.headers.getall(name)) for name in request.headers if name.lower() not in CREDENTIALS
        },
        body=body,
        user=peer.name if peer is not None else "",
        user_authentication="TLS" if peer is not None else "",
        certificates=(peer.certificate,) if peer is not None else (),
    )


def _reason(error: Exception) -> str:
    """A foreign error's message may quote anything; its kind is enough for a client."""
    return str(error) if isinstance(error, GoraeError) else type(error).__name__
