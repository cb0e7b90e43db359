"""Rights, and who has them.

    right      Docker's action   allows
    read       pull              GET and HEAD of blobs, manifests, tags, referrers; mounting from there
    write      push              uploads, manifests, tags
    delete     delete            deleting manifests, tags, blobs
    catalog    * of registry:catalog     listing all repositories
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gorae.registry.errors import Refusal

READ, WRITE, DELETE, CATALOG = "read", "write", "delete", "catalog"
RIGHTS = (READ, WRITE, DELETE, CATALOG)
ACTIONS = {READ: "pull", WRITE: "push", DELETE: "delete"}
BY_ACTION = {action: right for right, action in ACTIONS.items()}


@dataclass(frozen=True)
class Need:
    """A right in a repository; no name for the catalog, no right for "known at all"."""

    right: str = ""
    name: str = ""


class Access(Protocol):
    @property
    def user(self) -> str:
        """Empty for who has not said it."""

    def may(self, right: str, name: str = "") -> bool: ...


@dataclass(frozen=True)
class Everything:
    """A registry that asks nobody."""

    user: str = ""

    def may(self, right: str, name: str = "") -> bool:
        return True


class Guard(Protocol):
    async def identify(self, authorization: str | None) -> Access:
        """`Refusal` UNAUTHORIZED for credentials that are wrong; none at all is an anonymous `Access`."""

    def refusal(self, access: Access, needs: tuple[Need, ...], base: str) -> Refusal:
        """What to answer somebody who lacks one of the needs. `base` is our own address as the client wrote it."""

    def login(self) -> Refusal:
        """What to answer a person who has not logged in."""


def unauthorized(message: str, headers: Mapping[str, str]) -> Refusal:
    return Refusal("UNAUTHORIZED", message, headers=headers)
