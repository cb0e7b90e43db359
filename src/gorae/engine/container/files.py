"""/etc/hostname, /etc/hosts and /etc/resolv.conf of a container. The texts are pure; `write` puts them into its directory.

<data root>/containers/<id>/   0700
  hostname hosts resolv.conf   0644, bound into the container, which may write them
  output.log …                 what it said (logs.files)
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

HOST_GATEWAY = "host-gateway"
LOOPBACK = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)


def hosts(extra: tuple[str, ...], host_file: str | None = None) -> str:
    """`extra` are NAME:ADDRESS (or NAME=ADDRESS);

    `host_file`, with the host's network, is the beginning instead of the usual lines.
    """
    lines = [host_file.rstrip("\n")] if host_file is not None else list(LOOPBACK)
    for entry in extra:
        name, address = split_host(entry)
        lines.append(f"{address}\t{name}")
    return "\n".join(lines) + "\n"


def split_host(entry: str) -> tuple[str, str]:
    """(name, address); IPv6 may stand in brackets. ValueError for what is none."""
    separator = "=" if "=" in entry else ":"
    name, found, address = entry.partition(separator)
    address = address.removeprefix("[").removesuffix("]")
    if not found or not name or any(letter <= " " or letter == "\x7f" for letter in name):
        raise ValueError(entry)
    if address == HOST_GATEWAY:
        return name, "127.0.0.1"
    return name, str(ipaddress.ip_address(address))


def resolv_conf(host: str, *, servers: tuple[str, ...], search: tuple[str, ...], options: tuple[str, ...]) -> str:
    """The host's, each kind of line replaced by what is given here. A search list of "." is an empty one."""
    kinds = (("nameserver", servers), ("search", search), ("options", options))
    replaced = {kind for kind, values in kinds if values}
    kept = [line for line in host.splitlines() if line.strip() and line.lstrip()[0] not in "#;" and _kind(line) not in replaced]
    given = [f"nameserver {server}" for server in servers]
    given += [f"search {' '.join(search)}"] if search and search != (".",) else []
    given += [f"options {' '.join(options)}"] if options else []
    return "\n".join((*kept, *given)) + "\n"


def _kind(line: str) -> str:
    word = line.split()[0]
    return "search" if word == "domain" else word


def read_host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""


def write(directory: Path, texts: dict[str, str]) -> None:
    """Make the directory and its files.

    They are written before the container's row, so a half-made directory is one without row.
    """
    directory.parent.mkdir(mode=0o700, exist_ok=True)  # `parents` would make it for all to list
    directory.mkdir(mode=0o700, exist_ok=True)
    for name, text in texts.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text.encode())
