"""How pushes and the garbage collector agree on a blob, without a lock.

    collector                                         whoever begins to rely on the blob (upload, mount, manifest)
    1  writes condemned/D                             1  writes a root: a link, a pending manifest
    2  looks at all roots once more                   2  looks for condemned/D; not there: go on with 4
    3  no root: creates verdicts/D "delete"           3  creates verdicts/D "keep"; the collector was first: the blob counts
         somebody was first: leaves the blob               as gone, an upload waits for the end of it and begins again with 1
    4  deletes the blob, then its links               4  looks whether blob and link are there; if not, as 3
    5  deletes condemned/D, then verdicts/D

Each writes before it looks, so at least one sees the other; and of two who see each other, `create` has one winner. Only the holder
of the collectors' term deletes. A collector that dies between 3 and 5 leaves "delete" behind: whoever waits takes the term as soon
as it can be had, and finishes.
"""

from __future__ import annotations

import asyncio
import time

from gorae.errors import Unavailable
from gorae.oci.digest import Digest
from gorae.registry import layout, terms
from gorae.registry.store.seam import Store

_PAUSE = 0.05
_PATIENCE = 0.5
KEEP, DELETE = b"keep", b"delete"


async def rescue(store: Store, digest: Digest) -> bool:
    """After a root was written: whether the collector leaves the blob alone. Look only then whether it is there."""
    if await store.stat(layout.condemned(digest)) is None:
        return True
    if await store.create(layout.verdict(digest), KEEP):
        return True
    return await store.read(layout.verdict(digest)) == KEEP


async def gone(store: Store, digest: Digest) -> None:
    """Waits until the deletion of a blob is over; finishes it when its collector has died."""
    begun = time.monotonic()
    while time.monotonic() - begun < 2 * terms.LEASE:
        if await store.read(layout.verdict(digest)) != DELETE:
            return
        if time.monotonic() - begun > _PATIENCE:
            term = await terms.Term.begin(store)
            if term is not None:
                async with term:
                    if await store.read(layout.verdict(digest)) == DELETE:
                        await execute(store, digest, [])
                return
        await asyncio.sleep(_PAUSE)
    raise Unavailable(f"{digest}: its deletion does not end; try again")


async def execute(store: Store, digest: Digest, links: list[str]) -> None:
    """Steps 4 and 5; the caller holds the term and the verdict is "delete"."""
    await store.delete(layout.blob(digest))
    for link in links:
        await store.delete(link)
    await acquit(store, digest)


async def acquit(store: Store, digest: Digest) -> None:
    """The case is closed, whatever the verdict was."""
    await store.delete(layout.condemned(digest))
    await store.delete(layout.verdict(digest))
