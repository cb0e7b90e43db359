"""`rmi` and `prune`: which names and images go.

    asked by name    the name goes; with the last name, the image goes too
    asked by id      all its names go, if they are of one repository; with it, the image

    refused                                                            unless forced
    -----------------------------------------------------------------  -------------
    by id, and a running container uses it                             never
    by id, and a stopped container uses it                             the names go
    by id, and it has several names                                    they all go
    by its only name, and a container uses it                          the name goes

While a container uses an image, the image itself stays, nameless; `prune` takes it when the container is gone.

The words are Docker's (daemon/images/image_delete.go speaks them), for clients match on some of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from gorae import crashpoints
from gorae.engine.image.builtin import NAME
from gorae.engine.image.catalogue import Catalogue, name_meant, names_of
from gorae.engine.image.model import Deleted, ImageEvent, ImageSummary, Pruned, Untagged
from gorae.errors import Conflict
from gorae.oci import reference as references
from gorae.storage.root import Collected, DataRoot

InUse = Callable[[str], Sequence[tuple[str, bool]]]
Publish = Callable[[ImageEvent], None]
Removed = Untagged | Deleted


class Remover:
    def __init__(self, root: DataRoot, catalogue: Catalogue, in_use: InUse, publish: Publish) -> None:
        self._root = root
        self._catalogue = catalogue
        self._in_use = in_use
        self._publish = publish

    async def remove(self, reference: str, *, force: bool) -> tuple[Removed, ...]:
        image = self._catalogue.find(reference).image
        names = (*image.repo_tags, *image.repo_digests)
        users = self._in_use(image.id)
        name = name_meant(reference, names)
        if image.builtin:
            if name is None or name == NAME:
                raise Conflict(f"the image {NAME} is built in: it is a view of this machine, takes no space and cannot be removed")
            return await self._untag(image.id, _with_digests(name, names))
        if name is None:
            _check_identity(image.id, names, users, force)
            going = names
        else:
            going = _with_digests(name, names)
            if set(going) == set(names) and users and not force:
                raise Conflict(
                    f'conflict: unable to remove repository reference "{reference}" (must force) - '
                    f"container {users[0][0][:12]} is using its referenced image {_short(image.id)}"
                )
        if users or set(going) != set(names):
            return await self._untag(image.id, going)
        collected = await self._forget({image.id: names})
        return (*(Untagged(name) for name in names), Deleted(image.id), *(Deleted(key) for key in collected.snapshots))

    async def prune(self, *, dangling: bool, keep: Callable[[ImageSummary], bool]) -> Pruned:
        """Images that no container uses: those without a tag, or (not `dangling`) all."""
        victims = {
            summary.id: (*summary.repo_tags, *summary.repo_digests)
            for summary in self._catalogue.all()
            if not (summary.builtin or (dangling and summary.repo_tags) or self._in_use(summary.id) or keep(summary))
        }
        collected = await self._forget(victims)
        removed: list[Removed] = [Untagged(name) for names in victims.values() for name in names]
        removed += [Deleted(id) for id in (*victims, *collected.snapshots)]
        self._publish(ImageEvent(action="prune", id="", attributes={"reclaimed": str(collected.bytes)}))
        return Pruned(removed=tuple(removed), reclaimed=collected.bytes)

    async def _untag(self, id: str, names: Sequence[str]) -> tuple[Untagged, ...]:
        crashpoints.hit("image.untag.before-rows")
        await self._root.database.write(lambda connection: untag(connection, id, names), essential=True)
        crashpoints.hit("image.untag.after-rows")
        for name in names:
            self._publish(ImageEvent(action="untag", id=id, name=name))
        return tuple(Untagged(name) for name in names)

    async def _forget(self, victims: Mapping[str, Sequence[str]]) -> Collected:
        """Images and all their names, in one transaction; then what only they held. A name that came meanwhile keeps its image."""

        def forget(connection: sqlite3.Connection) -> None:
            for id, names in victims.items():
                untag(connection, id, names)
                if names_of(connection, id):
                    raise Conflict(f"conflict: unable to delete {_short(id)} - it was given a name meanwhile")
                connection.execute("DELETE FROM images WHERE id = ? AND builtin = 0", (id,))

        crashpoints.hit("image.remove.before-row")
        await self._root.database.write(forget, essential=True)
        crashpoints.hit("image.remove.after-row")
        for id, names in victims.items():
            for name in names:
                self._publish(ImageEvent(action="untag", id=id, name=name))
            self._publish(ImageEvent(action="delete", id=id))
        return await self._root.collect_garbage()


def untag(connection: sqlite3.Connection, id: str, names: Sequence[str]) -> None:
    connection.executemany("DELETE FROM names WHERE name = ? AND image = ?", [(name, id) for name in names])


def _check_identity(id: str, names: Sequence[str], users: Sequence[tuple[str, bool]], force: bool) -> None:
    running = next((user for user, runs in users if runs), None)
    if running is not None:
        reason = f"image is being used by running container {running[:12]}"
        raise Conflict(f"conflict: unable to delete {_short(id)} (cannot be forced) - {reason}")
    if users and (not force or not names):
        reason = f"image is being used by stopped container {users[0][0][:12]}"
        raise Conflict(f"conflict: unable to delete {_short(id)} ({'must' if names else 'cannot'} be forced) - {reason}")
    if not force and sum("@" not in name for name in names) > 1:
        raise Conflict(f"conflict: unable to delete {_short(id)} (must be forced) - image is referenced in multiple repositories")


def _with_digests(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """A name, and with the last tag of a repository the digests that it was pulled by."""
    if "@" in name:
        return (name,)
    repository = references.parse(name).name
    same = [other for other in names if other != name and references.parse(other).name == repository]
    return (name, *same) if all("@" in other for other in same) else (name,)


def _short(id: str) -> str:
    return id.partition(":")[2][:12]


