"""Which images there are and what they are called: the tables `images` and `names`.

    names.name    "busybox:latest" or "busybox@sha256:…", as `Reference.familiar` writes it

What a person may say for an image, in this order: its whole id, a name, the beginning of its id.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Sequence

import msgspec

from gorae import crashpoints
from gorae.engine.image import record
from gorae.engine.image.model import Image, ImageSummary
from gorae.engine.image.record import Record
from gorae.errors import InvalidArgument, NotFound
from gorae.oci import reference as references
from gorae.storage.db.database import Database

IDENTITY = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,63})")


class Catalogue:
    def __init__(self, database: Database) -> None:
        self.database = database

    def find(self, reference: str) -> Record:
        """Raises `NotFound` in Docker's words, `InvalidArgument` for what cannot be a name."""
        return self.database.read(lambda connection: _load(connection, _resolve(connection, reference)))

    def all(self) -> tuple[ImageSummary, ...]:
        def read(connection: sqlite3.Connection) -> tuple[ImageSummary, ...]:
            names: dict[str, list[str]] = {}
            for name, image in connection.execute("SELECT name, image FROM names ORDER BY name"):
                names.setdefault(image, []).append(name)
            rows = connection.execute("SELECT id, record, added FROM images")
            return tuple(_summary(record.decode(data).image, names.get(id, ()), added) for id, data, added in rows)

        return tuple(sorted(self.database.read(read), key=lambda image: (-image.created, image.id)))

    def snapshot(self, id: str) -> str:
        query = "SELECT snapshot FROM images WHERE id = ?"
        row = self.database.read(lambda connection: connection.execute(query, (id,)).fetchone())
        if row is None:
            raise NotFound(f"No such image: {id}")
        return str(row[0])

    def knows_builtin(self, found: Record, name: str) -> bool:
        """Is it here, just so and under its name? Then a start has nothing to write."""
        query = "SELECT record FROM images JOIN names ON image = id WHERE id = ? AND name = ? AND builtin"
        row = self.database.read(lambda connection: connection.execute(query, (found.image.id, name)).fetchone())
        return row is not None and row[0] == record.encode(found)

    async def add(self, found: Record, snapshot: str, names: Iterable[str] = ()) -> tuple[str, ...]:
        """The image is there when this returns; names move to it. Answers the names that were taken from another image."""
        wanted = tuple(names)

        def write(connection: sqlite3.Connection) -> tuple[str, ...]:
            image = found.image
            values = (image.id, snapshot, time.time_ns(), image.builtin, record.encode(found))
            if image.builtin:  # another version may have kept less of it
                statement = "UPDATE images SET record = ?, snapshot = ?, builtin = 1 WHERE id = ?"
                connection.execute(statement, (record.encode(found), snapshot, image.id))
            connection.execute("INSERT OR IGNORE INTO images (id, snapshot, added, builtin, record) VALUES (?, ?, ?, ?, ?)", values)
            return tuple(name for name in wanted if name_image(connection, name, image.id))

        crashpoints.hit("image.add.before-row")
        replaced = await self.database.write(write)
        crashpoints.hit("image.add.after-row")
        return replaced

    async def name(self, reference: str, name: str) -> str:
        """Answers the image's id."""

        def write(connection: sqlite3.Connection) -> str:
            id = _resolve(connection, reference)
            name_image(connection, name, id)
            return id

        crashpoints.hit("image.tag.before-row")
        id = await self.database.write(write)
        crashpoints.hit("image.tag.after-row")
        return id


def name_image(connection: sqlite3.Connection, name: str, id: str) -> bool:
    """True when the name was another image's."""
    row = connection.execute("SELECT image FROM names WHERE name = ?", (name,)).fetchone()
    connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", (name, id, time.time_ns()))
    return row is not None and row[0] != id


def names_of(connection: sqlite3.Connection, id: str) -> tuple[str, ...]:
    return tuple(name for (name,) in connection.execute("SELECT name FROM names WHERE image = ? ORDER BY name", (id,)))


def name_meant(reference: str, names: Iterable[str]) -> str | None:
    """The one of an image's names by which it was asked for; None when it was by (the beginning of) its id."""
    try:
        name = _familiar(reference)
    except InvalidArgument:
        return None
    return name if name in names else None


def _familiar(reference: str) -> str:
    parsed = references.parse(reference)
    return (parsed.with_tag(None) if parsed.digest else parsed).familiar()  # with a tag and a digest, the digest decides


def _resolve(connection: sqlite3.Connection, reference: str) -> str:
    if (match := IDENTITY.fullmatch(reference)) is not None:
        row = connection.execute("SELECT id FROM images WHERE id = ?", (f"sha256:{match[1]}",)).fetchone()
        if row is None:
            raise NotFound(f"No such image: {reference}")
        return str(row[0])
    words: InvalidArgument | None = None
    shown = reference
    try:
        shown = _familiar(reference)
        row = connection.execute("SELECT image FROM names WHERE name = ?", (shown,)).fetchone()
        if row is not None:
            return str(row[0])
    except InvalidArgument as error:
        words = error
    if (match := PREFIX.fullmatch(reference)) is not None:
        low = f"sha256:{match[1]}"
        rows = connection.execute("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (low, low + "g")).fetchall()
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            raise InvalidArgument(f"{reference} is the beginning of several image ids: give more of it")
    if words is not None and not reference.startswith("sha256:"):
        raise words
    raise NotFound(f"No such image: {shown}")


def _load(connection: sqlite3.Connection, id: str) -> Record:
    row = connection.execute("SELECT record FROM images WHERE id = ?", (id,)).fetchone()
    found = record.decode(row[0])
    tagged = connection.execute("SELECT max(tagged) FROM names WHERE image = ?", (id,)).fetchone()[0]
    tags, digests = _told_apart(names_of(connection, id))
    image = msgspec.structs.replace(found.image, repo_tags=tags, repo_digests=digests, last_tagged=tagged)
    return msgspec.structs.replace(found, image=image)


def _told_apart(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(name for name in names if "@" not in name), tuple(name for name in names if "@" in name)


def _summary(image: Image, names: Sequence[str], added: int) -> ImageSummary:
    tags, digests = _told_apart(names)
    return ImageSummary(
        id=image.id,
        parent=image.parent,
        repo_tags=tags,
        repo_digests=digests,
        created=image.created or 0,
        size=image.size,
        labels=image.config.labels,
        builtin=image.builtin,
    )
