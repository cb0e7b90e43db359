"""The three ways to ask who somebody is.

    Open      nobody is asked
    Basic     a password with each request; the policy decides
    Bearer    a token with each request, got from `/token` for a password; the token decides. The page for people takes a
              password here too

A refused anonymous is told how to log in (401); somebody known is told that it is not allowed: 403, or with tokens 401 again,
because a token with more rights may be had.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gorae.registry.auth import tokens
from gorae.registry.auth.access import ACTIONS, CATALOG, Access, Everything, Need, unauthorized
from gorae.registry.auth.policy import Policy
from gorae.registry.errors import Refusal

if TYPE_CHECKING:  # a registry that asks nobody does without their libraries
    from gorae.registry.auth.keys import Signing, Trusted
    from gorae.registry.auth.passwords import Passwords

_LONGEST = 4096


@dataclass(frozen=True)
class User:
    """Somebody (or, with an empty name, anybody) under a policy."""

    user: str
    policy: Policy

    def may(self, right: str, name: str = "") -> bool:
        return self.policy.allows(self.user, right, name)


class Open:
    async def identify(self, authorization: str | None) -> Access:
        return Everything()

    def refusal(self, access: Access, needs: tuple[Need, ...], base: str) -> Refusal:
        return Refusal("DENIED", "not allowed")

    def login(self) -> Refusal:
        return Refusal("DENIED", "not allowed")


class Basic:
    def __init__(self, passwords: Passwords, policy: Policy, realm: str) -> None:
        self._passwords = passwords
        self._policy = policy
        self._challenge = {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}

    async def identify(self, authorization: str | None) -> Access:
        if authorization is None:
            return User("", self._policy)
        user = await check_password(self._passwords, authorization)
        if user is None:
            raise unauthorized("wrong user or password", self._challenge)
        return User(user, self._policy)

    def login(self) -> Refusal:
        return unauthorized("authentication required", self._challenge)

    def refusal(self, access: Access, needs: tuple[Need, ...], base: str) -> Refusal:
        if not access.user:
            return self.login()
        return Refusal("DENIED", "requested access to the resource is denied", detail=[_told(each) for each in needs if each.right])


class Bearer:
    """Believes tokens of `issuer` for `service` that one of `keys` has signed; `signing` is our own issuer's key."""

    def __init__(
        self,
        keys: tuple[Trusted, ...],
        issuer: str,
        service: str,
        signing: Signing | None,
        passwords: Passwords | None,
        policy: Policy,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._signing = signing
        self._passwords = passwords
        self._challenge = {"WWW-Authenticate": f'Basic realm="{service}", charset="UTF-8"'}
        self.service = service
        self.policy = policy

    async def identify(self, authorization: str | None) -> Access:
        if authorization is None:
            return tokens.Claims("", ())
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer":
            try:
                return tokens.verify(rest.strip(), self._keys, self._issuer, self.service)
            except ValueError as error:
                # Whom to ask for a new one is said by `refusal`, which knows what is needed.
                return Unproven(str(error))
        return tokens.Claims("", ())

    async def identify_person(self, authorization: str | None) -> Access:
        """For the page: a browser knows no tokens."""
        user = "" if authorization is None else await check_password(self._passwords, authorization)
        if user is None:
            raise unauthorized("wrong user or password", self._challenge)
        return User(user, self.policy)

    def login(self) -> Refusal:
        return unauthorized("authentication required", self._challenge)

    def refusal(self, access: Access, needs: tuple[Need, ...], base: str) -> Refusal:
        words = [f'Bearer realm="{base}/token"', f'service="{self.service}"']
        scopes = [_scope(each) for each in needs if each.right]
        if scopes:
            words.append(f'scope="{" ".join(scopes)}"')
        if isinstance(access, Unproven):
            words.append('error="invalid_token"')
        elif access.user or (isinstance(access, tokens.Claims) and access.scopes):
            words.append('error="insufficient_scope"')
        message = access.reason if isinstance(access, Unproven) else "authentication required"
        return Refusal(
            "UNAUTHORIZED",
            message,
            headers={"WWW-Authenticate": ",".join(words)},
            detail=[_told(each) for each in needs if each.right],
        )

    async def issue(self, authorization: str | None, asked: list[str]) -> str | None:
        """A token with what the policy gives; `Refusal` for a wrong password, None when we are no issuer."""
        if self._signing is None:
            return None
        user = "" if authorization is None else await check_password(self._passwords, authorization)
        if user is None:
            raise unauthorized("wrong user or password", self._challenge)
        scopes = tokens.grant(self.policy, user, tokens.parse_scopes(asked))
        return tokens.issue(self._signing, self._issuer, self.service, user, scopes)


@dataclass(frozen=True)
class Unproven:
    """A token that is not believed: no rights, and the reason."""

    reason: str
    user: str = ""

    def may(self, right: str, name: str = "") -> bool:
        return False


async def check_password(passwords: Passwords | None, authorization: str) -> str | None:
    """The user of an `Authorization: Basic` header; None when anything about it is wrong."""
    scheme, _, rest = authorization.partition(" ")
    if passwords is None or scheme.lower() != "basic" or len(rest) > _LONGEST:
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user if colon and user and await passwords.check(user, password) else None


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _scope(need: Need) -> str:
    if need.right == CATALOG:
        return str(tokens.CATALOG_SCOPE)
    actions = ("pull", "push") if need.right == "write" else (ACTIONS[need.right],)
    return str(tokens.Scope("repository", need.name, actions))


def _told(need: Need) -> dict[str, str]:
    if need.right == CATALOG:
        return {"Type": "registry", "Name": "catalog", "Action": "*"}
    return {"Type": "repository", "Name": need.name, "Action": ACTIONS[need.right]}
