"""The authorization hook: it sees what the endpoint parses, nothing gets past it, and whatever goes wrong is a no."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from tests.api import fake_engine
from tests.api.authority import Authority
from tests.api.conftest import Client, serving
from tests.api.fake_engine import FakeEngine

from gorae.api.app import Api
from gorae.api.authorization import discovery
from gorae.api.authorization.discovery import Places, open_chain
from gorae.api.limits import Limits
from gorae.daemon import certificates
from gorae.engine.config import Config
from gorae.errors import GoraeError, InvalidArgument, NotFound
from gorae.wire import codec

Reply = Callable[[str, dict[str, Any]], Any]


def allow(path: str, document: dict[str, Any]) -> Any:
    return {"Allow": True}


class Plugin:
    """Somebody's program at a unix socket. `reply` is what it says; `asked` what it was asked."""

    def __init__(self, folder: Path, name: str = "guard") -> None:
        self.socket = folder / f"{name}.sock"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reply: Reply = allow
        self.implements: Any = ["authz"]

    async def start(self) -> None:
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/{path}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = "/" + request.match_info["path"]
        if path == "/Plugin.Activate":
            return web.json_response({"Implements": self.implements})
        document = await request.json()
        self.asked.append((path, document))
        answer = self.reply(path, document)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    def questions(self, path: str = "/AuthZPlugin.AuthZReq") -> list[dict[str, Any]]:
        return [document for where, document in self.asked if where == path]

    def bodies(self) -> list[bytes]:
        return [base64.b64decode(document["RequestBody"]) for document in self.questions()]


@pytest.fixture
async def plugin(tmp_path: Path) -> AsyncIterator[Plugin]:
    made = Plugin(tmp_path)
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def guarded(tmp_path: Path, *names: str, patience: float = 10.0, **options: Any) -> AsyncIterator[Client]:
    chain = await open_chain(names or ("guard",), places(tmp_path), patience)
    try:
        async with serving(tmp_path / "s", authorization=chain, **options) as client:
            yield client
    finally:
        await chain.aclose()


def places(folder: Path) -> Places:
    return Places(sockets=folder, descriptions=(folder / "etc",))


@pytest.fixture
async def api(tmp_path: Path, plugin: Plugin) -> AsyncIterator[Client]:
    async with guarded(tmp_path) as client:
        yield client


async def test_what_it_is_asked(api: Client, plugin: Plugin) -> None:
    answer = await api.call(
        "POST", "/v1.40/containers/create?name=a%62", {"Image": "image"}, X_Registry_Auth="secret", Authorization="x", X_Other="y"
    )
    assert answer.status == 201
    (asked, told) = plugin.questions() + plugin.questions("/AuthZPlugin.AuthZRes")
    assert asked["RequestMethod"] == "POST"
    assert asked["RequestUri"] == "/v1.40/containers/create?name=a%62"
    assert base64.b64decode(asked["RequestBody"]) == b'{"Image": "image"}'
    assert asked["RequestHeaders"]["X-Other"] == "y"
    assert "secret" not in json.dumps(asked)
    assert "Authorization" not in asked["RequestHeaders"]
    assert asked["User"] == ""
    assert told["ResponseStatusCode"] == 201
    assert json.loads(base64.b64decode(told["ResponseBody"])) == answer.json
    assert told["RequestUri"] == asked["RequestUri"]


async def test_a_no_to_the_request(api: Client, plugin: Plugin) -> None:
    plugin.reply = lambda path, document: {"Allow": False, "Msg": "not today"}
    answer = await api.call("POST", "/containers/create", {"Image": "image"})
    assert (answer.status, answer.message) == (403, "authorization denied by plugin guard: not today")
    assert not api.engine.containers.rows
    assert [path for path, _ in plugin.asked] == ["/AuthZPlugin.AuthZReq"]


async def test_a_no_to_the_answer(api: Client, plugin: Plugin) -> None:
    """Nothing of the answer is sent, of those that grow neither."""
    plugin.reply = lambda path, document: {"Allow": path != "/AuthZPlugin.AuthZRes", "Msg": "secret"}
    for path in ("/containers/json", "/events?until=1", "/_ping", "/images/get?names=tests/busybox"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.message) == (403, "authorization denied by plugin guard: secret"), path


