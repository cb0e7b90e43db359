"""The server's half of mutual TLS: which files, and the context made from them. Loaded only when TLS is asked for.

Where `tlscacert`, `tlscert`, `tlskey` are not given, the files are ca.pem, cert.pem, key.pem in DOCKER_CERT_PATH or ~/.docker,
as dockerd does.
"""

from __future__ import annotations

import os
import ssl
import stat

from gorae.engine.config import Config
from gorae.errors import InvalidArgument


def files(config: Config) -> dict[str, str]:
    """Paths by daemon.json's key."""
    folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    wanted = {
        "tlscert": config.tls_certificate or f"{folder}/cert.pem",
        "tlskey": config.tls_key or f"{folder}/key.pem",
    }
    if config.tls_verify:
        wanted["tlscacert"] = config.tls_ca_certificate or f"{folder}/ca.pem"
    return wanted


def context(config: Config) -> ssl.SSLContext:
    """InvalidArgument names the file that cannot be used."""
    wanted = files(config)
    for key, path in wanted.items():
        try:
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            raise InvalidArgument(f"{key}: cannot read {path}: {error.strerror}") from error
        if key == "tlskey" and stat.S_IMODE(mode) & 0o022:
            raise InvalidArgument(f"{key}: {path} may be written by others than its owner: chmod 0400 it")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # Nobody resumes here, and a renegotiation could be asked for again and again (CVE-2011-1473).
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.num_tickets = 0
    try:
        made.load_cert_chain(wanted["tlscert"], wanted["tlskey"], password="")
    except (OSError, ValueError) as error:
        pair = f"tlscert {wanted['tlscert']} and tlskey {wanted['tlskey']}"
        raise InvalidArgument(f"{pair} cannot be used together: {error}") from error
    if config.tls_verify:
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_verify_locations(cafile=wanted["tlscacert"])
        except OSError as error:
            raise InvalidArgument(f"tlscacert: {wanted['tlscacert']} has no certificate of an authority: {error}") from error
    return made
