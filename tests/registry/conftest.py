"""Registries to talk to: one on a directory, one on a bucket, or made by the test itself."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.registry.house import Client

from gorae.registry.http.app import Registry
from gorae.registry.serve import make_guard, make_upstreams, tls_context
from gorae.registry.settings import Settings
from gorae.registry.store.bucket import Bucket
from gorae.registry.store.directory import Directory
from gorae.registry.store.seam import Store

Serve = Callable[..., Awaitable[Client]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """`await serve(store=…, setting=…)`: another registry each time, all gone after the test."""
    async with AsyncExitStack() as stack:

        async def start(store: Store | None = None, **settings: Any) -> Client:
            told = Settings(**settings)
            place = store if store is not None else Directory(tmp_path / "storage")
            registry = Registry(place, told, make_guard(told), make_upstreams(told))
            stack.push_async_callback(registry.aclose, 0.2)
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            tls = tls_context(told)
            await registry.listen(listener, tls)
            session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(ssl=False))
            stack.push_async_callback(session.close)
            return Client(f"{'http' if tls is None else 'https'}://127.0.0.1:{port}", session, registry)

        yield start


@pytest.fixture(params=["directory", "bucket"])
async def client(request: pytest.FixtureRequest, serve: Serve) -> Client:
    """A registry that asks nobody anything."""
    return await serve(store=memory_bucket() if request.param == "bucket" else None)


def memory_bucket() -> Bucket:
    from obstore.store import MemoryStore

    return Bucket(MemoryStore())


@pytest.fixture(scope="package")
def s3() -> Iterator[dict[str, str]]:
    """An S3 server on loopback; answers the environment that leads to its bucket `images`."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/images", method="PUT"), timeout=10).close()
    yield {
        "AWS_ENDPOINT": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture
def s3_environment(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for key, value in s3.items():
        monkeypatch.setitem(os.environ, key, value)
    return s3


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(certificate, key) for 127.0.0.1, signed by itself."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")
