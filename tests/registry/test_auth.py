"""Who may do what: the matrix of users, rights and repositories; passwords, tokens, and what is not believed."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.registry.conftest import Serve
from tests.registry.house import Client, digest_of, image_of

from gorae.errors import Conflict, InvalidArgument
from gorae.registry.auth import keys, passwords
from gorae.registry.auth.policy import Policy, matches, read_policy
from gorae.registry.settings import Settings

LAYER = b"layer"
POLICY = """
[[rule]]
users = ["anonymous"]
repositories = ["public/**"]
rights = ["read"]

[[rule]]
users = ["writer"]
repositories = ["team/*"]
rights = ["read", "write"]

[[rule]]
users = ["boss"]
rights = ["read", "write", "delete", "catalog"]
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    htpasswd, policy, key = tmp_path / "htpasswd", tmp_path / "policy.toml", tmp_path / "key.pem"
    htpasswd.write_text("".join(passwords.make(user, f"{user}-word", 4) + "\n" for user in ("writer", "boss", "nobody")))
    policy.write_text(POLICY)
    keys.make(str(key))
    return {"htpasswd": str(htpasswd), "policy": str(policy), "key": str(key)}


@pytest.fixture(params=["basic", "token"])
async def guarded(request: pytest.FixtureRequest, serve: Serve, files: dict[str, str]) -> Client:
    token = {"token_key": files["key"]} if request.param == "token" else {}
    return await serve(htpasswd=files["htpasswd"], policy=files["policy"], **token)


