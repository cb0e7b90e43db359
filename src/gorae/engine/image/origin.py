"""Between a registry's documents and an image: which manifest for this machine, what may be pulled at all, what it is called.

    Found (index or manifest) ──choose──▶ Chosen (a manifest) ──image──▶ Image (configuration, layers, diff ids)
"""

from __future__ import annotations

from dataclasses import dataclass

from gorae.engine.image.builtin import REPOSITORY
from gorae.engine.remote import failure
from gorae.engine.remote.failure import Refused
from gorae.engine.remote.repository import Found, Repository
from gorae.errors import CorruptData, InvalidArgument, NotFound, Unsupported
from gorae.linux import system
from gorae.oci import imageconfig, media_type
from gorae.oci.descriptor import Descriptor
from gorae.oci.manifest import CONFIG_LIMIT, Index, Manifest
from gorae.oci.platform import Platform, best, of_machine, parse, rank
from gorae.oci.reference import Reference

DEEPEST = 3  # an index in an index in …


@dataclass(frozen=True)
class Chosen:
    descriptor: Descriptor
    data: bytes
    document: Manifest


@dataclass(frozen=True)
class Image:
    config: bytes
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]


def names(reference: Reference, found: Found) -> tuple[str, ...]:
    """What the image is called here: its tag and its digest, or only the digest when it was asked for by that."""
    if reference.name == REPOSITORY:
        raise InvalidArgument(f"{REPOSITORY} is the name of the built-in image: nothing can be pulled under it")
    by_digest = reference.with_tag(None).with_digest(found.descriptor.digest).familiar()
    return (by_digest,) if reference.digest is not None or reference.tag is None else (reference.familiar(), by_digest)


async def choose(repository: Repository, found: Found, platform: str) -> Chosen:
    """Raises `NotFound` in Docker's words when there is none for the platform."""
    wanted = _wanted(platform)
    for _ in range(DEEPEST):
        if isinstance(found.document, Manifest):
            return Chosen(found.descriptor, found.data, found.document)
        choice = best(wanted, [each.platform for each in found.document.manifests])
        if choice is None:
            raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")
        descriptor = found.document.manifests[choice]
        if descriptor.mediaType not in media_type.MANIFESTS | media_type.INDEXES:
            raise Unsupported(f"{descriptor.digest} is {descriptor.mediaType}: no image that could run here")
        try:
            found = await repository.manifest(descriptor.digest, descriptor)
        except Refused as error:
            raise failure.pulling(error, f"{repository.path}@{descriptor.digest}") from error
    raise CorruptData(f"{repository.path}: an index in an index in an index: that is too deep")


async def image(repository: Repository, chosen: Chosen, platform: str) -> Image:
    """Everything that can be refused is refused before a layer is fetched."""
    manifest = chosen.document
    if not manifest.is_image:
        kind = manifest.artifactType or manifest.config.mediaType
        raise Unsupported(f"{chosen.descriptor.digest} is no container image, but an artifact of type {kind[:80]}")
    for layer in manifest.layers:
        if layer.mediaType in media_type.FOREIGN:
            raise Unsupported(
                f"layer {layer.digest} is a foreign layer ({layer.mediaType}), which lies elsewhere: such images are not pulled"
            )
        if layer.mediaType not in media_type.LAYERS:
            raise Unsupported(f"layer {layer.digest} is of the unknown media type {layer.mediaType[:80]}")
    try:
        config = await repository.small(manifest.config, CONFIG_LIMIT)
    except Refused as error:
        raise CorruptData(f"the registry does not give the configuration {manifest.config.digest}: {error}") from error
    document = imageconfig.decode(config)
    diff_ids = tuple(str(digest) for digest in document.rootfs.diff_ids)
    if len(diff_ids) != len(manifest.layers):
        raise CorruptData(f"the configuration tells of {len(diff_ids)} layers, the manifest of {len(manifest.layers)}")
    if platform and rank(_wanted(platform), document.platform) is None:
        words = f"wanted {platform}, actual: {document.platform}"
        raise NotFound(f"the image was found but does not match the specified platform: {words}")
    return Image(config, manifest.layers, diff_ids)


def platforms(found: Found) -> tuple[Platform, ...]:
    """Of an index; those of attestations are none."""
    if not isinstance(found.document, Index):
        return ()
    offered = [each.platform for each in found.document.manifests]
    return tuple(each for each in offered if each is not None and each.os != "unknown")


async def describe_platform(repository: Repository, found: Found) -> Platform | None:
    """Of a single image; None of what is no image."""
    if not isinstance(found.document, Manifest) or not found.document.is_image:
        return None
    return imageconfig.decode(await repository.small(found.document.config, CONFIG_LIMIT)).platform


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others followed from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _wanted(platform: str) -> Platform:
    here = of_machine(system.machine())
    return parse(platform, here) if platform else here
