"""What may stand in a path: repositories' names, references, digests, identifiers of uploads (spec.md, Pulling manifests).

All that becomes a key of the store passes through here first.
"""

from __future__ import annotations

import re

from gorae.errors import InvalidArgument
from gorae.oci.digest import Digest
from gorae.oci.reference import check_tag
from gorae.registry.errors import Refusal

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
LONGEST = 255
"""Of a name: it is also a file's name in the catalog."""


def check_name(text: str) -> str:
    if len(text) > LONGEST or not _NAME.fullmatch(text):
        raise Refusal("NAME_INVALID", f"invalid repository name {text[:80]!a}", detail={"name": text[:LONGEST]})
    return text


def check_digest(text: str) -> Digest:
    try:
        return Digest(text)
    except InvalidArgument as error:
        raise Refusal("DIGEST_INVALID", str(error), detail={"digest": text[:200]}) from error


def check_reference(text: str) -> Digest | str:
    """A tag or, when there is a colon in it, a digest."""
    if ":" in text:
        return check_digest(text)
    try:
        return check_tag(text)
    except InvalidArgument as error:
        raise Refusal("TAG_INVALID", str(error), detail={"tag": text[:200]}) from error


def check_identifier(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise Refusal("BLOB_UPLOAD_UNKNOWN", "no such upload")
    return text


def tag_order(tag: str) -> tuple[str, str]:
    """Lexical, that is case-insensitive (spec.md, Listing Tags); the same letters in capitals first."""
    return tag.lower(), tag
