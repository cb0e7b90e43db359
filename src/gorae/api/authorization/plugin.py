"""Docker's plugin protocol for authorization: JSON over HTTP, mostly at a unix socket.

    POST /Plugin.Activate            → {"Implements": ["authz"]}
    POST /AuthZPlugin.AuthZReq  {"User", "UserAuthNMethod", "RequestMethod", "RequestUri", "RequestBody" (base64), "RequestHeaders",
                                 "RequestPeerCertificates"}
    POST /AuthZPlugin.AuthZRes  the same, "ResponseStatusCode", "ResponseBody" (base64), "ResponseHeaders"
                                     → {"Allow": true | false, "Msg": "why not", "Err": "what failed"}

Each question has a connection of its own: one that the plugin closed between two questions must not fail the second.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import msgspec

from gorae.api.authorization.discovery import Address
from gorae.api.authorization.model import Decision, Outcome, Question
from gorae.errors import GoraeError, InvalidArgument
from gorae.oci.json import read_json

if TYPE_CHECKING:
    import ssl

    import aiohttp

MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
LARGEST_ANSWER = 1 << 20
IMPLEMENTS = "authz"


class Plugin:
    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self._url = address.url or "http://plugin"
        self._session = _session(address)

    async def activate(self, patience: float) -> None:
        """InvalidArgument when nobody answers there, or somebody who is no authorization plugin."""
        try:
            async with asyncio.timeout(patience):
                answer = await self._ask("/Plugin.Activate", {})
        except (GoraeError, TimeoutError) as error:
            raise InvalidArgument(f"authorization plugin {self.name!r} cannot be activated: {error or 'no answer'}") from error
        implements = answer.get("Implements")
        if not isinstance(implements, list) or IMPLEMENTS not in implements:
            raise InvalidArgument(f"plugin {self.name!r} does not implement {IMPLEMENTS!r}: it says {implements!r}")

    async def request(self, question: Question) -> Decision:
        return _decision(await self._ask("/AuthZPlugin.AuthZReq", _asked(question)))

    async def response(self, question: Question, outcome: Outcome) -> Decision:
        told = {
            "ResponseStatusCode": outcome.status,
            "ResponseBody": base64.b64encode(outcome.body).decode(),
            "ResponseHeaders": dict(outcome.headers),
        }
        return _decision(await self._ask("/AuthZPlugin.AuthZRes", _asked(question) | told))

    async def aclose(self) -> None:
        await self._session.close()

    async def _ask(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        import aiohttp

        headers = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
        try:
            async with self._session.post(
                self._url + path, data=msgspec.json.encode(document), headers=headers, allow_redirects=False
            ) as response:
                data = await _bounded(response)
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            raise GoraeError(f"{path}: {type(error).__name__}: {error}") from error
        answer = _object(data, path)
        if status != 200:
            raise GoraeError(f"{path}: status {status}: {answer.get('Err') or 'no reason given'}")
        return answer


def _session(address: Address) -> aiohttp.ClientSession:
    import aiohttp

    connector: aiohttp.BaseConnector
    if address.socket:
        connector = aiohttp.UnixConnector(path=address.socket, force_close=True, limit=0)
    else:
        connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=_context(address.tls))
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
    )


def _context(tls: dict[str, Any] | None) -> ssl.SSLContext | bool:
    if tls is None:
        return True
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.get("CAFile") or None)
        if tls.get("InsecureSkipVerify") is True:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.get("CertFile"):
            context.load_cert_chain(tls["CertFile"], tls.get("KeyFile") or None, password="")
    except (OSError, TypeError) as error:
        raise InvalidArgument(f"the TLSConfig of an authorization plugin cannot be used: {error}") from error
    return context


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in response.content.iter_any():
        data += part
        if len(data) > LARGEST_ANSWER:
            raise GoraeError(f"an answer of more than {LARGEST_ANSWER} bytes")
    return bytes(data)


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        answer = read_json(data, what)
    except InvalidArgument as error:
        raise GoraeError(str(error)) from error
    if not isinstance(answer, dict):
        raise GoraeError(f"{what}: the answer is no JSON object")
    return answer


def _asked(question: Question) -> dict[str, Any]:
    return {
        "User": question.user,
        "UserAuthNMethod": question.user_authentication,
        "RequestMethod": question.method,
        "RequestUri": question.uri,
        "RequestBody": base64.b64encode(question.body).decode(),
        "RequestHeaders": dict(question.headers),
        "RequestPeerCertificates": [base64.b64encode(text.encode()).decode() for text in question.certificates],
    }


def _decision(answer: dict[str, Any]) -> Decision:
    """Only a plain `true` is a yes."""
    if answer.get("Err"):
        raise GoraeError(str(answer["Err"]))
    return Decision(answer.get("Allow") is True, str(answer.get("Msg") or ""))
