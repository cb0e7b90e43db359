"""`save`: images become an archive that is Docker's and an OCI layout at once.

Layers are written as they are kept, compressed or not, so that they come back with the same digests; nothing in it depends on
when or by whom it was written.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from gorae.engine.image.builtin import NAME
from gorae.engine.image.catalogue import Catalogue, name_meant
from gorae.errors import NotFound, Unsupported
from gorae.oci import layout
from gorae.oci.digest import Digest
from gorae.oci.manifest import CONFIG_LIMIT
from gorae.storage.archive import writer
from gorae.storage.archive.entry import Entry, Kind
from gorae.storage.archive.image_archive import ArchivedImage, index_files
from gorae.storage.content.store import BlobInfo
from gorae.storage.root import DataRoot

Saved = tuple[ArchivedImage, tuple[BlobInfo, ...], Digest]


class Saver:
    def __init__(self, root: DataRoot, catalogue: Catalogue) -> None:
        self._root = root
        self._catalogue = catalogue

    async def run(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Nothing is sent before all of them were found."""
        wanted = self._wanted(names)
        async with await self._root.leases.take("save") as lease:
            saved = [self._gather(id, given) for id, given in wanted.items()]
            blobs = {blob.digest: blob for _, layers, _ in saved for blob in layers}
            await lease.hold("content", [*blobs, *(identity for _, _, identity in saved)])
            for image, _, identity in saved:
                yield _file(layout.blob_path(identity), image.config)
            for blob in blobs.values():
                yield writer.header(_entry(layout.blob_path(Digest(blob.digest)), blob.size))
                async for portion in self._root.content.stream(blob.digest):
                    yield portion
                yield writer.padding(blob.size)
            for path, data in index_files(saved):
                yield _file(path, data)
            yield writer.END

    def _wanted(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Ids, each with the names it shall have in the archive. One asked for by its repository alone has all its tags, as in
        Docker."""
        wanted: dict[str, list[str]] = {}
        for name in names:
            found = self._catalogue.find(name).image
            if found.builtin:
                raise Unsupported(f"the image {NAME} is this machine itself, and cannot be saved")
            given = wanted.setdefault(found.id, [])
            tag = name_meant(name, found.repo_tags)
            if tag is not None and tag not in given:
                given.append(tag)
        return wanted

    def _gather(self, id: str, names: list[str]) -> Saved:
        image = self._catalogue.find(id).image
        config = self._root.content.read(id, CONFIG_LIMIT)
        blobs: list[BlobInfo] = []
        for diff_id in image.layers:
            blob = self._root.content.find_uncompressed(diff_id)
            if blob is None:
                raise NotFound(f"the content of layer {diff_id} is not here any more")
            blobs.append(blob)
        return ArchivedImage(config, (), tuple(names)), tuple(blobs), Digest(id)


def _entry(path: str, size: int) -> Entry:
    return Entry(path.encode(), Kind.FILE, size=size)


def _file(path: str, data: bytes) -> bytes:
    return writer.header(_entry(path, len(data))) + data + writer.padding(len(data))
