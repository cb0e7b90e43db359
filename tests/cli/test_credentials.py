"""Credentials in Docker's file and in helpers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gorae.cli import credentials
from gorae.cli.registries import split
from gorae.errors import InvalidArgument, Unavailable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_kept_found_forgotten(folder: Path) -> None:
    assert credentials.find("host:5000") == {}
    credentials.keep("host:5000", "me", "wo:rd")
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((folder / "config.json").read_text())["auths"]["host:5000"]["auth"] == base64.b64encode(b"me:wo:rd").decode()
    assert credentials.find("host:5000") == {"serveraddress": "host:5000", "username": "me", "password": "wo:rd"}
    assert credentials.find("host") == {}
    sent = credentials.header("host:5000/a/b:v1")["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(sent))["username"] == "me"
    assert credentials.header("a/b:v1") == {}
    assert credentials.forget("host:5000")
    assert not credentials.forget("host:5000")


def test_what_others_wrote_stays(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"psFormat": "x", "auths": {"https://old.example/v1/": {"identitytoken": "t"}}}))
    credentials.keep("host:5000", "me", "word", token="refresh")
    document = json.loads((folder / "config.json").read_text())
    assert document["psFormat"] == "x"
    assert credentials.find("old.example") == {"serveraddress": "old.example", "identitytoken": "t"}
    assert credentials.find("host:5000") == {"serveraddress": "host:5000", "identitytoken": "refresh"}


def test_a_helper(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, f'cat > {tmp_path}/$1; [ $1 = get ] && echo \'{{"Username": "<token>", "Secret": "s"}}\' || true')
    folder.mkdir()
    (folder / "config.json").write_text('{"credsStore": "test"}')
    assert credentials.find("host") == {"serveraddress": "host", "identitytoken": "s"}
    credentials.keep("host", "me", "word")
    assert json.loads((tmp_path / "store").read_text()) == {"ServerURL": "host", "Username": "me", "Secret": "word"}
    assert "word" not in (folder / "config.json").read_text()
    credentials.forget("host")
    assert (tmp_path / "erase").read_text() == "host"


def test_helpers_that_fail(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, 'echo "credentials not found in native keychain"; exit 1')
    folder.mkdir()
    (folder / "config.json").write_text('{"credHelpers": {"host": "test", "bad": "../x", "none": "absent"}}')
    assert credentials.find("host") == {}
    with pytest.raises(InvalidArgument, match="cannot be a credential helper"):
        credentials.find("bad")
    with pytest.raises(Unavailable, match="is not installed"):
        credentials.find("none")
    (folder / "config.json").write_text("[")
    with pytest.raises(InvalidArgument, match="config"):
        credentials.find("host")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ("a", "")), ("a:b", ("a", "b")), ("h:5000/a", ("h:5000/a", "")), ("h:5000/a:v", ("h:5000/a", "v")),
        ("h:5000/a@sha256:x", ("h:5000/a", "sha256:x")), ("h:5000/a:v@sha256:x", ("h:5000/a", "sha256:x")),
    ],
)  # fmt: skip
def test_split(name: str, expected: tuple[str, str]) -> None:
    assert split(name) == expected
