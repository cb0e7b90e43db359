"""What is about the registry itself: `/v2/`, tokens, metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

from aiohttp.web_response import Response, StreamResponse

from gorae.registry import metrics
from gorae.registry.auth.guards import Bearer, basic
from gorae.registry.auth.tokens import LIFETIME
from gorae.registry.errors import Refusal
from gorae.registry.http import body
from gorae.registry.http.call import Call, json_answer

FORM_LIMIT = 64 << 10


async def version(call: Call) -> StreamResponse:
    return json_answer({})


async def prometheus(call: Call) -> StreamResponse:
    return Response(text=call.registry.metrics.text(), headers={"Content-Type": metrics.KIND})


async def token(call: Call) -> StreamResponse:
    """GET with Basic credentials, as docker login and pulls do; without them, what anybody may do."""
    return await _issue(call, call.header("Authorization"), call.query("service"), call.request.query.getall("scope", []))


async def token_by_form(call: Call) -> StreamResponse:
    """POST of an OAuth 2 form with a password (distribution's oauth.md); there are no refresh tokens."""
    data = await body.read(call.request, call.registry.settings.patience, FORM_LIMIT)
    if data is None:
        raise Refusal("SIZE_INVALID", "the form is too large", status=413)
    try:
        form = {key: values[-1] for key, values in parse_qs(data.decode(), max_num_fields=32).items()}
    except ValueError as error:
        raise Refusal("UNSUPPORTED", f"not a form: {error}", status=400) from error
    if form.get("grant_type") != "password":
        raise Refusal("UNSUPPORTED", "grant_type must be password", status=400)
    return await _issue(
        call, basic(form.get("username", ""), form.get("password", "")), form.get("service"), [form.get("scope", "")]
    )


async def _issue(call: Call, authorization: str | None, service: str | None, scopes: list[str]) -> StreamResponse:
    guard = call.registry.guard
    if not isinstance(guard, Bearer):
        raise Refusal("UNSUPPORTED", "this registry issues no tokens", status=404)
    if service is not None and service != guard.service:
        raise Refusal("DENIED", f"tokens for {guard.service} are issued here", status=400)
    given = await guard.issue(authorization, scopes)
    if given is None:
        raise Refusal("UNSUPPORTED", "this registry issues no tokens", status=404)
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = {"token": given, "access_token": given, "expires_in": LIFETIME, "issued_at": moment}
    return json_answer(answer, headers={"Cache-Control": "no-store"})
