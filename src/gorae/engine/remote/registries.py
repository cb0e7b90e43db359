"""Which registry is asked, and how it is reached.

    places of a name ─▶ for each: the first origin that answers as a registry ─▶ Repository

A mirror that does not answer, or does not have it, is passed over; the named registry is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gorae.engine.remote import failure
from gorae.engine.remote.failure import Refused
from gorae.engine.remote.repository import Found, Repository
from gorae.engine.remote.rules import ANONYMOUS, Credentials, Patience, Place, Rules, for_origin, server_host
from gorae.engine.remote.session import Session, Unreachable
from gorae.errors import GoraeError, InvalidArgument, NotFound, Unavailable
from gorae.oci.reference import Reference


class Registries:
    def __init__(self, rules: Rules, patience: Patience = Patience()) -> None:  # noqa: B008 (frozen)
        self.rules = rules
        self.patience = patience

    @asynccontextmanager
    async def repository(
        self, place: Place, credentials: Credentials = ANONYMOUS, *, push: bool = False
    ) -> AsyncIterator[Repository]:
        async with AsyncExitStack() as stack:
            session = await self._reach(stack, place, credentials)
            yield Repository(session, place.path, self.patience, push=push)

    @asynccontextmanager
    async def pushing(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> AsyncIterator[Repository]:
        place = self.rules.places(self.rules.meant(reference), push=True)[0]
        async with self.repository(place, credentials, push=True) as repository:
            yield repository

    @asynccontextmanager
    async def holding(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> AsyncIterator[tuple[Repository, Found]]:
        """The repository that has `reference` (a tag or a digest), and what it leads to. Raises in Docker's words."""
        meant = self.rules.meant(reference)
        wanted = str(meant.digest or meant.tag)
        last: GoraeError | None = None
        for place in self.rules.places(meant):
            async with AsyncExitStack() as stack:
                try:
                    repository = await stack.enter_async_context(self.repository(place, credentials))
                    found = await repository.manifest(wanted)
                except Refused as error:
                    last = failure.pulling(error, reference.familiar())
                except Unavailable as error:
                    last = error
                else:
                    yield repository, found
                    return
            if not place.mirror:
                break
        raise last or NotFound(f"manifest for {reference} not found: manifest unknown")

    async def tags(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> tuple[str, ...]:
        meant = self.rules.meant(reference)
        last: GoraeError | None = None
        for place in self.rules.places(meant):
            try:
                async with self.repository(place, credentials) as repository:
                    return await repository.tags()
            except Refused as error:
                last = failure.pulling(error, reference.name)
            except Unavailable as error:
                last = error
        raise last or NotFound(f"repository {reference.name} not found: name unknown")

    async def log_in(self, credentials: Credentials) -> None:
        """Raises `Refused` with status 401 when the registry does not take them."""
        host = server_host(credentials.server)
        if not host:
            raise InvalidArgument("no registry to log in to was named, and none is built in: give its host, such as host:5000")
        async with self.repository(Place(self.rules.origins(host), ""), credentials) as repository:
            await repository.session.log_in()

    async def _reach(self, stack: AsyncExitStack, place: Place, credentials: Credentials) -> Session:
        last: GoraeError | None = None
        for origin in place.origins:
            shown = for_origin(credentials, origin, mirror=place.mirror)
            session = Session(origin, shown, self.rules, self.patience)
            async with AsyncExitStack() as trial:
                await trial.enter_async_context(session)
                try:
                    await session.greet()
                except Unreachable as error:
                    last = error
                    continue
                except failure.Interrupted as error:
                    if origin.scheme == "http" or len(place.origins) == 1:
                        raise
                    last = error  # what answers TLS with nonsense may speak plain HTTP
                    continue
                stack.push_async_exit(trial.pop_all())
                return session
        raise last or Unavailable("the registry cannot be reached")
