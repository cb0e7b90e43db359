"""What a registry is told: one frozen value, made by the command line, checked here before anything is opened.

Refused: listening for others than this machine in clear text (unless `insecure` is spelled out), half a TLS pair, tokens without a
key or an audience, more words of warning than the specification lets a client bear (4096 bytes).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from gorae.errors import InvalidArgument
from gorae.registry.garbage import GRACE
from gorae.registry.http.body import Patience
from gorae.registry.http.connection import IDLE, MOST

DEFAULT_ADDRESS = "127.0.0.1:5000"
MOST_REQUESTS = 512
WARNING_LIMIT = 4096


@dataclass(frozen=True)
class Settings:
    addresses: tuple[str, ...] = (DEFAULT_ADDRESS,)
    storage: str = ""
    insecure: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    htpasswd: str = ""
    policy: str = ""
    token_key: str = ""
    token_trusted: tuple[str, ...] = ()
    token_issuer: str = "gorae-registry"
    token_service: str = "gorae-registry"
    url: str = ""
    """Our own address as clients reach it, when that is not what their Host header says (a balancer in front)."""
    read_only: bool = False
    upstreams: tuple[str, ...] = ()
    upstream_credentials: str = ""
    upstream_ca: str = ""
    fresh: float = 60.0
    collect_every: float = 6 * 3600.0
    """Seconds; 0: only `gorae registry gc` collects."""
    grace: float = GRACE
    collect_untagged: bool = False
    warnings: tuple[str, ...] = ()
    chunk_minimum: int = 0
    blob_limit: int = 0
    most_requests: int = MOST_REQUESTS
    most_connections: int = MOST
    idle: float = IDLE
    patience: Patience = field(default_factory=Patience)

    @property
    def uses_tokens(self) -> bool:
        return bool(self.token_key or self.token_trusted)

    def check(self) -> None:
        """`InvalidArgument` for what does not fit together."""
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise InvalidArgument("--tls-cert and --tls-key go together")
        if self.tls_client_ca and not self.tls_certificate:
            raise InvalidArgument("--tls-client-ca needs --tls-cert and --tls-key")
        for address in self.addresses:
            host, _ = split_address(address)
            if not self.tls_certificate and not self.insecure and not is_loopback(host):
                raise InvalidArgument(
                    f"{address} is open to others than this machine: give --tls-cert and --tls-key, "
                    "or --insecure if something in front of it does the TLS"
                )
        if self.token_key and not self.htpasswd:
            raise InvalidArgument("--token-key issues tokens for passwords: it needs --htpasswd")
        if self.policy and not self.htpasswd:
            raise InvalidArgument("--policy speaks of users: it needs --htpasswd")
        told = sum(len(f'299 - "{words}"'.encode()) for words in self.warnings)
        if told > WARNING_LIMIT or any(not words.isprintable() or '"' in words or "\\" in words for words in self.warnings):
            raise InvalidArgument(f"--warning: at most {WARNING_LIMIT} bytes in all, printable, without quotes and backslashes")
        if self.grace < 0 or self.collect_every < 0:
            raise InvalidArgument("times are not negative")


def split_address(address: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port`, `:port` (every address)."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f"address {address!a}: expected HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """What a name means today may be something else tomorrow: only addresses, and `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
