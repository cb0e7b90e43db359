"""Credentials for registries, where Docker keeps them: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.

    {"auths": {"host:5000": {"auth": base64("name:password"), "identitytoken": …}},
     "credsStore": "pass", "credHelpers": {"host:5000": "other"}}

A helper is the program `docker-credential-NAME` with get, store or erase: the host on stdin, JSON {Username, Secret} on stdout.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from typing import Any

from gorae.errors import InvalidArgument, NotFound, Unavailable

PATIENCE = 60
TOKEN = "<token>"


def folder() -> str:
    return os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def host_of(name: str) -> str:
    """The registry of an image's name, "" when it has none."""
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()) else ""


def header(name: str) -> dict[str, str]:
    """`X-Registry-Auth` for the registry of an image's name; nothing where nothing is known."""
    found = find(host_of(name))
    if not found:
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(found).encode()).decode()}


def find(host: str) -> dict[str, str]:
    """As the API takes them, or empty."""
    if not host:
        return {}
    document = _read()
    helper = _helper(document, host)
    if helper:
        try:
            answer = json.loads(_run(helper, "get", host))
        except NotFound:
            return {}
        name, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
        return {"serveraddress": host} | ({"identitytoken": secret} if name == TOKEN else {"username": name, "password": secret})
    for key, entry in (document.get("auths") or {}).items():
        if _host(key) == host and isinstance(entry, dict):
            return {"serveraddress": host} | _entry(entry, key)
    return {}


def keep(host: str, username: str, password: str, token: str = "") -> str:
    """Answers where they are kept."""
    document = _read()
    helper = _helper(document, host)
    auths = document.setdefault("auths", {})
    if helper:
        words = {"ServerURL": host, "Username": TOKEN if token else username, "Secret": token or password}
        _run(helper, "store", json.dumps(words))
        auths[host] = {}
    else:
        pair = f"{username}:{'' if token else password}".encode()
        auths[host] = {"auth": base64.b64encode(pair).decode()} | ({"identitytoken": token} if token else {})
    _write(document)
    return f"docker-credential-{helper}" if helper else f"{_path()} (unencrypted)"


def forget(host: str) -> bool:
    document = _read()
    helper = _helper(document, host)
    if helper:
        try:
            _run(helper, "erase", host)
        except NotFound:
            pass
    auths = document.get("auths") or {}
    known = [key for key in auths if _host(key) == host]
    for key in known:
        del auths[key]
    if known:
        _write(document)
    return bool(known or helper)


def _entry(entry: dict[str, Any], where: str) -> dict[str, str]:
    token = str(entry.get("identitytoken") or "")
    if token:
        return {"identitytoken": token}
    if entry.get("username"):
        return {"username": str(entry["username"]), "password": str(entry.get("password", ""))}
    try:
        name, _, password = base64.b64decode(str(entry.get("auth", ""))).decode().partition(":")
    except ValueError:
        raise InvalidArgument(f"{_path()}: the auth of {where} is not base64 of name:password") from None
    return {"username": name, "password": password.rstrip("\0")}


def _host(key: str) -> str:
    return (key.partition("://")[2] or key).partition("/")[0]


def _helper(document: dict[str, Any], host: str) -> str:
    name = str((document.get("credHelpers") or {}).get(host) or document.get("credsStore") or "")
    if name and not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise InvalidArgument(f"{_path()}: {name!r} cannot be a credential helper")
    return name


def _run(helper: str, action: str, given: str) -> bytes:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, action], input=given.encode(), capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{program} is not installed, but {_path()} names it: install it, or take it out there") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{program} {action} does not answer") from None
    if done.returncode:
        words = (done.stdout + done.stderr).decode(errors="replace").strip()
        if "credentials not found" in words:
            raise NotFound(words)
        raise Unavailable(f"{program} {action}: {words[:300] or f'status {done.returncode}'}")
    return done.stdout


def _path() -> str:
    return os.path.join(folder(), "config.json")


def _read() -> dict[str, Any]:
    try:
        with open(_path(), "rb") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{_path()}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{_path()}: an object is expected")
    return document


def _write(document: dict[str, Any]) -> None:
    """Whole or not at all, and for its owner's eyes only."""
    os.makedirs(folder(), mode=0o700, exist_ok=True)
    temporary = f"{_path()}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent="\t")
        file.write("\n")
    os.replace(temporary, _path())


def warn_unencrypted(where: str) -> None:
    if "unencrypted" in where:
        print(f"WARNING: the password is kept in {where}; a credential helper (credsStore) would protect it", file=sys.stderr)