async def hang(_path: str, _document: dict[str, Any]) -> Any:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("stage", ["/AuthZPlugin.AuthZReq", "/AuthZPlugin.AuthZRes"])
@pytest.mark.parametrize(
    "answer",
    [
        {}, [], None, "yes", {"Allow": "true"}, {"Allow": 1}, {"Allow": None}, {"allow": True}, {"Allow": True, "Err": "broken"},
        web.Response(text="{"), web.Response(text=""), web.Response(text='{"Allow":false,"Allow":true}'),
        web.Response(status=500, text='{"Err": "broken"}'), web.Response(status=404, text='{"Allow":true}'),
        web.Response(status=302, headers={"Location": "/elsewhere"}), web.Response(text='{"Allow":true}' + " " * (2 << 20)),
    ],
    ids=repr,
)  # fmt: skip
async def test_only_a_plain_true_is_a_yes(tmp_path: Path, plugin: Plugin, answer: Any, stage: str) -> None:
    def reply(path: str, document: dict[str, Any]) -> Any:
        if path != stage:
            return {"Allow": True}
        if not isinstance(answer, web.Response):
            return answer
        headers = {name: value for name, value in answer.headers.items() if name == "Location"}
        return web.Response(status=answer.status, text=answer.text, headers=headers)

    plugin.reply = reply
    async with guarded(tmp_path) as api:
        refused = await api.call("POST", "/containers/create", {"Image": "image"})
        assert refused.status in (403, 500)
        assert "plugin guard" in refused.message
        assert bool(api.engine.containers.rows) is (stage == "/AuthZPlugin.AuthZRes")


async def test_a_plugin_that_does_not_answer(tmp_path: Path, plugin: Plugin) -> None:
    plugin.reply = hang
    async with guarded(tmp_path, patience=0.2) as api:
        answer = await api.call("GET", "/containers/json")
        assert (answer.status, answer.message) == (500, "plugin guard failed with error: no answer within 0.2 s")


async def test_a_plugin_that_has_gone_and_comes_back(api: Client, plugin: Plugin) -> None:
    assert (await api.call("GET", "/_ping")).status == 200
    await plugin.stop()
    answer = await api.call("POST", "/containers/create", {"Image": "image"})
    assert answer.status == 500
    assert answer.message.startswith("plugin guard failed with error: ")
    assert not api.engine.containers.rows
    await plugin.start()
    assert (await api.call("GET", "/_ping")).status == 200


async def test_all_of_several_are_asked_until_one_refuses(tmp_path: Path, plugin: Plugin) -> None:
    second = Plugin(tmp_path, "second")
    await second.start()
    try:
        async with guarded(tmp_path, "guard", "second") as api:
            second.reply = lambda path, document: {"Allow": False, "Msg": "no"}
            assert (await api.call("GET", "/_ping")).message == "authorization denied by plugin second: no"
            assert (len(plugin.asked), len(second.asked)) == (1, 1)
            plugin.reply = second.reply
            assert (await api.call("GET", "/_ping")).message == "authorization denied by plugin guard: no"
            assert (len(plugin.asked), len(second.asked)) == (2, 1)
    finally:
        await second.stop()


async def test_streams_are_authorized_by_their_request(api: Client, plugin: Plugin) -> None:
    api.engine.containers.script = fake_engine.cat
    await api.create("one", OpenStdin=True, Tty=True)
    made = await api.call("POST", "/containers/one/exec", {"Cmd": ["cat"], "AttachStdin": True, "Tty": True})
    targets = ("/containers/one/attach?stream=1&stdin=1&stdout=1", f"/exec/{made.json['Id']}/start")
    plugin.reply = lambda path, document: {"Allow": not {"attach", "exec"} & set(document["RequestUri"].split("?")[0].split("/"))}
    for target in targets:
        answer, _, writer = await api.hijack(target, {} if "exec" in target else None)
        assert answer.status == 403, target
        writer.close()
    assert not {"attach", "exec_start"} & {name for name, _ in api.engine.containers.calls}
    plugin.reply = allow
    for target in targets:
        answer, reader, writer = await api.hijack(target, {} if "exec" in target else None)
        assert answer.status == 101, target
        if "attach" in target:
            await api.call("POST", "/containers/one/start")
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        writer.close()


# What it sees and what the endpoint parses.


def framed(data: bytes, chosen: random.Random) -> tuple[dict[str, str], bytes]:
    """One of the ways in which the same body travels."""
    if chosen.random() < 0.5:
        return {"Content-Length": str(len(data))}, data
    parts = b""
    while data:
        size = chosen.randint(1, max(1, len(data)))
        parts += b"%x\r\n%b\r\n" % (size, data[:size])
        data = data[size:]
    return {"Transfer-Encoding": "chunked"}, parts + b"0\r\n\r\n"


BODIES = [
    b"", b"{}", b'{"Image":"image"}', b'{"Image":"image","Image":"other"}', b'{"image":"image","Image":"other"}', b"null", b"[]",
    b"\xff", b'{"Image":"image"}' + b" " * 70_000, b'{"Detach":true}', b'{"Cmd":["a"]}', b" ", b'{"Image":"im\\u0061ge"}',
    b'{"Image":"image"} {}',
]  # fmt: skip
TARGETS = ["/containers/create", "/containers/one/exec", "/containers/one/start", "/exec/none/start", "/containers/create?name=x"]
LIMIT = 65_536


