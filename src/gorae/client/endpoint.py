"""Where is the engine?

Order, as in Docker: an explicit `-H`, `DOCKER_HOST`, the context named by `DOCKER_CONTEXT` or by `currentContext` in
`~/.docker/config.json`, and last our own socket. Only the last one may be started by the CLI when nobody answers.

A context's endpoint lies in `~/.docker/contexts/meta/<sha256 of its name>/meta.json`, its TLS files in
`~/.docker/contexts/tls/<sha256>/docker/{ca,cert,key}.pem`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from gorae.errors import InvalidArgument, Unsupported

DEFAULT_SOCKET = "/run/gorae/docker.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`socket_path` for a unix socket, else `host` and `port`; `tls` is a folder with ca.pem, cert.pem and key.pem, or empty."""

    socket_path: str = ""
    host: str = ""
    port: int = 0
    tls: str = ""
    verify: bool = True
    chosen: bool = True

    def __str__(self) -> str:
        return f"unix://{self.socket_path}" if self.socket_path else f"tcp://{self.host}:{self.port}"


def find(explicit: str = "", environment: dict[str, str] | None = None) -> Endpoint:
    """The endpoint to talk to; `chosen` is False when nobody asked for a particular one."""
    variables = os.environ if environment is None else environment
    address = explicit or variables.get("DOCKER_HOST", "")
    if address:
        certificates = variables.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
        verify = bool(variables.get("DOCKER_TLS_VERIFY"))
        return parse(address, tls=certificates if verify or variables.get("DOCKER_TLS") else "", verify=verify)
    folder = variables.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    context = variables.get("DOCKER_CONTEXT") or current_context(folder)
    if context and context != "default":
        return from_context(folder, context)
    return Endpoint(socket_path=DEFAULT_SOCKET, chosen=False)


def parse(address: str, *, tls: str = "", verify: bool = True) -> Endpoint:
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    if scheme == "unix":
        if not rest.startswith("/"):
            raise InvalidArgument(f"the address {address!r} names no absolute path: write unix:///path/to/docker.sock")
        return Endpoint(socket_path=rest)
    if scheme in ("tcp", "http", "https"):
        host, _, port = rest.rstrip("/").rpartition(":")
        if not host or not port.isdigit():
            raise InvalidArgument(f"the address {address!r} has no port: write tcp://HOST:PORT")
        return Endpoint(host=host.strip("[]"), port=int(port), tls=tls, verify=verify or not tls)
    raise Unsupported(f"the address {address!r} is not supported: use unix:// or tcp://")


def current_context(folder: str) -> str:
    path = f"{folder}/config.json"
    if not os.path.exists(path):
        return ""
    name = _read(path).get("currentContext", "")
    return name if isinstance(name, str) else ""


def from_context(folder: str, name: str) -> Endpoint:
    from hashlib import sha256

    identity = sha256(name.encode()).hexdigest()
    path = f"{folder}/contexts/meta/{identity}/meta.json"
    if not os.path.exists(path):
        raise InvalidArgument(f"context {name!r} does not exist: there is no {path}")
    try:
        described = _read(path)["Endpoints"]["docker"]
        address = described["Host"]
    except (KeyError, TypeError) as error:
        raise InvalidArgument(f"context {name!r} names no docker endpoint in {path}") from error
    certificates = f"{folder}/contexts/tls/{identity}/docker"
    return parse(address, tls=certificates if os.path.isdir(certificates) else "", verify=not described.get("SkipTLSVerify", False))


def _read(path: str) -> dict[str, Any]:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"cannot read {path}: it is not a JSON object")
    return content
