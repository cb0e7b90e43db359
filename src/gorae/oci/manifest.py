"""Image manifests and indexes: OCI's, and Docker's schema 2 of the same shape.

    Index ── manifests: descriptors, by platform          Manifest ── config: descriptor
                                                                   └─ layers: descriptors, lowest first

A document that could be read as both (CVE-2021-41190), that says another type than it was sent with, or whose members differ from
ours only by case (other readers take those for the same) is refused. So are sizes beyond what we would ever read into memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gorae.errors import InvalidArgument, Unsupported
from gorae.oci import codec, media_type
from gorae.oci.descriptor import Descriptor
from gorae.oci.json import read_json

LIMIT = 4 << 20
CONFIG_LIMIT = 8 << 20
MOST_LAYERS = 1000
MOST_MANIFESTS = 10000

_ONLY_MANIFEST = ("config", "layers")
_ONLY_INDEX = ("manifests",)
_ONLY_FIRST = ("fsLayers", "signatures", "history")
_SHARED = ("schemaVersion", "mediaType", "artifactType", "subject", "annotations")
_KNOWN = frozenset({*_SHARED, *_ONLY_MANIFEST, *_ONLY_INDEX, *_ONLY_FIRST})
_FOLDED = frozenset(name.lower() for name in _KNOWN)


@dataclass(frozen=True)
class Manifest:
    mediaType: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    schemaVersion: int = 2
    artifactType: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        """Not some other artifact, nor an attestation."""
        return self.config.mediaType in media_type.CONFIGS


@dataclass(frozen=True)
class Index:
    mediaType: str
    manifests: tuple[Descriptor, ...]
    schemaVersion: int = 2
    artifactType: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] = field(default_factory=dict)


def decode(data: bytes, sent_as: str | None = None) -> Manifest | Index:
    """`sent_as` is the Content-Type or the descriptor's media type.

    Raises `InvalidArgument`; `Unsupported` for Docker's schema 1.
    """
    document = read_json(data, "manifest", LIMIT)
    if type(document) is not dict:
        raise InvalidArgument("manifest: expected an object")
    kind = _kind(document, None if sent_as is None else sent_as.partition(";")[0].strip())
    if document.get("schemaVersion") != 2:
        raise InvalidArgument(f"manifest: schemaVersion must be 2, not {codec.show(document.get('schemaVersion'))}")
    complete = {**document, "mediaType": kind}
    if kind in media_type.INDEXES:
        return _check_index(codec.decode(Index, complete, "index"))
    return _check_manifest(codec.decode(Manifest, complete, "manifest"))


def encode(manifest: Manifest | Index) -> bytes:
    """Compact JSON, the same bytes for the same value."""
    fields: dict[str, Any] = {"schemaVersion": 2, **codec.encode(manifest)}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _kind(document: dict[str, Any], sent_as: str | None) -> str:
    """The media type that the document is of; all that speak of it must agree."""
    for name in document:
        if name not in _KNOWN and name.lower() in _FOLDED:
            raise InvalidArgument(f"manifest: member {name!a} differs from a known one only by case")
    present = [group for group in (_ONLY_MANIFEST, _ONLY_INDEX, _ONLY_FIRST) if any(name in document for name in group)]
    if len(present) > 1:
        raise InvalidArgument("manifest: ambiguous: it has members of a manifest and of an index")
    own = document.get("mediaType")
    if present == [_ONLY_FIRST] or document.get("schemaVersion") == 1:
        raise Unsupported("manifest: Docker's schema 1 is not supported: push the image again with a current client")
    if own is not None and sent_as is not None and own != sent_as:
        raise InvalidArgument(f"manifest: its mediaType is {codec.show(own)}, but it was sent as {codec.show(sent_as)}")
    kind = own if own is not None else sent_as
    if kind is None:  # OCI lets the member away
        kind = media_type.OCI_INDEX if present == [_ONLY_INDEX] else media_type.OCI_MANIFEST
    if type(kind) is not str or kind not in media_type.MANIFESTS | media_type.INDEXES:
        raise InvalidArgument(f"manifest: unsupported media type {codec.show(kind)}")
    fitting = _ONLY_INDEX if kind in media_type.INDEXES else _ONLY_MANIFEST
    if present and present != [fitting]:
        raise InvalidArgument(f"manifest: it is said to be {kind}, but has members of another type")
    return kind


def _check_manifest(manifest: Manifest) -> Manifest:
    if manifest.config.size > CONFIG_LIMIT:
        raise InvalidArgument(f"manifest: config.size {manifest.config.size} is more than the {CONFIG_LIMIT} allowed")
    if len(manifest.layers) > MOST_LAYERS:
        raise InvalidArgument(f"manifest: {len(manifest.layers)} layers are more than the {MOST_LAYERS} allowed")
    return manifest


def _check_index(index: Index) -> Index:
    if len(index.manifests) > MOST_MANIFESTS:
        raise InvalidArgument(f"index: {len(index.manifests)} manifests are more than the {MOST_MANIFESTS} allowed")
    for number, each in enumerate(index.manifests):
        if each.size > LIMIT:
            raise InvalidArgument(f"index: manifests[{number}].size {each.size} is more than the {LIMIT} allowed")
    return index
