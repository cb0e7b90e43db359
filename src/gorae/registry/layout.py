"""What lies where in a store. Every key of a registry is made here.

    blobs/<algorithm>/<two digits>/<hex>                    bytes: of layers, configs, manifests
    catalog/<name with "=" for "/">                         empty: this repository is there
    repositories/<name>/
        _blobs/<algorithm>/<hex>                            empty: this repository has the blob; its time is when a push last asked
        _manifests/<algorithm>/<hex>                        the media type: this repository has the manifest
        _tags/<tag>                                         the digest
        _referrers/<algorithm>/<hex>/<algorithm>/<hex>      the descriptor of a manifest (second) whose subject is the first
        _pending/<algorithm>/<hex>/<id>                     a manifest about to become visible: keeps the garbage collector off
        _uploads/<id>                                       an upload under way: a growing file, or `<id>/<offset>` parts
    garbage/
        terms/<number>                                      who collects, until when; the highest number counts
        condemned/<algorithm>/<hex>                         about to be deleted unless somebody objects
        verdicts/<algorithm>/<hex>                          "keep" or "delete": who creates it first decides

A component of a repository's name begins with a letter or a digit, so that `_tags` is none. Things become visible in one step each,
in this order: bytes, link, manifest, referrer, tag.
"""

from __future__ import annotations

from gorae.oci.digest import Digest

CATALOG = "catalog"
REPOSITORIES = "repositories"
BLOBS = "blobs"
TERMS = "garbage/terms"
CONDEMNED = "garbage/condemned"
VERDICTS = "garbage/verdicts"

LINKS = "_blobs"
MANIFESTS = "_manifests"
TAGS = "_tags"
REFERRERS = "_referrers"
PENDING = "_pending"
UPLOADS = "_uploads"


def blob(digest: Digest) -> str:
    return f"{BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def catalog(name: str) -> str:
    return f"{CATALOG}/{name.replace('/', '=')}"


def name_of(catalog_key: str) -> str:
    return catalog_key.rpartition("/")[2].replace("=", "/")


def repository(name: str) -> str:
    return f"{REPOSITORIES}/{name}"


def link(name: str, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/{LINKS}/{digest.algorithm}/{digest.hex}"


def manifest(name: str, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/{digest.algorithm}/{digest.hex}"


def manifests(name: str) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}"


def tag(name: str, word: str) -> str:
    return f"{REPOSITORIES}/{name}/{TAGS}/{word}"


def tags(name: str) -> str:
    return f"{REPOSITORIES}/{name}/{TAGS}"


def referrer(name: str, subject: Digest, digest: Digest) -> str:
    return f"{referrers(name, subject)}/{digest.algorithm}/{digest.hex}"


def referrers(name: str, subject: Digest) -> str:
    return f"{REPOSITORIES}/{name}/{REFERRERS}/{subject.algorithm}/{subject.hex}"


def pending(name: str, digest: Digest, identifier: str) -> str:
    return f"{REPOSITORIES}/{name}/{PENDING}/{digest.algorithm}/{digest.hex}/{identifier}"


def upload(name: str, identifier: str) -> str:
    return f"{REPOSITORIES}/{name}/{UPLOADS}/{identifier}"


def condemned(digest: Digest) -> str:
    return f"{CONDEMNED}/{digest.algorithm}/{digest.hex}"


def verdict(digest: Digest) -> str:
    return f"{VERDICTS}/{digest.algorithm}/{digest.hex}"


def term(number: int) -> str:
    return f"{TERMS}/{number:012d}"


def digest_of(key: str) -> Digest:
    """The digest that a key ends with."""
    algorithm, _, hexadecimal = key.rpartition("/")
    if algorithm.rpartition("/")[0].endswith(("/sha256", "/sha512")):  # a blob's key has two digits in between
        algorithm = algorithm.rpartition("/")[0]
    return Digest(f"{algorithm.rpartition('/')[2]}:{hexadecimal}")


def split(key: str) -> tuple[str, str, str] | None:
    """(repository, family, rest) of a key below `repositories/`; None for anything else."""
    parts = key.split("/")
    for position in range(1, len(parts)):
        if parts[position].startswith("_"):
            return "/".join(parts[1:position]), parts[position], "/".join(parts[position + 1 :])
    return None
