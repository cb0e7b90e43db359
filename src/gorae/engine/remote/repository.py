"""One repository of one registry: what can be read from it and brought into it.

    manifest(tag or digest) → Found         verified, decoded, at most 4 MiB
    small(descriptor) → bytes               a configuration: verified
    portions(descriptor, offset)            a blob from there on; whoever hashes it verifies it
    has · mount · upload · put              for push

    upload   POST …/uploads/ → 202 Location ─▶ PATCH Location (the bytes) ─▶ PUT Location?digest=…
                                    └─ GET Location → Range: 0-n, after an interruption: on from n + 1
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from gorae.engine.remote import failure
from gorae.engine.remote.failure import Interrupted, Refused
from gorae.engine.remote.rules import Patience
from gorae.engine.remote.session import Session
from gorae.errors import CorruptData, InvalidArgument, Unavailable
from gorae.oci import manifest as manifests
from gorae.oci import media_type
from gorae.oci.descriptor import Descriptor, check, embedded
from gorae.oci.digest import Digest
from gorae.oci.json import read_json
from gorae.oci.manifest import Index, Manifest

ACCEPT = ", ".join(media_type.ACCEPTED)
OCTETS = "application/octet-stream"
MOST_TAGS = 10_000

Source = Callable[[int], AsyncIterator[bytes]]
"""The bytes of a blob from an offset on."""


@dataclass(frozen=True)
class Found:
    descriptor: Descriptor
    data: bytes
    document: Manifest | Index


class Repository:
    def __init__(self, session: Session, path: str, patience: Patience, *, push: bool = False) -> None:
        self.session = session
        self.path = path
        self.patience = patience
        self._scopes: tuple[str, ...] = (f"repository:{path}:{'pull,push' if push else 'pull'}",)

    async def manifest(self, reference: str, expected: Descriptor | None = None) -> Found:
        """By tag, or by digest and then it must be that one. Raises `Refused`, `CorruptData`, `InvalidArgument`."""
        inside = None if expected is None else embedded(expected)
        sent_as = "" if expected is None else expected.mediaType
        if inside is None:
            target = f"/v2/{self.path}/manifests/{reference}"
            headers, inside = await self.session.document(target, manifests.LIMIT, scopes=self._scopes, headers={"Accept": ACCEPT})
            told = headers.get("Docker-Content-Digest")
            if told is not None:
                Digest(told).verify(inside, f"{target}, by the header Docker-Content-Digest")
            sent_as = headers.get("Content-Type", "")
        digest = Digest(reference) if ":" in reference else Digest.of(inside)
        digest.verify(inside, f"{self.path}@{digest}")
        document = manifests.decode(inside, sent_as or None)
        descriptor = Descriptor(document.mediaType, digest, len(inside))
        if expected is not None:
            check(expected, inside)
            if expected.mediaType != document.mediaType:
                raise CorruptData(f"{digest} is announced as {expected.mediaType}, but is {document.mediaType}")
        return Found(descriptor, inside, document)

    async def small(self, descriptor: Descriptor, limit: int) -> bytes:
        if descriptor.size > limit:
            raise CorruptData(f"{descriptor.digest}: {descriptor.size} bytes are more than the {limit} allowed")
        data = embedded(descriptor)
        if data is None:
            target = f"/v2/{self.path}/blobs/{descriptor.digest}"
            _, data = await self.session.document(target, descriptor.size, scopes=self._scopes)
        check(descriptor, data)
        return data

    async def portions(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        """Raises `Interrupted` when it breaks off: ask again, with another offset."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        target = f"/v2/{self.path}/blobs/{descriptor.digest}"
        async with self.session.request("GET", target, scopes=self._scopes, headers=headers) as response:
            skipped = offset
            if response.status == 206:
                span = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", response.headers.get("Content-Range", ""))
                if span is None or int(span[1]) != offset or span[3] not in ("*", str(descriptor.size)):
                    raise CorruptData(f"{descriptor.digest}: the registry sends another range than was asked for")
                skipped = 0
            whole = descriptor.size - offset + skipped
            if response.content_length is not None and response.content_length != whole:
                raise CorruptData(f"{descriptor.digest}: the registry announces {response.content_length} bytes, not {whole}")
            async for part in response.content.iter_any():
                if skipped:  # it does not know ranges
                    part, skipped = part[skipped:], max(0, skipped - len(part))
                if part:
                    yield part

    async def tags(self) -> tuple[str, ...]:
        found: list[str] = []
        target = f"/v2/{self.path}/tags/list?n=1000"
        while target and len(found) < MOST_TAGS:
            headers, data = await self.session.document(target, manifests.LIMIT, scopes=self._scopes)
            document = read_json(data, "tags")
            names = document.get("tags") if isinstance(document, dict) else None
            found += [name for name in names or () if isinstance(name, str)]
            link = re.match(r'<([^>]+)>\s*;\s*rel="?next"?', headers.get("Link", ""))
            target = urljoin(target, link[1]) if link else ""
            if target and not target.startswith("/"):
                raise CorruptData("the registry's list of tags goes on at another host")
        return tuple(found[:MOST_TAGS])

    # Push

    async def has(self, descriptor: Descriptor) -> bool:
        try:
            headers = await self.session.ask("HEAD", f"/v2/{self.path}/blobs/{descriptor.digest}", scopes=self._scopes)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return headers.get("Content-Length", str(descriptor.size)) == str(descriptor.size)

    async def begin(self, digest: str = "", source: str = "") -> str:
        """The location of a new upload; "" when the blob could be mounted from the repository `source` instead."""
        words = f"?mount={quote(digest, safe=':')}&from={quote(source, safe='')}" if source else ""
        scopes = (*self._scopes, f"repository:{source}:pull") if source else self._scopes
        headers = await self.session.ask("POST", f"/v2/{self.path}/blobs/uploads/{words}", scopes=scopes)
        location = headers.get("Location", "")
        if source and "/blobs/uploads/" not in location:
            return ""
        return self._located(location)

    async def upload(self, descriptor: Descriptor, source: Source, location: str = "") -> None:
        """All of a blob, resumed where it was interrupted."""
        sent, number = 0, 0
        while True:
            try:
                location = location or await self.begin()
                location = await self._patch(location, source, sent, descriptor.size)
                await self._finish(location, descriptor.digest)
                return
            except Interrupted as error:
                number += 1
                await failure.pause(self.patience, number, error)
                location, sent = await self._where(location, descriptor.size)

    async def put(self, reference: str, data: bytes, kind: str) -> None:
        target = f"/v2/{self.path}/manifests/{reference}"
        headers = await self.session.ask("PUT", target, scopes=self._scopes, headers={"Content-Type": kind}, body=data)
        told = headers.get("Docker-Content-Digest")
        if told is not None:
            Digest(told).verify(data, "the manifest that was pushed")

    async def _patch(self, location: str, source: Source, offset: int, size: int) -> str:
        if offset == size and size:
            return location
        headers = {"Content-Type": OCTETS, "Content-Length": str(size - offset)}
        if offset:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        request = self.session.request("PATCH", location, scopes=self._scopes, headers=headers, body=lambda: source(offset))
        async with request as response:
            return self._located(response.headers.get("Location", location))

    async def _finish(self, location: str, digest: Digest) -> None:
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        async with self.session.request("PUT", target, scopes=self._scopes, headers={"Content-Length": "0"}):
            pass

    async def _where(self, location: str, size: int) -> tuple[str, int]:
        """How far an interrupted upload came; a new one when nobody knows."""
        if not location:
            return "", 0
        try:
            headers = await self.session.ask("GET", location, scopes=self._scopes)
            span = re.fullmatch(r"(?:bytes=)?0-(\d{1,19})", headers.get("Range", ""))
            # `0-0` is said of an empty upload and of one byte alike: begin again.
            if span is not None and 0 < int(span[1]) < size:
                return self._located(headers.get("Location", location)), int(span[1]) + 1
        except (Refused, Unavailable):
            pass
        return "", 0

    def _located(self, location: str) -> str:
        if not location:
            raise InvalidArgument(f"{self.session.origin.host} does not say where to upload to")
        whole = urljoin(f"{self.session.origin}/v2/{self.path}/blobs/uploads/", location)
        own = str(self.session.origin)
        return whole.removeprefix(own) if whole.startswith(f"{own}/") else whole
