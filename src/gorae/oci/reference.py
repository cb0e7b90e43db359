"""Names of images (distribution's reference grammar).

    reference  = name [":" tag] ["@" digest]
    name       = [domain "/"] path                       at most 255 characters of path
    domain     = host [":" port]                         letters, digits, "-", "."; or [IPv6]
    path       = component ("/" component)*              a-z 0-9, joined by "." "_" "__" or any number of "-"
    tag        = [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}

The first part is a domain when it has a "." or ":" or an upper-case letter, or is "localhost". A name without one has the domain
"": which registry that means is the engine's configuration. There, `library/` is where official images live: `library/x` is `x`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gorae.errors import InvalidArgument
from gorae.oci.digest import Digest

DEFAULT_TAG = "latest"
OFFICIAL = "library/"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
_LONGEST = 4096


@dataclass(frozen=True)
class Reference:
    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def familiar(self) -> str:
        """As people write it, and as `parse` reads it again."""
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.familiar()

    def with_tag(self, tag: str | None) -> Reference:
        return replace(self, tag=None if tag is None else check_tag(tag))

    def with_digest(self, digest: Digest | None) -> Reference:
        return replace(self, digest=digest)


def parse(text: str, default_tag: str | None = DEFAULT_TAG) -> Reference:
    """`InvalidArgument` in Docker's words. `default_tag` is for a name without a tag and a digest."""
    if not text or len(text) > _LONGEST:
        raise InvalidArgument("invalid reference format")
    name, at, digest_text = text.partition("@")
    digest = Digest(digest_text) if at else None
    tag = None
    colon = name.rfind(":")
    if colon > name.rfind("/"):
        name, tag = name[:colon], check_tag(name[colon + 1 :])
    if _IDENTIFIER.fullmatch(name):
        raise InvalidArgument(f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")
    domain, path = _split(name)
    if domain and not _DOMAIN.fullmatch(domain):
        raise InvalidArgument(f"invalid reference format: {domain[:80]!a} is no host")
    if not _PATH.fullmatch(path):
        if _PATH.fullmatch(path.lower()):
            raise InvalidArgument(f"invalid reference format: repository name ({path[:255]}) must be lowercase")
        raise InvalidArgument("invalid reference format")
    if len(path) > 255:
        raise InvalidArgument("repository name must not be more than 255 characters")
    return Reference(domain, path, default_tag if tag is None and digest is None else tag, digest)


def check_tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise InvalidArgument(f"invalid tag format: {tag[:80]!a} must be at most 128 letters, digits, '_', '.' and '-'")
    return tag


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return first, rest
    # One image must not have two names.
    if name.startswith(OFFICIAL) and "/" not in name[len(OFFICIAL) :]:
        return "", name[len(OFFICIAL) :]
    return "", name
