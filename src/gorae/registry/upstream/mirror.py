"""Names that are other registries', kept here when somebody has pulled them.

    --upstream https://one               every repository, under its own name
    --upstream two=https://two           those below two/, without that word there

    manifest by digest    ours, else theirs
    manifest by tag       ours while it is younger than `fresh`; else theirs (HEAD first); ours again when they do not answer
    blob                  ours, else theirs (fill)
    tags, referrers       theirs; ours when they do not answer

With several for one name, the first that has it. What a mirror covers cannot be pushed here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from gorae.errors import GoraeError, InvalidArgument, Unavailable
from gorae.oci import media_type
from gorae.oci.digest import Digest
from gorae.oci.manifest import LIMIT
from gorae.registry import layout, push
from gorae.registry.errors import Refusal
from gorae.registry.names import check_name, check_reference
from gorae.registry.repository import Repository, Stored, unknown_blob
from gorae.registry.store.seam import Content
from gorae.registry.upstream.fill import Fill, Filling
from gorae.registry.upstream.remote import Remote

FRESH = 60.0
LIST_LIMIT = 16 << 20
ACCEPT = {"Accept": ", ".join(media_type.ACCEPTED)}
Ask = Callable[[], AbstractAsyncContextManager[aiohttp.ClientResponse]]


@dataclass(frozen=True)
class Source:
    """A remote and the repository's name there."""

    remote: Remote
    name: str

    def ask(
        self, method: str, rest: str, headers: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self.remote.request(method, f"/v2/{self.name}/{rest}", self.name, headers)


class Upstreams:
    """All of them; `of` a name answers what covers it."""

    def __init__(self, remotes: tuple[tuple[str, Remote], ...] = (), fresh: float = FRESH) -> None:
        for prefix, _ in remotes:
            if prefix:
                check_name(prefix)
        self._remotes = remotes
        self._fresh = fresh
        self._fills: dict[Digest, Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, name: str) -> Mirror | None:
        if not self._remotes:
            return None
        sources = []
        for prefix, remote in self._remotes:
            if not prefix:
                sources.append(Source(remote, name))
            elif name.startswith(f"{prefix}/"):
                sources.append(Source(remote, name[len(prefix) + 1 :]))
        return Mirror(tuple(sources), self, self._fresh) if sources else None

    def fill(self, repository: Repository, digest: Digest, ask: Ask) -> Fill:
        """The transfer of a blob, begun unless it goes on already."""
        fill = self._fills.get(digest)
        if fill is None:
            fill = self._fills[digest] = Fill(repository, digest)
            task = asyncio.create_task(self._run(fill, ask))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return fill

    async def _run(self, fill: Fill, ask: Ask) -> None:
        try:
            await fill.run(ask)
        finally:
            del self._fills[fill.digest]

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, remote in self._remotes:
            await remote.aclose()


@dataclass(frozen=True)
class Mirror:
    """What covers one name."""

    sources: tuple[Source, ...]
    upstreams: Upstreams
    fresh: float

    async def manifest(self, repository: Repository, reference: Digest | str) -> Stored | None:
        stored = await repository.manifest(reference)
        if stored is not None and (isinstance(reference, Digest) or await self._is_fresh(repository, reference)):
            return stored
        failure: GoraeError | None = None
        for source in self.sources:
            try:
                if stored is not None and not isinstance(reference, Digest) and await self._same(source, reference, stored.digest):
                    await repository.tag(reference, stored.digest)
                    return stored
                found = await self._fetch(source, repository, reference)
            except GoraeError as error:
                failure = error
                continue
            if found is not None:
                return found
        if failure is None:
            return None
        if stored is not None:
            return stored  # stale, but there
        raise Refusal("UNKNOWN", str(failure), status=502)

    async def blob(self, repository: Repository, digest: Digest) -> Content:
        source = await self._having(digest)
        if await repository.adopt(digest):  # another repository has pulled it, and this one's upstream vouches for it
            return await repository.open_blob(digest)
        content = Filling(self.upstreams.fill(repository, digest, lambda: source.ask("GET", f"blobs/{digest}")))
        try:
            await content.begin()
        except BaseException:
            content.close()
            raise
        return content

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        for source in self.sources:
            try:
                async with source.ask("HEAD", f"blobs/{digest}") as response:
                    if response.status == 200 and response.content_length is not None:
                        return response.content_length
            except GoraeError:
                continue
        return None

    async def tags(self, name: str) -> list[str] | None:
        answer = await self._list("tags/list")
        if answer is None or not isinstance(answer.get("tags"), list):
            return None
        found = []
        for word in answer["tags"]:
            try:
                if isinstance(word, str) and not isinstance(check_reference(word), Digest):
                    found.append(word)
            except Refusal:
                continue
        return found

    async def referrers(self, name: str, subject: Digest) -> list[Any] | None:
        answer = await self._list(f"referrers/{subject}")
        found = None if answer is None else answer.get("manifests")
        if not isinstance(found, list):
            return None
        return [each for each in found if isinstance(each, dict) and isinstance(each.get("digest"), str)]

    async def _is_fresh(self, repository: Repository, tag: str) -> bool:
        entry = await repository.store.stat(layout.tag(repository.name, tag))
        return entry is not None and time.time() - entry.modified < self.fresh

    async def _same(self, source: Source, tag: str, digest: Digest) -> bool:
        async with source.ask("HEAD", f"manifests/{quote(tag)}", ACCEPT) as response:
            return response.status == 200 and response.headers.get("Docker-Content-Digest") == digest

    async def _fetch(self, source: Source, repository: Repository, reference: Digest | str) -> Stored | None:
        async with source.ask("GET", f"manifests/{reference}", ACCEPT) as response:
            if response.status in (404, 401, 403):
                return None
            if response.status != 200:
                raise Unavailable(f"upstream {source.remote.url.host}: status {response.status}")
            data = await _read(response, LIMIT)
            kind = response.content_type
        digest = Digest.of(data, reference.algorithm if isinstance(reference, Digest) else "sha256")
        if isinstance(reference, Digest) and digest != reference:
            raise Unavailable(f"upstream {source.remote.url.host}: {reference} has the digest {digest} there")
        document = push.read(data, kind if kind in media_type.ACCEPTED else None)
        await push.keep(repository, digest, document, data)
        if not isinstance(reference, Digest):
            await repository.tag(reference, digest)
        return Stored(digest, document.mediaType, data)

    async def _having(self, digest: Digest) -> Source:
        failure: GoraeError | None = None
        for source in self.sources:
            try:
                async with source.ask("HEAD", f"blobs/{digest}") as response:
                    if response.status == 200:
                        return source
            except GoraeError as error:
                failure = error
        if failure is not None:
            raise Refusal("UNKNOWN", str(failure), status=502)
        raise unknown_blob(digest)

    async def _list(self, rest: str) -> dict[str, Any] | None:
        for source in self.sources:
            try:
                async with source.ask("GET", rest) as response:
                    if response.status == 200:
                        answer = msgspec.json.decode(await _read(response, LIST_LIMIT))
                        return answer if isinstance(answer, dict) else None
            except (GoraeError, msgspec.MsgspecError):
                continue
        return None


def parse_upstream(words: str) -> tuple[str, str]:
    """`[PREFIX=]URL`."""
    prefix, equals, url = words.partition("=")
    if not equals or "://" in prefix:
        return "", words
    if not prefix:
        raise InvalidArgument(f"upstream {words}: a name is expected before the =")
    return prefix, url


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    parts: list[bytes] = []
    left = most
    async for data in response.content.iter_any():
        left -= len(data)
        if left < 0:
            raise Unavailable(f"the upstream's answer has more than {most} bytes")
        parts.append(data)
    return b"".join(parts)
