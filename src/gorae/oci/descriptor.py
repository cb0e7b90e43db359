"""Descriptors: what a blob is, how long, and its digest (image specification, descriptor.md)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Annotated

from gorae.errors import CorruptData
from gorae.oci.codec import Between
from gorae.oci.digest import Digest
from gorae.oci.platform import Platform

# RFC 6838 §4.2; parameters are not part of a descriptor's media type.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


class MediaType:
    def check(self, text: str) -> str | None:
        return None if _MEDIA_TYPE.fullmatch(text) else "a media type"


@dataclass(frozen=True)
class Descriptor:
    mediaType: Annotated[str, MediaType()]
    digest: Digest
    size: Annotated[int, Between(0, 2**63 - 1)]
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)
    data: str | None = None
    """The blob itself, in base64; see `embedded`."""
    platform: Platform | None = None
    artifactType: str | None = None


def describe(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


def check(descriptor: Descriptor, data: bytes) -> None:
    """Raises `CorruptData` unless `data` is what is described."""
    if len(data) != descriptor.size:
        raise CorruptData(f"{descriptor.digest}: {len(data)} bytes, not {descriptor.size}")
    descriptor.digest.verify(data, descriptor.mediaType)


def embedded(descriptor: Descriptor) -> bytes | None:
    """The blob when the descriptor carries it, verified like any other."""
    if descriptor.data is None:
        return None
    try:
        data = base64.b64decode(descriptor.data, validate=True)
    except binascii.Error as error:
        raise CorruptData(f"{descriptor.digest}: its data is not base64: {error}") from None
    check(descriptor, data)
    return data
