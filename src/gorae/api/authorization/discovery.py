"""Where plugins are found: by name, in Python's entry points, then where Docker looks for sockets and descriptions.

    /run/docker/plugins/NAME.sock  or  NAME/NAME.sock          the plugin listens there
    /etc/docker/plugins, /usr/lib/docker/plugins
        NAME.spec  or  NAME/NAME.spec                          one line: unix:///path or tcp://host:port
        NAME.json  or  NAME/NAME.json                          {"Name", "Addr", "TLSConfig": {"CAFile", "CertFile", "KeyFile",
                                                               "InsecureSkipVerify"}}
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.api.authorization import entry
from gorae.api.authorization.chain import PATIENCE, Chain
from gorae.api.authorization.model import Authorizer
from gorae.errors import InvalidArgument, NotFound
from gorae.oci.json import read_json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
LIMIT = 64 << 10


@dataclass(frozen=True)
class Places:
    sockets: Path = Path("/run/docker/plugins")
    descriptions: tuple[Path, ...] = (Path("/etc/docker/plugins"), Path("/usr/lib/docker/plugins"))


PLACES = Places()


@dataclass(frozen=True)
class Address:
    """`socket` for a unix socket, else `url`; `tls` are the files of a TLSConfig, None for none."""

    socket: str = ""
    url: str = ""
    tls: dict[str, Any] | None = None


async def open_chain(names: Sequence[str], places: Places = PLACES, patience: float = PATIENCE) -> Chain:
    """Find and activate them all; NotFound or InvalidArgument for one that is not there or is none: the daemon must not start."""
    opened: list[Authorizer] = []
    try:
        for name in names:
            opened.append(await _open(name, places, patience))
    except BaseException:
        for authorizer in opened:
            await authorizer.aclose()
        raise
    return Chain(opened, patience)


async def _open(name: str, places: Places, patience: float) -> Authorizer:
    if not NAME.fullmatch(name):
        raise InvalidArgument(f"authorization plugin {name!r}: a name has letters, digits and _ . - only")
    in_python = entry.find(name)
    address = find(name, places)
    if in_python is not None and address is not None:
        raise InvalidArgument(f"authorization plugin {name!r} is both an entry point and at {address}: remove one of them")
    if in_python is not None:
        return in_python
    if address is None:
        raise NotFound(
            f"plugin {name!r} not found: neither an entry point of {entry.GROUP} nor in {places.sockets} or "
            f"{' or '.join(map(str, places.descriptions))}"
        )
    from gorae.api.authorization.plugin import Plugin

    plugin = Plugin(name, address)
    try:
        await plugin.activate(patience)
    except BaseException:
        await plugin.aclose()
        raise
    return plugin


def find(name: str, places: Places) -> Address | None:
    for path in (places.sockets / f"{name}.sock", places.sockets / name / f"{name}.sock"):
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            return Address(socket=str(path))
    for path in _descriptions(name, places):
        if path.is_file():
            return _described(name, path)
    return None


def _descriptions(name: str, places: Places) -> Iterator[Path]:
    for folder in places.descriptions:
        for ending in ("spec", "json"):
            yield folder / f"{name}.{ending}"
            yield folder / name / f"{name}.{ending}"


def _described(name: str, path: Path) -> Address:
    with path.open("rb") as file:
        data = file.read(LIMIT)
    if path.suffix == ".spec":
        return _address(data.decode(errors="replace").strip(), None, path)
    document = read_json(data, str(path))
    tls = document.get("TLSConfig") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(document.get("Addr"), str) or not isinstance(tls, dict | None):
        raise InvalidArgument(f"authorization plugin {name!r}: {path} has no Addr, or a TLSConfig that is no object")
    return _address(document["Addr"], tls, path)


def _address(text: str, tls: dict[str, Any] | None, path: Path) -> Address:
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return Address(socket=rest)
    if scheme in ("tcp", "http", "https") and rest:
        return Address(url=f"{'https' if tls is not None or scheme == 'https' else 'http'}://{rest.rstrip('/')}", tls=tls)
    raise InvalidArgument(f"{path}: {text!r} is neither unix:///path nor tcp://host:port")
