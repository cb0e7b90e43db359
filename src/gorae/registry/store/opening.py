"""From what the operator wrote to a store: a path is a directory, a URL is a bucket.

    /srv/registry   file:///srv/registry            Directory
    s3://bucket/prefix   gs://…   az://…   memory:/// Bucket; keys and endpoints come from the cloud's own variables
                                                      (AWS_…, GOOGLE_…, AZURE_…)
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from gorae.errors import InvalidArgument
from gorae.registry.store.directory import Directory
from gorae.registry.store.seam import Store

SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "memory")


def open_store(words: str) -> Store:
    """`InvalidArgument` when the URL makes no sense."""
    if "://" not in words:
        return Directory(words)
    parts = urlsplit(words)
    if parts.scheme == "file":
        return Directory(unquote(parts.path))
    if parts.scheme not in SCHEMES:
        raise InvalidArgument(f"storage {words}: a directory or a URL of {', '.join(SCHEMES)} is expected")
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    from gorae.registry.store.bucket import Bucket

    try:
        return Bucket(from_url(words))
    except (BaseError, ValueError) as error:
        raise InvalidArgument(f"storage {words}: {str(error).partition(chr(10))[0]}") from error
