"""One other registry, as its client.

    request ─▶ 401 ─▶ challenge ─▶ Basic: the credential of this origin · Bearer: a token from the realm ─▶ request once more
            ─▶ 30x ─▶ the same without Authorization, unless it stays on this origin; never from https to http; at most five

The realm must lie on the upstream's own origin or on one that the operator has listed (`token_origins`): otherwise a hostile
upstream would choose whom we send a password to, or which address inside our network we ask (CVE-2020-15157, CVE-2019-10214).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from gorae.errors import Forbidden, InvalidArgument, Unavailable
from gorae.registry.auth.guards import basic
from gorae.registry.upstream.challenge import Challenge, parse_challenge

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
TOKEN_LIMIT = 1 << 20
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
READ_SIZE = 256 << 10


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one origin, such as `https://mirror:5000`."""

    origin: str
    username: str = ""
    password: str = ""
    token_origins: tuple[str, ...] = ()
    """Where tokens for it may be fetched, and its password be sent, besides itself."""


class CredentialFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    credential: tuple[Credential, ...] = ()


def read_credentials(path: str) -> tuple[Credential, ...]:
    """TOML with `[[credential]]` tables, or JSON of the same shape."""
    try:
        data = Path(path).read_bytes()
        decode = msgspec.json.decode if path.endswith(".json") else msgspec.toml.decode
        return decode(data, type=CredentialFile).credential
    except OSError as error:
        raise InvalidArgument(f"credentials {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidArgument(f"credentials {path}: {error}") from error


class Remote:
    """`url` is scheme, host and port. Close it with `aclose`."""

    def __init__(self, url: str, credentials: tuple[Credential, ...] = (), tls: ssl.SSLContext | None = None) -> None:
        self.url = URL(url)
        if self.url.scheme not in ("http", "https") or not self.url.host or self.url.path not in ("", "/") or self.url.user:
            raise InvalidArgument(f"upstream {url}: expected http(s)://host[:port]")
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        mine = [each for each in credentials if URL(each.origin).origin() == self.url.origin()]
        self._credential = mine[0] if mine else Credential(url)
        self._realms = {self.url.origin(), *(URL(each).origin() for each in self._credential.token_origins)}

    @asynccontextmanager
    async def request(
        self, method: str, path: str, name: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whatever its status; `Unavailable` when there is none, or 429 or 5xx. `name` is the repository there."""
        scope = f"repository:{name}:pull"
        asked = dict(headers or {})
        known = self._tokens.get(scope)
        if known is not None and known[1] > time.monotonic():
            asked["Authorization"] = known[0]
        try:
            response = await self._follow(method, self.url.join(URL(path, encoded=True)), asked)
            if response.status == 401:
                challenge = parse_challenge(response.headers.get("WWW-Authenticate", ""))
                response.release()
                authorization = await self._answer(challenge, scope) if challenge else None
                if authorization is not None:
                    asked["Authorization"] = authorization
                    response = await self._follow(method, self.url.join(URL(path, encoded=True)), asked)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"upstream {self.url.host}: {error or type(error).__name__}") from error
        try:
            if response.status == 429 or response.status >= 500:
                raise Unavailable(f"upstream {self.url.host}: status {response.status}")
            yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"upstream {self.url.host}: {error or type(error).__name__}") from error
        finally:
            response.close()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _follow(self, method: str, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        origin = url.origin()
        for _ in range(MOST_REDIRECTS + 1):
            response = await self._open().request(method, url, headers=headers, allow_redirects=False)
            if response.status not in REDIRECTS or "Location" not in response.headers:
                return response
            target = url.join(URL(response.headers["Location"]))
            response.close()
            if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme == "http") or target.user:
                raise Forbidden(f"upstream {self.url.host} redirects to {target.scheme}://{target.host}, which is not followed")
            if target.origin() != origin:
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            url = target
        raise Unavailable(f"upstream {self.url.host} redirects more than {MOST_REDIRECTS} times")

    async def _answer(self, challenge: Challenge, scope: str) -> str | None:
        """An Authorization header for a challenge, or None when we have nothing to say."""
        mine = basic(self._credential.username, self._credential.password) if self._credential.username else None
        if challenge.scheme == "basic":
            if mine is not None:
                self._tokens[scope] = (mine, float("inf"))
            return mine
        realm = URL(challenge.realm)
        if not realm.host or realm.origin() not in self._realms:
            raise Forbidden(f"upstream {self.url.host} wants a token from {realm.host}: list it in token_origins if that is right")
        query = {key: value for key, value in (("service", challenge.service), ("scope", challenge.scope or scope)) if value}
        headers = {"Authorization": mine} if mine is not None else {}
        async with self._open().get(realm.update_query(query), headers=headers, allow_redirects=False) as response:
            data = await response.content.read(TOKEN_LIMIT)
            if response.status != 200:
                return None
        try:
            answer: dict[str, Any] = msgspec.json.decode(data)
            token = answer.get("token") or answer.get("access_token")
            lifetime = float(answer.get("expires_in") or 60)
        except (msgspec.MsgspecError, AttributeError, TypeError, ValueError) as error:
            raise Unavailable(f"upstream {self.url.host}: its token service answers nonsense") from error
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unavailable(f"upstream {self.url.host}: its token service answers nonsense")
        if len(self._tokens) > 1024:
            self._tokens.clear()
        self._tokens[scope] = (f"Bearer {token}", time.monotonic() + max(0.0, lifetime - 10))
        return f"Bearer {token}"

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=64),
                timeout=TIMEOUT,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "gorae-registry"},
                read_bufsize=READ_SIZE,
            )
        return self._session
