"""Tokens: JWT as Docker's registries use them.

    {"iss": issuer, "aud": service, "sub": user, "iat", "nbf", "exp", "jti",
     "access": [{"type": "repository", "name": "team/app", "actions": ["pull", "push"]}, …]}

A client asks for scopes (`repository:team/app:pull,push`, `registry:catalog:*`) and is given the part of them that the policy
allows, which may be nothing: that is how a public image is pulled, and how a wrong scope is found out where it is used.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gorae.registry.auth.access import ACTIONS, BY_ACTION, CATALOG
from gorae.registry.auth.policy import Policy
from gorae.registry.errors import Refusal
from gorae.registry.names import check_name

if TYPE_CHECKING:  # a registry that issues no tokens does without their libraries
    from gorae.registry.auth.keys import Signing, Trusted

LIFETIME = 300
LEEWAY = 30
MOST_SCOPES = 64
LONGEST = 16 << 10


@dataclass(frozen=True)
class Scope:
    kind: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"


CATALOG_SCOPE = Scope("registry", "catalog", ("*",))


@dataclass(frozen=True)
class Claims:
    """The `Access` of a token."""

    user: str
    scopes: tuple[Scope, ...]

    def may(self, right: str, name: str = "") -> bool:
        if right == CATALOG:
            return any((each.kind, each.name) == ("registry", "catalog") and "*" in each.actions for each in self.scopes)
        action = ACTIONS[right]
        return any(each.kind == "repository" and each.name == name and action in each.actions for each in self.scopes)


def parse_scopes(words: Iterable[str]) -> list[Scope]:
    """What is not understood is left out: the specification of tokens lets a server grant less."""
    scopes: list[Scope] = []
    for word in " ".join(words).split()[:MOST_SCOPES]:
        kind, _, rest = word.partition(":")
        name, _, actions = rest.rpartition(":")
        kind = kind.partition("(")[0]  # repository(plugin)
        if kind == "repository":
            try:
                scopes.append(Scope(kind, check_name(name), tuple(actions.split(","))))
            except Refusal:
                continue
        elif (kind, name) == ("registry", "catalog"):
            scopes.append(CATALOG_SCOPE)
    return scopes


def grant(policy: Policy, user: str, asked: Iterable[Scope]) -> tuple[Scope, ...]:
    """The part of what is asked that the policy gives."""
    given: list[Scope] = []
    for scope in asked:
        if scope.kind == "registry":
            if policy.allows(user, CATALOG):
                given.append(scope)
            continue
        actions = BY_ACTION if "*" in scope.actions else scope.actions
        allowed = tuple(each for each in actions if each in BY_ACTION and policy.allows(user, BY_ACTION[each], scope.name))
        if allowed:
            given.append(Scope("repository", scope.name, allowed))
    return tuple(given)


def issue(key: Signing, issuer: str, service: str, user: str, scopes: Iterable[Scope], lifetime: int = LIFETIME) -> str:
    import jwt

    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": service,
        "sub": user,
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
        "jti": secrets.token_hex(8),
        "access": [{"type": each.kind, "name": each.name, "actions": list(each.actions)} for each in scopes],
    }
    return jwt.encode(claims, key.key, algorithm=key.public.algorithm, headers={"kid": key.public.identifier})


def verify(token: str, keys: tuple[Trusted, ...], issuer: str, service: str) -> Claims:
    """Raises `ValueError` with the reason."""
    import jwt

    if len(token) > LONGEST:
        raise ValueError("the token is too long")
    try:
        identifier = jwt.get_unverified_header(token).get("kid")
        chosen = [each for each in keys if identifier is None or each.identifier == identifier]
        if not chosen:
            raise ValueError("the token is signed with a key that is not trusted here")
        for position, each in enumerate(chosen):
            try:
                claims = jwt.decode(
                    token,
                    each.key,
                    algorithms=[each.algorithm],
                    audience=service,
                    issuer=issuer,
                    leeway=LEEWAY,
                    options={"require": ["iss", "aud", "sub", "exp", "nbf", "iat"]},
                )
                return _claims(claims)
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                if position == len(chosen) - 1:
                    raise
    except jwt.PyJWTError as error:
        raise ValueError(f"the token is not valid: {error}") from error
    raise AssertionError("unreachable")


def _claims(claims: dict[str, Any]) -> Claims:
    scopes: list[Scope] = []
    entries = claims.get("access")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("actions"), list):
            scopes.append(Scope(str(entry.get("type")), str(entry.get("name")), tuple(map(str, entry["actions"]))))
    return Claims(str(claims["sub"]), tuple(scopes))
