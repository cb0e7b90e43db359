"""Pushing into our own registry, and pulling back: the same digests; what is there is not sent again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.engine.remote.conftest import Library, OpenLibrary
from tests.engine.remote.faulty import Faulty, cut_upload, sha256, status, tar_of
from tests.registry.house import Process

from gorae.engine.image.model import Progress, Pushed
from gorae.engine.remote.failure import Refused
from gorae.engine.remote.rules import Credentials
from gorae.errors import Forbidden, InvalidArgument, NotFound, Unavailable, Unsupported
from gorae.registry.auth import keys, passwords

pytestmark = pytest.mark.kernel


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    with Process(str(tmp_path / "storage"), tmp_path) as process:
        yield process


async def stream(data: bytes):  # type: ignore[no-untyped-def]
    yield data


async def pushed(library: Library, name: str, **given: object) -> tuple[list[str], Pushed]:
    steps = [step async for step in library.images.push(name, **given)]  # type: ignore[arg-type]
    assert isinstance(steps[-1], Pushed)
    return [step.status for step in steps if isinstance(step, Progress)], steps[-1]


async def test_there_and_back(library: Library, libraries: OpenLibrary, server: Process) -> None:
    image = await library.images.import_(stream(tar_of(one=b"1" * 300_000)), repository="app", changes=["CMD x"])
    name = f"{server.host}/team/app"
    await library.images.tag("app", name, "v1")
    told, done = await pushed(library, f"{name}:v1")
    assert told[0] == f"The push refers to repository [{name}]"
    assert "Pushed" in told
    assert told[-1] == f"v1: digest: {done.digest} size: {done.size}"
    assert f"{name}@{done.digest}" in library.images.get("app").repo_digests
    told, again = await pushed(library, f"{name}:v1")
    assert "Layer already exists" in told
    assert again == done
    elsewhere = await libraries()
    await elsewhere.pull(f"{name}:v1")
    assert elsewhere.images.get(f"{name}:v1").id == image.id
    assert elsewhere.images.get(f"{name}:v1").repo_digests == (f"{name}@{done.digest}",)
    assert await elsewhere.content(f"{name}:v1") == {"one": b"1" * 300_000}
    # Another name on the same registry: its layers are mounted. The manifest is the one that it came by.
    await elsewhere.images.tag(f"{name}:v1", f"{server.host}/other/app", "v2")
    told, other = await pushed(elsewhere, f"{server.host}/other/app:v2")
    assert other.digest == done.digest
    assert "Mounted from team/app" in told
    assert [event.action for event in elsewhere.events] == ["pull", "tag", "push"]
    assert library.left()["leases"] == library.left()["ingest"] == 0


async def test_what_was_pulled_is_pushed_unchanged(library: Library, registry: Faulty, server: Process) -> None:
    registry.image("v1", compression="zstd", annotations={"made.by": "somebody"})
    await library.pull(f"{registry.host}/app:v1")
    await library.images.tag(f"{registry.host}/app:v1", f"{server.host}/app", "v1")
    _, done = await pushed(library, f"{server.host}/app:v1")
    assert done.digest == sha256(registry.manifests["v1"][0])


async def test_all_tags_and_what_cannot_be_pushed(library: Library, server: Process) -> None:
    await library.images.import_(stream(tar_of(one=b"1")), repository="app")
    with pytest.raises(InvalidArgument, match="names no registry to push to"):
        await pushed(library, "app:latest")
    with pytest.raises(NotFound, match="An image does not exist locally with the tag"):
        await pushed(library, f"{server.host}/app:v1")
    with pytest.raises(InvalidArgument, match="cannot push a digest reference"):
        await pushed(library, f"{server.host}/app@sha256:{'0' * 64}")
    for tag in ("v1", "v2"):
        await library.images.tag("app", f"{server.host}/app", tag)
    steps = [step async for step in library.images.push(f"{server.host}/app")]
    assert {step.tag for step in steps if isinstance(step, Pushed)} == {"v1", "v2"}
    await library.images.tag("host", f"{server.host}/host", "v1")
    with pytest.raises(Unsupported, match="built-in"):
        await pushed(library, f"{server.host}/host:v1")


async def right(registry: Faulty, request: web.Request) -> web.Response:
    return await registry.take(request)


async def test_an_upload_that_is_cut_goes_on(library: Library, registry: Faulty) -> None:
    name = f"{registry.host}/app:v1"
    image = await library.images.import_(stream(tar_of(one=os.urandom(2_000_000))), repository=f"{registry.host}/app", tag="v1")
    registry.fault["upload"] = [status(503), right, cut_upload, right, cut_upload, status(500), right]
    _, done = await pushed(library, name)
    assert sha256(registry.manifests["v1"][0]) == done.digest
    assert len(registry.blobs) == 2
    assert image.id in registry.blobs
    registry.blobs.clear()
    registry.always["upload"] = status(500)
    with pytest.raises(Unavailable):
        await pushed(library, name)
    registry.always["upload"] = status(403)
    with pytest.raises(Forbidden, match="denied"):
        await pushed(library, name)
    assert library.left()["leases"] == 0


@pytest.mark.parametrize("kind", ["basic", "token"])
async def test_credentials(library: Library, tmp_path: Path, kind: str) -> None:
    (tmp_path / "htpasswd").write_text(passwords.make("me", "word", 4))
    words = ["--htpasswd", str(tmp_path / "htpasswd")]
    if kind == "token":
        keys.make(str(tmp_path / "key"))
        words += ["--token-key", str(tmp_path / "key")]
    with Process(str(tmp_path / "storage"), tmp_path, *words) as server:
        name = f"{server.host}/team/app:v1"
        await library.images.import_(stream(tar_of(one=b"1")), repository=f"{server.host}/team/app", tag="v1")
        mine = Credentials("me", "word", server=server.host)
        await library.images.log_in(mine)
        with pytest.raises(Refused) as refused:
            await library.images.log_in(Credentials("me", "wrong", server=server.host))
        assert refused.value.status == 401
        with pytest.raises(Forbidden, match="requested access to the resource is denied"):
            await pushed(library, name)
        await pushed(library, name, credentials=mine)
        with pytest.raises(NotFound, match="pull access denied"):
            await library.pull(name)
        await library.pull(name, credentials=mine)
        # Credentials of another registry are not shown to this one.
        with pytest.raises(NotFound, match="pull access denied"):
            await library.pull(name, credentials=Credentials("me", "word", server="registry.example"))


async def test_a_folder_of_authorities(libraries: OpenLibrary, tmp_path: Path, certificate: tuple[str, str]) -> None:
    words = ("--tls-cert", certificate[0], "--tls-key", certificate[1])
    with Process(str(tmp_path / "storage"), tmp_path, *words) as server:
        folder = tmp_path / "certs.d" / server.host
        folder.mkdir(parents=True)
        shutil.copy(certificate[0], folder / "ca.crt")
        library = await libraries(certificates=(str(tmp_path / "certs.d"),))
        await library.images.import_(stream(tar_of(one=b"1")), repository=f"{server.host}/app", tag="v1")
        await pushed(library, f"{server.host}/app:v1")
        (folder / "ca.crt").write_text("nonsense")
        with pytest.raises(InvalidArgument, match=r"ca\.crt"):
            await library.pull(f"{server.host}/app:v1")
