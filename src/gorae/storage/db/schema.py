"""Every table: who owns it, and what is in it. Only the owner's code names a table in SQL, except for the roots of garbage
collection below.

    table              owner                 row
    -----------------  --------------------  -----------------------------------------------------------------------------
    meta               storage.db            key → value: what the data root as a whole must remember
    content            storage.content       a complete, verified blob; `uncompressed` is the diff id when it is a layer
    content_children   storage.content       blob → blob that it needs (manifest → configuration → layers)
    leases             storage.content       an assembly under way; expires NULL: dies with the process that took it
    lease_holds        storage.content       lease → content digest or snapshot key that it protects
    snapshots          storage.snapshot      one directory snapshots/<number>; kind: active, view, committed; below: a directory of
                                             this machine under it, of which `hidden` (JSON) is not to be seen;
                                             size: of its files, as unpacked; bytes, inodes: as du(1) counted, once it did
    images             engine.image          id (digest of the configuration) → snapshot of its top layer; record: JSON
    names              engine.image          "busybox:latest" or "busybox@sha256:…" → image
    networks           engine.network        a network that was created: name, subnets, options (JSON)
    endpoints          engine.network        a running container's end in a network: addresses, ports (JSON)
    containers         engine.container      config: what was asked for at create · state: what became of it (JSON both)

Times are nanoseconds since the epoch, sizes are bytes. A schema change is a new last entry of MIGRATIONS; what has been
released is never edited.
"""

from __future__ import annotations

ONE = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE content (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL DEFAULT '',
    uncompressed TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX content_uncompressed ON content (uncompressed) WHERE uncompressed != '';

CREATE TABLE content_children (
    digest TEXT NOT NULL REFERENCES content (digest) ON DELETE CASCADE,
    child TEXT NOT NULL,
    PRIMARY KEY (digest, child)
) WITHOUT ROWID;

CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER
) WITHOUT ROWID;

CREATE TABLE lease_holds (
    lease TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('content', 'snapshot')),
    key TEXT NOT NULL,
    PRIMARY KEY (lease, kind, key)
) WITHOUT ROWID;

CREATE TABLE snapshots (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('active', 'view', 'committed')),
    parent INTEGER REFERENCES snapshots (number),
    created INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER,
    inodes INTEGER,
    below TEXT NOT NULL DEFAULT '',
    hidden TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX snapshots_parent ON snapshots (parent);

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    snapshot TEXT NOT NULL,
    added INTEGER NOT NULL,
    builtin INTEGER NOT NULL DEFAULT 0,
    record BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE names (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    tagged INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_image ON names (image);

CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    config BLOB NOT NULL,
    state BLOB NOT NULL
) WITHOUT ROWID;
"""

NETWORKS = """
CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    record BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    container TEXT NOT NULL,
    record BLOB NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (ONE, NETWORKS)
"""The n-th entry takes a database from version n to n + 1 (`PRAGMA user_version`); statements only, no transaction control."""

CONTENT_ROOTS: tuple[str, ...] = (
    "SELECT id FROM images",
    "SELECT key FROM lease_holds WHERE kind = 'content'",
)
"""Whatever one of these answers is no garbage, nor is what it needs through content_children."""

SNAPSHOT_ROOTS: tuple[str, ...] = (
    "SELECT snapshot FROM images",
    "SELECT key FROM lease_holds WHERE kind = 'snapshot'",
    "SELECT key FROM snapshots WHERE kind != 'committed'",
)
"""Whatever one of these answers is no garbage, nor are its parents. An active snapshot belongs to whoever prepared it, until
removed."""
