"""Image archives: which images are in one, and the index files of one that is written. Pure.

    docker-archive    manifest.json     [{"Config": path, "RepoTags": [name, …], "Layers": [path, …]}, …]
                      repositories      {"busybox": {"latest": id}}           (of old clients; written, not read)
    OCI layout        oci-layout, index.json, blobs/<algorithm>/<hex>

An archive may be both (what is written here is, as is Docker's since version 25): then manifest.json says what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from gorae.errors import CorruptData, InvalidArgument, Unsupported
from gorae.oci import codec, layout, manifest, media_type, reference
from gorae.oci.descriptor import Descriptor
from gorae.oci.digest import Digest
from gorae.oci.json import read_json
from gorae.oci.platform import Platform, best
from gorae.storage.archive.members import Member, Members
from gorae.storage.content.store import BlobInfo

MANIFEST = "manifest.json"
DEEPEST = 4  # an index in an index in …


class ArchivedImage(Struct, frozen=True):
    """`config` is the configuration's bytes, `layers` are lowest first, `names` as the archive gives them (not checked)."""

    config: bytes
    layers: tuple[Member, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Entry:
    Config: str
    RepoTags: tuple[str, ...] = ()
    Layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Manifest:
    entries: tuple[_Entry, ...]


def images(members: Members, platform: Platform) -> tuple[ArchivedImage, ...]:
    """What there is to load. Of an image for several platforms, the one for `platform`. Raises `CorruptData` or
    `InvalidArgument`."""
    if members.find(MANIFEST) is not None:
        document = read_json(_small(members, MANIFEST), MANIFEST, manifest.LIMIT)
        entries = codec.decode(_Manifest, {"entries": document}, MANIFEST).entries
        return tuple(
            ArchivedImage(_small(members, entry.Config), tuple(_member(members, path) for path in entry.Layers), entry.RepoTags)
            for entry in entries
        )
    if members.find(layout.INDEX) is not None:
        layout.decode(_small(members, layout.MARKER))
        index = manifest.decode(_small(members, layout.INDEX))
        if not isinstance(index, manifest.Index):
            raise CorruptData(f"{layout.INDEX} is not an index")
        found = [_image(members, descriptor, platform) for descriptor in index.manifests]
        return tuple(image for image in found if image is not None)
    raise CorruptData(f"this is no image archive: it has neither {MANIFEST} nor {layout.INDEX} (`import` takes root file systems)")


def index_files(saved: Sequence[tuple[ArchivedImage, tuple[BlobInfo, ...], Digest]]) -> list[tuple[str, bytes]]:
    """For images with their layers' blobs and ids: the manifests and index files that make a list of blobs an archive."""
    files: dict[str, bytes] = {}
    descriptors: list[Descriptor] = []
    docker: list[dict[str, object]] = []
    repositories: dict[str, dict[str, str]] = {}
    for image, blobs, identity in saved:
        config = Descriptor(media_type.OCI_CONFIG, identity, len(image.config))
        layers = tuple(Descriptor(blob.media_type or media_type.OCI_LAYER, Digest(blob.digest), blob.size) for blob in blobs)
        document = manifest.encode(manifest.Manifest(media_type.OCI_MANIFEST, config, layers))
        digest = Digest.of(document)
        files[layout.blob_path(digest)] = document
        for name in image.names or ("",):
            notes = {layout.CONTAINERD_NAME: name, layout.REF_NAME: name.rpartition(":")[2]} if name else {}
            descriptors.append(Descriptor(media_type.OCI_MANIFEST, digest, len(document), annotations=notes))
            if name:
                repository, _, tag = name.rpartition(":")
                repositories.setdefault(repository, {})[tag] = identity.hex
        docker.append(
            {
                "Config": layout.blob_path(identity),
                "RepoTags": list(image.names) or None,
                "Layers": [layout.blob_path(Digest(blob.digest)) for blob in blobs],
            }
        )
    files[layout.INDEX] = manifest.encode(manifest.Index(media_type.OCI_INDEX, tuple(descriptors)))
    files[MANIFEST] = json.dumps(docker, separators=(",", ":")).encode()
    files[layout.MARKER] = json.dumps({"imageLayoutVersion": layout.VERSION}).encode()
    if repositories:
        files["repositories"] = json.dumps(repositories, separators=(",", ":")).encode()
    return sorted(files.items())


def _image(members: Members, descriptor: Descriptor, platform: Platform, depth: int = 0) -> ArchivedImage | None:
    """None for what is no image: an attestation, some other artifact, another platform only."""
    if depth == DEEPEST:
        raise CorruptData("an index in an index in an index: that is too deep")
    document = manifest.decode(_small(members, layout.blob_path(descriptor.digest), descriptor), descriptor.mediaType)
    names = _names(descriptor)
    if isinstance(document, manifest.Index):
        choice = best(platform, [each.platform for each in document.manifests])
        if choice is None:
            return None
        image = _image(members, document.manifests[choice], platform, depth + 1)
        return None if image is None else ArchivedImage(image.config, image.layers, names or image.names)
    if not document.is_image:
        return None
    layers = tuple(_checked(members, each) for each in document.layers)
    return ArchivedImage(_small(members, layout.blob_path(document.config.digest), document.config), layers, names)


def _names(descriptor: Descriptor) -> tuple[str, ...]:
    """The name that containerd writes; the specification's may be a mere tag, which names nothing."""
    full = descriptor.annotations.get(layout.CONTAINERD_NAME)
    if full:
        return (full,)
    short = descriptor.annotations.get(layout.REF_NAME, "")
    if ":" in short or "/" in short:
        try:
            return (reference.parse(short).familiar(),)
        except InvalidArgument:
            return ()
    return ()


def _checked(members: Members, descriptor: Descriptor) -> Member:
    path = layout.blob_path(descriptor.digest)
    member = _member(members, path)
    if isinstance(member, bytes):
        descriptor.digest.verify(member, path)
    elif descriptor.digest.algorithm != "sha256":
        raise Unsupported(f"{path}: a layer in an archive must have a sha256 digest")
    elif member.digest != descriptor.digest:
        raise CorruptData(f"{path} has the digest {member.digest}")
    return member


def _small(members: Members, path: str, descriptor: Descriptor | None = None) -> bytes:
    member = _member(members, path)
    if not isinstance(member, bytes):
        raise CorruptData(f"{path[:80]!a} has {member.size} bytes: that is too much for what it should be")
    if descriptor is not None:
        descriptor.digest.verify(member, path)
    return member


def _member(members: Members, path: str) -> Member:
    member = members.find(path)
    if member is None:
        raise CorruptData(f"the archive names {path[:80]!a}, but does not have it")
    return member
