"""Mark and sweep, safe while pulls and builds go on.

    mark     roots (db/schema.py: images, leases, active snapshots) and everything they need
    sweep    rows of the rest go in the same transaction; files afterwards

Whoever brings or adopts something does so under a lease, in a transaction: it comes before the mark (and is kept) or after the
rows are gone (and sees that it must be brought again). So nothing can be half there.
"""

from __future__ import annotations

import sqlite3
import time

from msgspec import Struct

from gorae.storage.db.schema import CONTENT_ROOTS, SNAPSHOT_ROOTS

LIVE_CONTENT = f"""
WITH RECURSIVE live (digest) AS (
    SELECT * FROM ({" UNION ".join(CONTENT_ROOTS)})
    UNION SELECT child FROM content_children JOIN live USING (digest)
)
SELECT digest FROM content WHERE digest NOT IN live
"""

LIVE_SNAPSHOTS = f"""
WITH RECURSIVE live (number) AS (
    SELECT number FROM snapshots WHERE key IN ({" UNION ".join(SNAPSHOT_ROOTS)})
    UNION SELECT parent FROM snapshots JOIN live USING (number) WHERE parent IS NOT NULL
)
SELECT number, key FROM snapshots WHERE number NOT IN live ORDER BY number DESC
"""


class Garbage(Struct, frozen=True):
    """What was forgotten and is now to be deleted from the disk."""

    digests: tuple[str, ...]
    snapshots: tuple[tuple[int, str], ...]  # number, key


def forget(connection: sqlite3.Connection) -> Garbage:
    """Mark, and drop the rows of what is not marked. Inside a write transaction."""
    connection.execute("DELETE FROM leases WHERE expires < ?", (time.time_ns(),))
    snapshots = tuple((number, key) for number, key in connection.execute(LIVE_SNAPSHOTS).fetchall())
    digests = tuple(digest for (digest,) in connection.execute(LIVE_CONTENT).fetchall())
    # A child is younger than its parent, so going down in number never removes a row that another one points to.
    connection.executemany("DELETE FROM snapshots WHERE number = ?", [(number,) for number, _ in snapshots])
    connection.executemany("DELETE FROM content WHERE digest = ?", [(digest,) for digest in digests])
    return Garbage(digests, snapshots)
