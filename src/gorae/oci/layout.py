"""The OCI image layout: an image store as a directory or a tar (image specification, image-layout.md).

    oci-layout               {"imageLayoutVersion": "1.0.0"}
    index.json               an image index; its descriptors' annotations name the images
    blobs/sha256/<hex>       manifests, configs, layers
"""

from __future__ import annotations

from dataclasses import dataclass

from gorae.errors import InvalidArgument
from gorae.oci import codec
from gorae.oci.digest import Digest
from gorae.oci.json import read_json

MARKER = "oci-layout"
INDEX = "index.json"
BLOBS = "blobs"
VERSION = "1.0.0"
MARKER_LIMIT = 4096

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with a tag or a whole reference."""
CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation with the whole reference, which Docker writes beside it."""


@dataclass(frozen=True)
class ImageLayout:
    imageLayoutVersion: str


def decode(data: bytes) -> ImageLayout:
    """The marker file; a major version other than 1 is refused."""
    marker = codec.decode(ImageLayout, read_json(data, MARKER, MARKER_LIMIT), MARKER)
    if not marker.imageLayoutVersion.startswith("1."):
        raise InvalidArgument(f"{MARKER}: version {marker.imageLayoutVersion[:20]!a} is not known, only {VERSION}")
    return marker


def blob_path(digest: Digest) -> str:
    return f"{BLOBS}/{digest.algorithm}/{digest.hex}"
