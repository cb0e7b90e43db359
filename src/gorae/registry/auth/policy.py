"""The policy file: TOML, or JSON of the same shape.

    [[rule]]
    users = ["alice", "ci-*"]            "*": everybody who is logged in; "anonymous": everybody else too
    repositories = ["team/**", "tools"]  "*": any letters within one component; "**": any at all
    rights = ["read", "write", "delete", "catalog"]

A right is had when one rule gives it. Without a file everybody who is logged in has all rights, and nobody else any.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from gorae.errors import InvalidArgument
from gorae.registry.auth.access import RIGHTS

ANONYMOUS = "anonymous"
LIMIT = 4 << 20


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: tuple[str, ...]
    rights: tuple[Literal["read", "write", "delete", "catalog"], ...]
    repositories: tuple[str, ...] = ("**",)


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: tuple[Rule, ...] = ()

    def allows(self, user: str, right: str, name: str = "") -> bool:
        """`user` is "" for who is not logged in."""
        return any(
            right in each.rights
            and any(_is_user(pattern, user) for pattern in each.users)
            and (not name or any(matches(pattern, name) for pattern in each.repositories))
            for each in self.rule
        )


EVERYBODY = Policy((Rule(users=("*",), rights=RIGHTS),))  # type: ignore[arg-type]


def read_policy(path: str) -> Policy:
    try:
        data = Path(path).read_bytes()
        if len(data) > LIMIT:
            raise InvalidArgument(f"policy {path}: more than {LIMIT} bytes")
        decoder = msgspec.json.decode if path.endswith(".json") else msgspec.toml.decode
        return decoder(data, type=Policy)
    except OSError as error:
        raise InvalidArgument(f"policy {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidArgument(f"policy {path}: {error}") from error


def matches(pattern: str, name: str) -> bool:
    words = re.split(r"(\*\*|\*)", pattern)
    expression = "".join({"**": ".*", "*": "[^/]*"}.get(word, re.escape(word)) for word in words)
    return re.fullmatch(expression, name) is not None


def _is_user(pattern: str, user: str) -> bool:
    if pattern == ANONYMOUS:
        return True
    return bool(user) and matches(pattern, user)
