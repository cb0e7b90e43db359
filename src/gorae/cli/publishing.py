"""-p, --expose and --network of `run` and `create` → Docker's JSON. Pure.

    [ADDRESS:][HOST_PORT[-LAST]:]CONTAINER_PORT[-LAST][/tcp|udp|sctp]        IPv6 addresses in brackets
    NETWORK  or  name=NETWORK,alias=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC,gw-priority=N
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gorae.errors import InvalidArgument

PORT = re.compile(
    r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>\d+(?:\.\d+){3})):)?(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<inside>\d+(?:-\d+)?)(?:/(?P<proto>\w+))?",
    re.ASCII,
)
KEYS = ("name", "alias", "ip", "ip6", "mac-address", "gw-priority", "driver-opt", "link-local-ip")


def published(words: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """`PortBindings`."""
    found: dict[str, list[dict[str, str]]] = {}
    for word in words:
        match = PORT.fullmatch(word)
        if match is None:
            raise InvalidArgument(f"invalid port {word!r}: expected [ADDRESS:][HOST:]CONTAINER[/PROTOCOL], such as 8080:80")
        inside = _range(match["inside"], word)
        given = match["host"] or ""
        protocol = (match["proto"] or "tcp").lower()
        address = match["six"] or match["four"] or ""
        outside = _range(given, word) if given else None
        if outside is not None and len(inside) != len(outside) and len(inside) != 1:
            raise InvalidArgument(f"invalid port {word!r}: the two ranges differ in length")
        for index, number in enumerate(inside):
            host = ""
            if outside is not None:
                host = given if len(inside) == 1 else str(outside[index])
            found.setdefault(f"{number}/{protocol}", []).append({"HostIp": address, "HostPort": host})
    return found


def exposed(words: Iterable[str]) -> list[str]:
    """`ExposedPorts`: `80`, `80/udp`, `7000-7003`."""
    found = []
    for word in words:
        digits, _, protocol = word.partition("/")
        found += [f"{number}/{protocol.lower() or 'tcp'}" for number in _range(digits, word)]
    return found


def _range(text: str, word: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()) or not 0 <= int(first) <= int(last or first) <= 65535:
        raise InvalidArgument(f"invalid port {word!r}")
    return range(int(first), int(last or first) + 1)


def networks(words: Iterable[str], options: Mapping[str, Any]) -> tuple[str, dict[str, dict[str, Any]]]:
    """`NetworkMode`, which is the first network, and `EndpointsConfig`."""
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        name, settings = _network(word)
        found[name] = settings
    mode = next(iter(found), "")
    own = {
        "Aliases": list(options["network_alias"]),
        "Links": list(options["link"]),
        "MacAddress": options["mac_address"],
        "IPAMConfig": {key: text for key, text in (("IPv4Address", options["ip"]), ("IPv6Address", options["ip6"])) if text},
    }
    given = {key: value for key, value in own.items() if value}
    if not given:
        return mode, {name: settings for name, settings in found.items() if settings or len(found) > 1}
    if mode in ("none", "host") or mode.startswith("container:"):
        raise InvalidArgument(f"--ip, --mac-address, --network-alias and --link need a network, not {mode!r}")
    first = found.setdefault(mode or "default", {})
    for key, value in given.items():
        first.setdefault(key, value)
    return mode, found


def _network(word: str) -> tuple[str, dict[str, Any]]:
    if "=" not in word:
        return word, {}
    name, settings, own = "", {}, {}
    aliases: list[str] = []
    for part in word.split(","):
        key, _, value = part.partition("=")
        if key not in KEYS:
            raise InvalidArgument(f"invalid --network {word!r}: {key!r} is not one of {', '.join(KEYS)}")
        if key == "name":
            name = value
        elif key == "alias":
            aliases.append(value)
        elif key in ("ip", "ip6"):
            own["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "gw-priority" and re.fullmatch(r"-?\d+", value):
            settings["GwPriority"] = int(value)  # type: ignore[assignment]
        else:
            raise InvalidArgument(f"invalid --network {word!r}: {part!r}")
    if not name:
        raise InvalidArgument(f"invalid --network {word!r}: name= is missing")
    more: dict[str, Any] = {"Aliases": aliases, "IPAMConfig": own}
    return name, settings | {key: value for key, value in more.items() if value}
