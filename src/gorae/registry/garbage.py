"""Mark and sweep, while pushes and pulls go on.

    survey     every repository: which digests are roots (manifests and what they name, pending manifests, young links)
    condemn    every blob that is old and no root
    survey     again: who began to rely on one of them meanwhile?
    sentence   `condemned`: the blob goes, or somebody has objected

Swept as well: uploads and pending manifests that nobody goes on with, catalog entries of repositories that have nothing any more
and, when asked, manifests without a tag. What is younger than the grace time is never touched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gorae.errors import CorruptData, GoraeError, Unavailable
from gorae.oci.digest import Digest
from gorae.oci.manifest import Index, decode
from gorae.registry import condemned, layout, push
from gorae.registry.errors import Refusal
from gorae.registry.repository import Repository, names
from gorae.registry.store.seam import Entry, Store
from gorae.registry.terms import Term

GRACE = 24 * 3600.0
"""Longer than anybody pushes one image: its first layer waits so long for its manifest."""


@dataclass
class Report:
    """What a collection found and did."""

    repositories: int = 0
    manifests: int = 0
    untagged: int = 0
    blobs: int = 0
    deleted: int = 0
    freed: int = 0
    rescued: int = 0
    uploads: int = 0
    seconds: float = 0.0


@dataclass
class Survey:
    roots: set[Digest] = field(default_factory=set)
    links: dict[Digest, list[str]] = field(default_factory=dict)
    uploads: dict[str, float] = field(default_factory=dict)
    pending: list[Entry] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    manifests: int = 0


class Collector:
    """`collect` answers None when another instance is at it. `dry` looks and tells, and deletes nothing."""

    def __init__(self, store: Store, grace: float = GRACE, *, untagged: bool = False, dry: bool = False) -> None:
        self._store = store
        self._grace = grace
        self._untagged = untagged
        self._dry = dry
        self._named: dict[Digest, list[Digest]] = {}
        """What each manifest names: it cannot change, so the second survey need not read it again."""

    async def collect(self) -> Report | None:
        begun = time.monotonic()
        term = await Term.begin(self._store)
        if term is None:
            return None
        report = Report()
        async with term:
            await self._settle(term)
            if self._untagged:
                report.untagged = await self._sweep_untagged()
            survey = await self._survey()
            report.repositories, report.manifests = len(survey.alive), survey.manifests
            candidates = await self._candidates(survey, report)
            await self._sweep_rest(survey, report)
            if self._dry:
                report.deleted, report.freed = len(candidates), sum(candidates.values())
            elif candidates:
                for digest in candidates:
                    await self._store.write(layout.condemned(digest), b"", durable=False)
                await self._sentence(term, candidates, await self._survey(), report)
        report.seconds = time.monotonic() - begun
        return report

    async def _candidates(self, survey: Survey, report: Report) -> dict[Digest, int]:
        """Old blobs that are no roots, and their sizes."""
        before = time.time() - self._grace
        found: dict[Digest, int] = {}
        async for entry in self._store.entries(layout.BLOBS):
            report.blobs += 1
            digest = layout.digest_of(entry.key)
            if digest not in survey.roots and entry.modified < before:
                found[digest] = entry.size
        return found

    async def _sentence(self, term: Term, candidates: dict[Digest, int], survey: Survey, report: Report) -> None:
        for digest, size in candidates.items():
            if not term.valid():
                raise Unavailable(
                    "garbage collection: the store was too slow to keep the term; what is left waits for the next one"
                )
            if digest in survey.roots or not await self._store.create(layout.verdict(digest), condemned.DELETE):
                await condemned.acquit(self._store, digest)
                report.rescued += 1
                continue
            await condemned.execute(self._store, digest, survey.links.get(digest, []))
            report.deleted += 1
            report.freed += size

    async def _settle(self, term: Term) -> None:
        """What a collector that died has left: sentences are executed, other cases closed."""
        async for entry in self._store.entries(layout.CONDEMNED):
            digest = layout.digest_of(entry.key)
            if await self._store.read(layout.verdict(digest)) == condemned.DELETE and term.valid():
                await condemned.execute(self._store, digest, [])
            else:
                await condemned.acquit(self._store, digest)
        async for entry in self._store.entries(layout.VERDICTS):  # whose case was closed but for this
            await self._store.delete(entry.key)

    # Looking.

    async def _survey(self) -> Survey:
        survey = Survey()
        before = time.time() - self._grace
        async for entry in self._store.entries(layout.REPOSITORIES):
            parts = layout.split(entry.key)
            if parts is None:
                continue
            name, family, rest = parts
            if family == layout.UPLOADS:
                upload = layout.upload(name, rest.partition("/")[0])
                survey.uploads[upload] = max(survey.uploads.get(upload, 0.0), entry.modified)
                survey.alive.add(name)
            elif family == layout.LINKS:
                digest = layout.digest_of(entry.key)
                survey.links.setdefault(digest, []).append(entry.key)
                survey.alive.add(name)
                if entry.modified >= before:
                    survey.roots.add(digest)
            elif family == layout.MANIFESTS:
                digest = layout.digest_of(entry.key)
                survey.alive.add(name)
                survey.manifests += 1
                survey.roots.add(digest)
                survey.roots.update(await self._names(digest))
            elif family == layout.PENDING:
                survey.pending.append(entry)
                await self._mark_pending(entry, survey)
        return survey

    async def _names(self, digest: Digest) -> list[Digest]:
        known = self._named.get(digest)
        if known is None:
            data = await self._store.read(layout.blob(digest))
            known = [] if data is None else _named_by(data, str(digest))
            self._named[digest] = known
        return known

    async def _mark_pending(self, entry: Entry, survey: Survey) -> None:
        data = await self._store.read(entry.key)
        if data is not None:
            survey.roots.add(layout.digest_of(entry.key.rpartition("/")[0]))
            survey.roots.update(_named_by(data, entry.key))

    # Sweeping what is no blob.

    async def _sweep_rest(self, survey: Survey, report: Report) -> None:
        before = time.time() - self._grace
        for upload, modified in survey.uploads.items():
            if modified < before:
                report.uploads += 1
                if not self._dry:
                    await self._store.cancel(upload)
        if self._dry:
            return
        for entry in survey.pending:
            if entry.modified < before:
                await self._store.delete(entry.key)
        async for entry in self._store.entries(layout.CATALOG):
            if layout.name_of(entry.key) not in survey.alive and entry.modified < before:
                await self._store.delete(entry.key)

    async def _sweep_untagged(self) -> int:
        """Old manifests that no tag reaches: not directly, not through an index, not as a referrer of one that is reached."""
        swept = 0
        for name in await names(self._store):
            repository = Repository(self._store, name)
            for digest in await self._unreached(repository):
                swept += 1
                if not self._dry:
                    await self._remove_untagged(repository, digest)
        return swept

    async def _unreached(self, repository: Repository) -> list[Digest]:
        before = time.time() - self._grace
        documents = {}
        young: set[Digest] = set()
        async for entry in self._store.entries(layout.manifests(repository.name)):
            digest = layout.digest_of(entry.key)
            data = await self._store.read(layout.blob(digest))
            if data is not None:
                documents[digest] = push.read(data, (await self._store.read(entry.key) or b"").decode())
            if entry.modified >= before:
                young.add(digest)
        reached = {digest for _, digest in await repository.tagged()} | young
        grown = -1
        while grown != len(reached):
            grown = len(reached)
            for digest, document in documents.items():
                if digest in reached and isinstance(document, Index):
                    reached.update(each.digest for each in document.manifests)
                if document.subject is not None and document.subject.digest in reached:
                    reached.add(digest)
        return [digest for digest in documents if digest not in reached]

    async def _remove_untagged(self, repository: Repository, digest: Digest) -> None:
        key = layout.manifest(repository.name, digest)
        media_type = await self._store.read(key)
        try:
            await push.remove(repository, digest)
        except Refusal:
            return
        # Somebody may have pushed it again just now: a manifest is written before its tag, so look for the tag afterwards.
        pending = [entry async for entry in self._store.entries(f"{layout.repository(repository.name)}/{layout.PENDING}")]
        again = any(digest.hex in entry.key for entry in pending) or digest in {each for _, each in await repository.tagged()}
        if again and media_type is not None:
            await self._store.write(key, media_type)


def _named_by(data: bytes, what: str) -> list[Digest]:
    """An unreadable manifest stops the collection: what it names is not known, so nothing may be deleted."""
    try:
        return push.references(decode(data))
    except GoraeError as error:
        raise CorruptData(f"garbage collection: manifest {what} cannot be read, so nothing is deleted: {error}") from error
