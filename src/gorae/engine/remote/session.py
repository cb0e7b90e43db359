"""Requests to one origin, with what that takes.

    request ─▶ 401 ─▶ challenge ─▶ Basic: our credentials · Bearer: a token from the realm ─▶ the request once more
            ─▶ 30x ─▶ the same without Authorization, unless it stays on this origin; never from https to http; at most five
            ─▶ 429, 5xx, reset, silence ─▶ Interrupted: whoever asked tries again (failure.persist)

Credentials are shown to this origin and to the realms that `rules` allow, nobody else.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from gorae.engine.remote import challenge, failure, tls
from gorae.engine.remote.failure import Interrupted
from gorae.engine.remote.rules import Credentials, Origin, Patience, Rules, same_origin
from gorae.errors import CorruptData, Forbidden, InvalidArgument, Unavailable
from gorae.oci.json import read_json
from gorae.version import VERSION

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
DOCUMENT_LIMIT = 1 << 20
READ_SIZE = 256 << 10

Body = Callable[[], AsyncIterator[bytes]]


class Unreachable(Unavailable):
    """Nobody listens there, or not in this way (TLS or not)."""


class Session:
    """`async with Session(…)`. Paths begin with a slash; a full URL may be given where a registry told us one."""

    def __init__(self, origin: Origin, credentials: Credentials, rules: Rules, patience: Patience) -> None:
        self.origin = origin
        self._credentials = credentials
        self._rules = rules
        self._patience = patience
        self._authorizations: dict[tuple[str, ...], tuple[str, float]] = {}
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Session:
        import aiohttp  # a fifth of a second: only who asks a registry pays for it

        secure = await asyncio.to_thread(tls.context, self.origin, self._rules.certificates)
        patience = self._patience
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=secure, limit=16),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect, sock_read=patience.stall),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"gorae/{VERSION}", "Accept-Encoding": "identity"},
            read_bufsize=READ_SIZE,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        *,
        scopes: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of status 2xx, whose body is the caller's to read. Raises `failure.Refused`,
        `Interrupted`, `Unreachable`."""
        response: aiohttp.ClientResponse | None = None
        try:
            async with self._failing():
                response = await self._respond(method, target, tuple(scopes), dict(headers or {}), body)
                if response.status in failure.AGAIN:
                    await response.read() if (response.content_length or 0) < DOCUMENT_LIMIT else response.close()
                    what = "toomanyrequests: " if response.status == 429 else ""
                    message = f"{what}{self.origin.host} answered {method} with status {response.status}"
                    raise Interrupted(message, failure.retry_after(response.headers.get("Retry-After", "")))
                if not 200 <= response.status < 300:
                    data = b"" if method == "HEAD" else await bounded(response, DOCUMENT_LIMIT)
                    raise failure.refused(response.status, data, self.origin.host)
                yield response
        finally:
            if response is not None:
                response.close() if not response.content.at_eof() else response.release()

    async def document(
        self, target: str, limit: int, *, scopes: Iterable[str] = (), headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a GET, tried again as long as it makes sense. `CorruptData` beyond `limit` bytes."""

        async def once() -> tuple[Mapping[str, str], bytes]:
            async with self.request("GET", target, scopes=scopes, headers=headers) as response:
                if (response.content_length or 0) > limit:
                    raise CorruptData(f"{self.origin.host}{target[:200]}: {response.content_length} bytes are more than {limit}")
                return response.headers, await bounded(response, limit)

        return await failure.persist(self._patience, once)

    async def ask(
        self, method: str, target: str, *, scopes: Iterable[str] = (), headers: Mapping[str, str] | None = None, body: Any = None
    ) -> Mapping[str, str]:
        """The headers of an answer whose body does not matter; tried again as long as it makes sense."""

        async def once() -> Mapping[str, str]:
            async with self.request(method, target, scopes=scopes, headers=headers, body=body) as response:
                await bounded(response, DOCUMENT_LIMIT)
                return response.headers

        return await failure.persist(self._patience, once)

    async def greet(self) -> None:
        """Is there a registry? Nothing secret is sent. `Unreachable` when nobody answers, `Unavailable` when it is none."""

        async def once() -> None:
            async with self._failing(), await self._send("GET", self._url("/v2/"), {}, None) as response:
                if response.status in failure.AGAIN:
                    after = failure.retry_after(response.headers.get("Retry-After", ""))
                    raise Interrupted(f"{self.origin.host} answered with status {response.status}", after)
                if response.status not in (200, 401):
                    raise Unavailable(f"{self.origin} is no registry: it answered /v2/ with status {response.status}")

        await failure.persist(self._patience, once)

    async def log_in(self) -> None:
        """Whether the credentials are taken. Raises `failure.Refused` (401) when they are not."""
        await self.document("/v2/", DOCUMENT_LIMIT)

    # Inside

    async def _respond(
        self, method: str, target: str, scopes: tuple[str, ...], headers: dict[str, str], body: Body | bytes | None
    ) -> aiohttp.ClientResponse:
        url = self._url(target)
        ours = same_origin(str(url), str(self.origin))
        known = self._authorizations.get(scopes)
        if ours and self._credentials.registry_token:
            headers["Authorization"] = f"Bearer {self._credentials.registry_token}"
        elif ours and known is not None and known[1] > time.monotonic():
            headers["Authorization"] = known[0]
        response = await self._follow(method, url, headers, body)
        if response.status != 401 or not same_origin(str(response.url), str(self.origin)):
            return response
        self._authorizations.pop(scopes, None)
        challenges = challenge.parse(response.headers.getall("WWW-Authenticate", []))
        authorization = await self._answer(challenges, scopes)
        if authorization is None or authorization == headers.get("Authorization"):
            return response
        response.close()
        return await self._follow(method, url, headers | {"Authorization": authorization}, body)

    async def _follow(self, method: str, url: URL, headers: dict[str, str], body: Body | bytes | None) -> aiohttp.ClientResponse:
        from yarl import URL

        for _ in range(MOST_REDIRECTS + 1):
            response = await self._send(method, url, headers, body)
            if response.status not in REDIRECTS or "Location" not in response.headers or method not in ("GET", "HEAD"):
                return response
            response.close()
            target = url.join(URL(response.headers["Location"]))
            if target.scheme not in ("http", "https") or (url.scheme, target.scheme) == ("https", "http") or target.user:
                raise Forbidden(f"{url.host} redirects to {target.scheme}://{target.host}, which is not followed")
            if not same_origin(str(target), str(url)):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        raise Unavailable(f"{self.origin.host} redirects more than {MOST_REDIRECTS} times")

    async def _send(self, method: str, url: URL, headers: dict[str, str], body: Body | bytes | None) -> aiohttp.ClientResponse:
        assert self._client is not None
        data = body() if callable(body) else body
        return await self._client.request(method, url, headers=headers, data=data, allow_redirects=False)

    async def _answer(self, challenges: tuple[challenge.Challenge, ...], scopes: tuple[str, ...]) -> str | None:
        """An Authorization for the first challenge that we can meet."""
        for each in challenges:
            if each.scheme == "bearer":
                return await self._token(each, scopes)
            if self._credentials.username:
                pair = f"{self._credentials.username}:{self._credentials.password}".encode()
                basic = f"Basic {base64.b64encode(pair).decode()}"
                self._authorizations[scopes] = (basic, float("inf"))
                return basic
        return None

    async def _token(self, asked: challenge.Challenge, scopes: tuple[str, ...]) -> str | None:
        if not self._rules.may_give_tokens(self.origin, asked.realm):
            raise Forbidden(
                f"{self.origin.host} wants a token from {asked.realm[:200]!a}: add that origin to registry-token-origins in "
                "daemon.json if this is right"
            )
        from yarl import URL

        ours = self._credentials
        wanted = scopes or ((asked.scope,) if asked.scope else ())
        query = [("service", asked.service)] if asked.service else []
        if ours.identity_token:
            words = [*query, ("grant_type", "refresh_token"), ("client_id", "gorae"), ("refresh_token", ours.identity_token)]
            form = urlencode([*words, ("scope", " ".join(wanted))]).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = await self._send("POST", URL(asked.realm), headers, form)
        else:
            query += [("scope", each) for each in wanted]
            headers = {}
            if ours.username:
                pair = f"{ours.username}:{ours.password}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
                query.append(("account", ours.username))
            response = await self._send("GET", URL(asked.realm).extend_query(query), headers, None)
        async with response:
            data = await bounded(response, DOCUMENT_LIMIT)
            if response.status in failure.AGAIN:
                after = failure.retry_after(response.headers.get("Retry-After", ""))
                raise Interrupted(f"the token service of {self.origin.host} answered with status {response.status}", after)
            if response.status != 200:
                raise failure.refused(response.status, data, f"the token service of {self.origin.host}")
        token, lifetime = _understood(data, self.origin.host)
        self._authorizations[scopes] = (f"Bearer {token}", time.monotonic() + max(0.0, lifetime - 10))
        return f"Bearer {token}"

    def _url(self, target: str) -> URL:
        from yarl import URL

        if target.startswith("/"):
            return URL(f"{self.origin}{target}", encoded=True)
        url = URL(target, encoded=True)
        if url.scheme == "http" and self.origin.scheme == "https" and url.authority == self.origin.host:
            return url.with_scheme("https")  # a registry that does not know of the TLS before it
        if url.scheme not in ("http", "https") or (url.scheme == "http" and self.origin.scheme == "https") or url.user:
            raise Forbidden(f"{self.origin.host} sends us to {url.scheme}://{url.host}, which is not followed")
        return url

    @asynccontextmanager
    async def _failing(self) -> AsyncIterator[None]:
        """The client library's failures as ours; also those while a body is read."""
        import aiohttp

        try:
            yield
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"cannot reach {self.origin}: {error.os_error.strerror or error.os_error}") from error
        except UnicodeError as error:  # of the name's encoding, before anything is sent
            raise InvalidArgument(f"{self.origin.host!r} is no host's name: {error}") from error
        except aiohttp.ServerTimeoutError as error:
            raise Interrupted(f"{self.origin.host} is silent: {error}") from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Interrupted(f"{self.origin.host}: {error or type(error).__name__}") from error
        except aiohttp.http_exceptions.HttpProcessingError as error:
            raise Unavailable(f"{self.origin.host} does not speak HTTP: {type(error).__name__}") from error


async def bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """`CorruptData` beyond `limit` bytes, with no more than that in memory."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise CorruptData(f"{response.url.host} sends more than the {limit} bytes that such a document may have")
        parts.append(part)
    return b"".join(parts)


def _understood(data: bytes, host: str) -> tuple[str, float]:
    try:
        answer = read_json(data, "token")
        token = answer.get("token") or answer.get("access_token")
        lifetime = float(answer.get("expires_in") or 60)
    except (InvalidArgument, AttributeError, TypeError, ValueError) as error:
        raise Unavailable(f"the token service of {host} answers nonsense") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or len(token) > DOCUMENT_LIMIT // 8:
        raise Unavailable(f"the token service of {host} answers nonsense")
    return token, lifetime