@pytest.mark.parametrize("seed", range(8))
async def test_it_sees_what_the_endpoint_parses(
    tmp_path: Path, plugin: Plugin, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2024-41110, CVE-2026-34040: bytes on one side and nothing on the other. Both sides are recorded and compared."""
    parsed: list[bytes] = []
    decode = codec.decode

    def spy(shape: type[Any], data: bytes, **more: Any) -> Any:
        parsed.append(data)
        return decode(shape, data, **more)

    monkeypatch.setattr(codec, "decode", spy)
    chosen = random.Random(seed)
    async with guarded(tmp_path, limits=Limits(body=LIMIT)) as api:
        await api.create()
        parsed.clear()
        plugin.asked.clear()
        for _ in range(30):
            body, target = chosen.choice(BODIES), chosen.choice(TARGETS)
            headers, data = framed(body, chosen)
            if chosen.random() < 0.8:
                headers["Content-Type"] = chosen.choice(["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
            reader, writer = await api.open()
            writer.write(api.head("POST", target, {**headers, "Connection": "close"}))
            for start in range(0, len(data), 40_000):
                writer.write(data[start : start + 40_000])
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            writer.close()
            where = (target, headers, body[:60])
            if len(body) > LIMIT:
                assert b" 413 " in head, where
                assert not plugin.asked, where
                assert not parsed, where
                continue
            assert plugin.bodies() == [body], where
            assert parsed in ([], [body]), where
            parsed.clear()
            plugin.asked.clear()


async def test_an_upload_is_not_shown_and_not_parsed(api: Client, plugin: Plugin) -> None:
    await api.call("POST", "/images/load", b'{"Image":"image"}', Content_Type="application/json")
    assert plugin.bodies() == [b""]


@pytest.mark.parametrize("target", ["/containers/%63reate", "/containers%2fcreate", "//containers/create", "/containers/./create"])
async def test_a_path_in_disguise_is_another_path(api: Client, plugin: Plugin, target: str) -> None:
    answer = await api.call("POST", target, {"Image": "image"})
    assert answer.status in (403, 404)
    assert not api.engine.containers.rows


# Finding them.


@pytest.mark.parametrize("kind", ["sock", "folder", "spec", "json"])
async def test_places(tmp_path: Path, plugin: Plugin, kind: str) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    if kind == "folder":
        (tmp_path / "guard").mkdir()
        plugin.socket.rename(tmp_path / "guard" / "guard.sock")
    elif kind != "sock":
        address = f"unix://{plugin.socket.rename(tmp_path / 'elsewhere')}"
        (folder / f"guard.{kind}").write_text(f"{address}\n" if kind == "spec" else json.dumps({"Name": "guard", "Addr": address}))
    async with guarded(tmp_path) as api:
        assert (await api.call("GET", "/_ping")).status == 200
        assert plugin.asked


def test_addresses(tmp_path: Path) -> None:
    for name, text, url, tls in (
        ("a.spec", "tcp://127.0.0.1:8080\n", "http://127.0.0.1:8080", None),
        ("b.spec", "https://h:1", "https://h:1", None),
        ("c.json", '{"Addr":"tcp://h:1","TLSConfig":{"CAFile":"/x"}}', "https://h:1", {"CAFile": "/x"}),
    ):
        (tmp_path / name).write_text(text)
        found = discovery.find(name[0], Places(sockets=tmp_path, descriptions=(tmp_path,)))
        assert found is not None
        assert (found.url, found.tls) == (url, tls)


@pytest.mark.parametrize(
    ("name", "file", "text", "kind"),
    [
        ("nobody", "", "", NotFound),
        ("../guard", "", "", InvalidArgument),
        ("", "", "", InvalidArgument),
        ("a", "a.spec", "ftp://x", InvalidArgument),
        ("a", "a.spec", "unix://relative", InvalidArgument),
        ("a", "a.json", "{", InvalidArgument),
        ("a", "a.json", "[]", InvalidArgument),
        ("a", "a.json", '{"Addr":5}', InvalidArgument),
        ("a", "a.json", '{"Addr":"unix:///x","TLSConfig":5}', InvalidArgument),
        ("a", "a.spec", "unix:///nowhere/at/all", InvalidArgument),
    ],
)
async def test_what_cannot_be_found_or_activated(tmp_path: Path, name: str, file: str, text: str, kind: type[GoraeError]) -> None:
    (tmp_path / "etc").mkdir()
    if file:
        (tmp_path / "etc" / file).write_text(text)
    with pytest.raises(kind):
        await open_chain([name], places(tmp_path), 1.0)


@pytest.mark.parametrize("implements", [[], ["VolumeDriver"], None, "authz"])
async def test_a_plugin_of_another_kind(tmp_path: Path, plugin: Plugin, implements: Any) -> None:
    plugin.implements = implements
    with pytest.raises(InvalidArgument, match="does not implement 'authz'"):
        await open_chain(["guard"], places(tmp_path), 5.0)


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An installed distribution with an entry point; `write` says what its module holds."""
    folder = tmp_path / "site"
    (folder / "policies-1.dist-info").mkdir(parents=True)
    (folder / "policies-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: policies\nVersion: 1\n")
    (folder / "policies-1.dist-info" / "entry_points.txt").write_text("[gorae.authorization]\nlocal = test_policies:Policy\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "test_policies", raising=False)

    def write(body: str) -> None:
        text = f"from gorae.api.authorization.model import Decision\nclass Policy:\n{body}"
        (folder / "test_policies.py").write_text(text)

    return SimpleNamespace(write=write)


async def test_a_plugin_in_python(tmp_path: Path, distribution: SimpleNamespace) -> None:
    distribution.write(
        "    async def request(self, question):\n"
        "        return Decision(question.method == 'GET', f'{question.uri} has {len(question.body)} bytes')\n"
        "    def response(self, question, outcome):\n"
        "        return Decision(outcome.status == 200)\n"
    )
    async with guarded(tmp_path, "local") as api:
        assert (await api.call("GET", "/_ping")).status == 200
        answer = await api.call("POST", "/containers/create", {"Image": "image"})
        assert (answer.status, answer.message) == (403, "authorization denied by plugin local: /containers/create has 18 bytes")
        assert not api.engine.containers.rows


@pytest.mark.parametrize(
    "body", ["raise ValueError('secret')", "return True", "return None", "return 'yes'", "import asyncio; await asyncio.sleep(60)"]
)
async def test_a_faulty_plugin_in_python(tmp_path: Path, distribution: SimpleNamespace, body: str) -> None:
    distribution.write(f"    async def request(self, question): {body}\n    async def response(self, question, outcome): ...\n")
    async with guarded(tmp_path, "local", patience=0.2) as api:
        answer = await api.call("POST", "/containers/create", {"Image": "image"})
        assert answer.status == 500
        assert answer.message.startswith("plugin local failed with error: ")
        assert "secret" not in answer.message
        assert not api.engine.containers.rows


@pytest.mark.parametrize(
    "body", ["    def __init__(self): raise ValueError\n", "    async def request(self, question): ...\n", "    nonsense\n"]
)
async def test_a_plugin_in_python_that_is_none(tmp_path: Path, distribution: SimpleNamespace, body: str) -> None:
    distribution.write(body)
    with pytest.raises(InvalidArgument, match="authorization plugin 'local'"):
        await open_chain(["local"], places(tmp_path))


async def test_two_of_one_name(tmp_path: Path, distribution: SimpleNamespace) -> None:
    distribution.write("    async def request(self, question): ...\n    async def response(self, question, outcome): ...\n")
    plugin = Plugin(tmp_path, "local")
    await plugin.start()
    try:
        with pytest.raises(InvalidArgument, match="both an entry point and at"):
            await open_chain(["local"], places(tmp_path))
    finally:
        await plugin.stop()


async def test_who_asks_over_tls(tmp_path: Path, plugin: Plugin) -> None:
    authority = Authority(tmp_path / "authority")
    server, client = authority.issue("server", server=True), authority.issue("alice")
    config = Config(
        tls_verify=True, tls_ca_certificate=f"{server}/ca.pem", tls_certificate=f"{server}/cert.pem", tls_key=f"{server}/key.pem"
    )
    chain = await open_chain(["guard"], places(tmp_path))
    api = Api(FakeEngine(), authorization=chain)  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0))
    await api.serve(listener, certificates.context(config))
    context = ssl.create_default_context(cafile=f"{client}/ca.pem")
    context.load_cert_chain(client / "cert.pem", client / "key.pem")
    reader, writer = await asyncio.open_connection(*listener.getsockname(), ssl=context, server_hostname="localhost")
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
    writer.close()
    (asked,) = plugin.questions()
    assert (asked["User"], asked["UserAuthNMethod"]) == ("alice", "TLS")
    (certificate,) = asked["RequestPeerCertificates"]
    pem = base64.b64decode(certificate).decode()
    assert ssl.PEM_cert_to_DER_cert(pem) == ssl.PEM_cert_to_DER_cert((client / "cert.pem").read_text())
    await api.aclose(1.0)
    await chain.aclose()
