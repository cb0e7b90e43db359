"""TLS by host, from folders as Docker has them.

    <folder>/<host:port>/*.crt          authorities that are trusted there, besides the machine's own
                         name.cert, name.key    a client certificate and its key
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from gorae.engine.remote.rules import Origin
from gorae.errors import InvalidArgument


def context(origin: Origin, folders: Iterable[str]) -> ssl.SSLContext:
    """Reads files: call it in a thread. Raises `InvalidArgument` naming the file."""
    made = ssl.create_default_context()
    for folder in folders:
        place = Path(folder) / origin.host
        if not place.is_dir():
            continue
        for file in sorted(place.iterdir()):
            try:
                if file.suffix == ".crt":
                    made.load_verify_locations(cafile=str(file))
                elif file.suffix == ".cert":
                    made.load_cert_chain(str(file), str(file.with_suffix(".key")))
            except (OSError, ssl.SSLError) as error:
                raise InvalidArgument(f"{file}: {error}") from error
    if not origin.verified:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
