"""`/v1.41/containers/json` → version and path; and the headers by which the server tells what it is."""

from __future__ import annotations

import re

from gorae.version import API_VERSION, VERSION
from gorae.wire.versions import NEWEST, Version, check

HEADERS = {
    "Api-Version": API_VERSION,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Gorae/{VERSION} (linux)",
}

PREFIX = re.compile(r"/v([0-9]{1,4}\.[0-9]{1,4})(/.*)", re.DOTALL)


def split(path: str) -> tuple[Version, str]:
    """The version that a path asks for (none: the newest) and the rest; InvalidArgument for one that is not spoken."""
    found = PREFIX.fullmatch(path)
    if found is None:
        return NEWEST, path
    return check(Version.parse(found[1])), found[2]