def basic(user: str, word: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{word or user + '-word'}".encode()).decode()


async def as_user(client: Client, user: str, *scopes: str) -> Client:
    """As a client logs in: with the password or, where that is asked for, with a token for scopes."""
    headers = {"Authorization": basic(user)} if user else {}
    challenge = (await client.get("/v2/")).headers["WWW-Authenticate"]
    if challenge.startswith("Basic"):
        return Client(client.base, client.session, client.registry, headers)
    query = "&".join(f"scope={quote(scope)}" for scope in scopes)
    answer = await client.ask("GET", f"/token?service=gorae-registry&{query}", headers=headers)
    assert answer.status == 200
    assert answer.json["expires_in"] >= 60
    return Client(client.base, client.session, client.registry, {"Authorization": f"Bearer {answer.json['token']}"})


ALLOWED = {
    "": {"public/x": {"pull"}},
    "nobody": {"public/x": {"pull"}},
    "writer": {"public/x": {"pull"}, "team/x": {"pull", "push"}},
    "boss": {name: {"pull", "push", "delete"} for name in ("public/x", "team/x", "team/x/y", "other")},
}


@pytest.mark.parametrize("user", list(ALLOWED))
@pytest.mark.parametrize("name", ["public/x", "team/x", "team/x/y", "other"])
async def test_matrix(guarded: Client, user: str, name: str) -> None:
    boss = await as_user(guarded, "boss", f"repository:{name}:pull,push")
    digest = await boss.push_image(name, "v1", LAYER)
    client = await as_user(guarded, user, f"repository:{name}:pull,push,delete")
    requests = {
        "pull": [("GET", f"/v2/{name}/manifests/v1"), ("HEAD", f"/v2/{name}/blobs/{digest_of(LAYER)}"),
                 ("GET", f"/v2/{name}/blobs/{digest_of(LAYER)}"), ("GET", f"/v2/{name}/tags/list"),
                 ("GET", f"/v2/{name}/referrers/{digest}")],
        "push": [("POST", f"/v2/{name}/blobs/uploads/"), ("PUT", f"/v2/{name}/manifests/v2")],
        "delete": [("DELETE", f"/v2/{name}/blobs/{digest_of(b'none')}"), ("DELETE", f"/v2/{name}/manifests/v1")],
    }  # fmt: skip
    for right, asked in requests.items():
        for method, path in asked:
            answer = await client.ask(method, path, json.dumps(image_of(LAYER)).encode() if method == "PUT" else None)
            if right in ALLOWED[user].get(name, set()):
                assert answer.status in (200, 201, 202, 404), (user, method, path, answer)
            else:
                assert answer.status in (401, 403), (user, method, path, answer)
                if method != "HEAD":
                    assert answer.code == ("UNAUTHORIZED" if answer.status == 401 else "DENIED")
                if answer.status == 401:
                    assert answer.headers["WWW-Authenticate"].startswith(("Basic ", "Bearer "))


async def test_a_stranger_is_told_how_to_log_in(guarded: Client) -> None:
    answer = await guarded.get("/v2/")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    answer = await guarded.ask("POST", "/v2/team/x/blobs/uploads/")
    challenge = answer.headers["WWW-Authenticate"]
    if challenge.startswith("Bearer"):
        assert challenge == f'Bearer realm="{guarded.base}/token",service="gorae-registry",scope="repository:team/x:pull,push"'
    else:
        assert challenge == 'Basic realm="gorae-registry", charset="UTF-8"'


@pytest.mark.parametrize("authorization", [basic("writer", "wrong"), basic("who", "x"), "Basic !!!", "Basic", "No x", "Bearer x",
                                           basic("writer", "x" * 5000), basic("", "x"), "Basic " + "A" * 9000])  # fmt: skip
async def test_wrong_credentials(guarded: Client, authorization: str) -> None:
    for path in ("/v2/", "/v2/public/x/tags/list"):
        answer = await guarded.get(path, Authorization=authorization)
        assert answer.status == 401
    answer = await guarded.get("/token?scope=repository:team/x:pull", Authorization=authorization)
    assert answer.status in (401, 404)


async def test_mount_needs_the_right_to_read_the_source(guarded: Client) -> None:
    for name in ("other", "team/x"):
        boss = await as_user(guarded, "boss", f"repository:{name}:pull,push")
        digest = await boss.push_blob(name, name.encode())
        writer = await as_user(guarded, "writer", "repository:team/y:pull,push", f"repository:{name}:pull")
        named = await writer.ask("POST", f"/v2/team/y/blobs/uploads/?mount={digest}&from={name}")
        assert named.status == (202 if name == "other" else 201)
    anywhere = await writer.ask("POST", f"/v2/team/y/blobs/uploads/?mount={digest_of(b'other')}")
    assert anywhere.status == 202


async def test_catalog(guarded: Client) -> None:
    for name in ("public/x", "other"):
        await (await as_user(guarded, "boss", f"repository:{name}:pull,push")).push_image(name, "v1", LAYER)
    boss = await as_user(guarded, "boss", "registry:catalog:*")
    assert (await boss.get("/v2/_catalog")).json == {"repositories": ["other", "public/x"]}
    for user in ("", "writer"):
        assert (await (await as_user(guarded, user, "registry:catalog:*")).get("/v2/_catalog")).status in (401, 403)


async def test_page_and_metrics(guarded: Client) -> None:
    for name in ("public/x", "other"):
        await (await as_user(guarded, "boss", f"repository:{name}:pull,push")).push_image(name, "v1", LAYER)
    assert (await guarded.get("/metrics")).status == 401
    assert (await guarded.get("/metrics", Authorization=basic("nobody"))).status == 200
    seen = (await guarded.get("/", Authorization=basic("nobody"))).body
    assert (b"public/x" in seen, b"other" in seen) == (True, False)
    assert (await guarded.get("/repository/other", Authorization=basic("nobody"))).status == 404
    assert (await guarded.get("/repository/other")).headers["WWW-Authenticate"].startswith("Basic ")
    assert (await guarded.get("/repository/other", Authorization=basic("boss"))).status == 200


# Passwords


def test_only_bcrypt() -> None:
    for line in (b"u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", b"u:$apr1$x$y", b"u:plain", b"u", b":$2y$05$" + b"a" * 53):
        with pytest.raises(InvalidArgument):
            passwords.parse(line)
    assert passwords.parse(b"# who\n\nu:$2y$05$" + b"a" * 53 + b"\n") == {"u": b"$2y$05$" + b"a" * 53}
    for user, word in (("a:b", "x"), ("", "x"), ("a", ""), ("a", "x" * 73), ("a b", "x")):
        with pytest.raises(InvalidArgument):
            passwords.make(user, word, 4)


async def test_the_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_text(passwords.make("a", "one", 4))
    checked = passwords.Passwords(str(path))
    assert await checked.check("a", "one")
    assert await checked.check("a", "one")
    replacement = tmp_path / "new"
    replacement.write_text(passwords.make("a", "two", 4))
    replacement.rename(path)
    assert not await checked.check("a", "one")
    assert await checked.check("a", "two")


async def test_a_stranger_costs_a_check_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "htpasswd"
    path.write_text(passwords.make("a", "one", 4))
    checked = passwords.Passwords(str(path))
    asked: list[bytes] = []
    real = bcrypt.checkpw
    monkeypatch.setattr(passwords.bcrypt, "checkpw", lambda word, hashed: asked.append(hashed) or real(word, hashed))
    assert not await checked.check("nobody", "x")
    assert not await checked.check("a", "x")
    assert not await checked.check("a", "x" * 100)
    assert len(asked) == 3


# Tokens


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    access = [{"type": "repository", "name": "team/x", "actions": ["pull", "push"]}]
    told = {
        "iss": "gorae-registry",
        "aud": "gorae-registry",
        "sub": "x",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "access": access,
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


def signed(path: str, told: dict[str, Any], **options: Any) -> str:
    signing = keys.read_signing(path)
    return jwt.encode(told, signing.key, algorithm="EdDSA", **options)


@pytest.fixture
async def bearer(serve: Serve, files: dict[str, str]) -> Client:
    return await serve(htpasswd=files["htpasswd"], policy=files["policy"], token_key=files["key"])


async def test_a_token_of_the_right_kind(bearer: Client, files: dict[str, str]) -> None:
    answer = await bearer.ask(
        "POST", "/v2/team/x/blobs/uploads/", headers={"Authorization": f"Bearer {signed(files['key'], claims())}"}
    )
    assert answer.status == 202


@pytest.mark.parametrize(
    "changes",
    [{"iss": "other"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"exp": None}, {"exp": 1}, {"exp": int(time.time()) - 60},
     {"nbf": None}, {"nbf": int(time.time()) + 3600}, {"iat": None}, {"sub": None}, {"access": None}, {"access": "everything"},
     {"access": [{"type": "repository", "name": "team/*", "actions": ["*"]}]}, {"access": [{"type": "repository", "name": "team"}]},
     {"access": [{"type": "repository", "name": "team/x", "actions": ["pull"]}]}, {"access": [7]}],
)  # fmt: skip
async def test_tokens_that_say_something_else(bearer: Client, files: dict[str, str], changes: dict[str, Any]) -> None:
    token = signed(files["key"], claims(**changes))
    answer = await bearer.ask("POST", "/v2/team/x/blobs/uploads/", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert "error=" in answer.headers["WWW-Authenticate"]


async def test_tokens_that_are_not_signed_by_us(bearer: Client, files: dict[str, str]) -> None:
    stranger = ed25519.Ed25519PrivateKey.generate()
    curve = ec.generate_private_key(ec.SECP256R1())
    own = keys.read_signing(files["key"]).public
    pem = own.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = stranger.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    brought = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode()}}

    def hs256() -> str:
        """The public key taken for a shared secret."""
        import hashlib
        import hmac

        def part(value: Any) -> bytes:
            return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=")

        told = part({"alg": "HS256", "typ": "JWT", "kid": own.identifier}) + b"." + part(claims())
        return (told + b"." + part(hmac.digest(pem, told, hashlib.sha256))).decode()

    forged = [
        jwt.encode(claims(), stranger, algorithm="EdDSA"),
        jwt.encode(claims(), stranger, algorithm="EdDSA", headers={"kid": own.identifier}),
        jwt.encode(claims(), stranger, algorithm="EdDSA", headers=brought),
        jwt.encode(claims(), curve, algorithm="ES256", headers={"kid": own.identifier}),
        jwt.encode(claims(), None, algorithm="none"),
        hs256(),
        signed(files["key"], claims())[:-4] + "AAAA",
        "x" * 20_000,
    ]
    for token in forged:
        try:
            answer = await bearer.ask("POST", "/v2/team/x/blobs/uploads/", headers={"Authorization": f"Bearer {token}"})
        except Exception as error:
            raise AssertionError(token[:40]) from error
        assert answer.status in (400, 401)


async def test_other_issuers_that_are_trusted(serve: Serve, tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "public.pem"
    path.write_bytes(curve.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    client = await serve(token_trusted=(str(path),), token_issuer="other", token_service="us")
    token = jwt.encode(claims(iss="other", aud=["us", "them"]), curve, algorithm="ES256")
    answer = await client.ask("POST", "/v2/team/x/blobs/uploads/", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 202
    assert (await client.get("/token")).status == 404


async def test_tokens_by_form(bearer: Client) -> None:
    form = {"grant_type": "password", "username": "writer", "password": "writer-word", "service": "gorae-registry",
            "scope": "repository:team/x:pull,push repository:other:pull"}  # fmt: skip
    answer = await bearer.ask("POST", "/token", form)
    assert answer.status == 200
    told = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert told["access"] == [{"type": "repository", "name": "team/x", "actions": ["pull", "push"]}]
    assert (await bearer.ask("POST", "/token", {**form, "password": "wrong"})).status == 401
    assert (await bearer.ask("POST", "/token", {**form, "grant_type": "refresh_token"})).status == 400
    assert (await bearer.get("/token?service=other")).status == 400


async def test_a_forged_host_names_no_realm(bearer: Client) -> None:
    answer = await bearer.get("/v2/", Host='evil"x')
    assert answer.status in (400, 401)
    assert "evil" not in answer.headers.get("WWW-Authenticate", "")


def test_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    public = keys.make(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict):
        keys.make(str(path))
    (tmp_path / "public.pem").write_text(public)
    assert keys.read_trusted(str(tmp_path / "public.pem")).identifier == keys.read_signing(str(path)).public.identifier
    weak = ec.generate_private_key(ec.SECP384R1())
    (tmp_path / "weak.pem").write_bytes(
        weak.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for name in ("weak.pem", "key.pem", "nothing"):
        with pytest.raises(InvalidArgument):
            keys.read_trusted(str(tmp_path / name))


# Policies


@pytest.mark.parametrize(
    ("pattern", "name", "fits"), [("a", "a", True), ("a", "ab", False), ("a/*", "a/b", True), ("a/*", "a/b/c", False), ("a/**",
    "a/b/c", True), ("**", "x/y", True),
     ("*", "x/y", False), ("a.b", "axb", False), ("*-app", "my-app", True), ("a/**/z", "a/b/c/z", True)],
)  # fmt: skip
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


def test_policy_files(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"rule": [{"users": ["*"], "rights": ["read"]}]}')
    policy = read_policy(str(path))
    assert policy.allows("anybody", "read", "x")
    assert not policy.allows("", "read", "x")
    assert not Policy().allows("anybody", "read", "x")
    for text in (
        "{",
        '{"rule": [{"users": ["*"], "rights": ["root"]}]}',
        '{"rules": []}',
        '{"rule": [{"users": "*", "rights": []}]}',
    ):
        path.write_text(text)
        with pytest.raises(InvalidArgument):
            read_policy(str(path))


# Listening


@pytest.mark.parametrize("address", ["0.0.0.0:5000", ":5000", "[::]:5000", "192.0.2.1:1", "name:1"])
def test_clear_text_for_others_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="--insecure"):
        Settings(addresses=(address,)).check()
    Settings(addresses=(address,), insecure=True).check()
    Settings(addresses=(address,), tls_certificate="a", tls_key="b").check()
    Settings(addresses=("127.0.0.1:0", "[::1]:5000", "localhost:1")).check()


@pytest.mark.parametrize(
    "settings", [{"tls_certificate": "x"}, {"tls_key": "x"}, {"tls_client_ca": "x"}, {"token_key": "x"}, {"policy": "x"},
    {"warnings": ('a"b',)},
     {"warnings": ("x" * 4096,)}, {"warnings": ("a\nb",)}, {"grace": -1.0}, {"addresses": ("5000",)}],
)  # fmt: skip
def test_settings_that_do_not_fit(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Settings(**settings).check()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls(serve: Serve, certificate: tuple[str, str]) -> None:
    client = await serve(tls_certificate=certificate[0], tls_key=certificate[1])
    data = b"x" * 3_000_000
    digest = await client.push_blob("a/b", data)
    assert (await client.get(f"/v2/a/b/blobs/{digest}")).body == data
    assert (await client.get(f"/v2/a/b/blobs/{digest}", Range="bytes=5-9")).status == 206
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    port = int(client.base.rpartition(":")[2])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=old)
