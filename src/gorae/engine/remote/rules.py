"""Where a name leads. Pure.

    host:5000/team/app    https://host:5000; when it is insecure: https without verification, then http
    app, team/app         the mirrors of daemon.json, in order; nowhere else. There, `app` is `library/app`, then `app`
    DEFAULT/library/app   the same as `app`, when `default-registry` is DEFAULT (stock clients complete names before they ask)

127.0.0.0/8, ::1 and localhost are insecure by themselves, as in Docker; others by `insecure-registries` (host, host:port, CIDR).
No registry's name is built in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from gorae.engine.config import Config
from gorae.errors import InvalidArgument
from gorae.oci import reference as references
from gorae.oci.reference import Reference

CERTIFICATES = ("/etc/gorae/certs.d", "/etc/docker/certs.d")
LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True)
class Patience:
    """Seconds, and how often a thing is tried that may be tried again."""

    connect: float = 10.0
    stall: float = 30.0
    attempts: int = 5
    pause: float = 0.25
    longest_pause: float = 60.0


@dataclass(frozen=True)
class Credentials:
    """Of one registry, `server`; its secrets are in no repr (CVE-2019-13509)."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""

    @property
    def given(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)


ANONYMOUS = Credentials()


@dataclass(frozen=True)
class Origin:
    scheme: str
    host: str
    """With the port, when one was given."""
    verified: bool = True

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True)
class Place:
    """A repository: its path on one registry, which answers at the first of `origins` that does."""

    origins: tuple[Origin, ...]
    path: str
    mirror: bool = False


@dataclass(frozen=True)
class Rules:
    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    default: str = ""
    token_origins: tuple[str, ...] = ()
    certificates: tuple[str, ...] = CERTIFICATES

    @classmethod
    def of(cls, config: Config) -> Rules:
        return cls(config.registry_mirrors, config.insecure_registries, config.default_registry, config.registry_token_origins)

    def meant(self, reference: Reference) -> Reference:
        """Without the registry that stands for none."""
        if not self.default or reference.domain != self.default:
            return reference
        path = reference.path.removeprefix(references.OFFICIAL)
        return Reference("", path if "/" not in path else reference.path, reference.tag, reference.digest)

    def places(self, reference: Reference, *, push: bool = False) -> tuple[Place, ...]:
        """`reference` is one that is `meant`. `InvalidArgument` when there is no place to go to."""
        if reference.domain:
            return (Place(self.origins(reference.domain), reference.path),)
        if push:
            raise InvalidArgument(f"{reference} names no registry to push to: tag it as HOST/{reference}, and push that")
        if not self.mirrors:
            raise InvalidArgument(
                f"{reference} names no registry, and no registry-mirrors are configured: pull HOST/{reference}, or add them to "
                "daemon.json"
            )
        paths = (reference.path,) if "/" in reference.path else (references.OFFICIAL + reference.path, reference.path)
        return tuple(Place((self._mirror(url),), path, mirror=True) for url in self.mirrors for path in paths)

    def origins(self, host: str) -> tuple[Origin, ...]:
        if not self.is_insecure(host):
            return (Origin("https", host),)
        return (Origin("https", host, verified=False), Origin("http", host))

    def is_insecure(self, host: str) -> bool:
        name = hostname(host)
        if name == "localhost" or host in self.insecure or name in self.insecure:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return any(_within(address, entry) for entry in (*LOOPBACK, *self.insecure))

    def may_give_tokens(self, origin: Origin, realm: str) -> bool:
        """Whether the registry at `origin` may send us, and our password, to `realm` (CVE-2020-15157, CVE-2019-10214): its own
        origin, its own domain with https, or what the operator has listed."""
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            return False
        if same_origin(realm, str(origin)) or any(same_origin(realm, each) for each in self.token_origins):
            return True
        domain = _domain(hostname(origin.host))
        return bool(domain) and parts.scheme == "https" and (parts.hostname == domain or parts.hostname.endswith(f".{domain}"))

    def _mirror(self, url: str) -> Origin:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.username is not None:
            raise InvalidArgument(f"registry-mirrors: {url!r} must be http(s)://host[:port]")
        return Origin(parts.scheme, parts.netloc, verified=not self.is_insecure(parts.netloc))


def for_origin(credentials: Credentials, origin: Origin, *, mirror: bool) -> Credentials:
    """What may be shown there: credentials belong to the registry that they were given for, and a mirror is another one."""
    if not credentials.server:
        return ANONYMOUS if mirror else credentials
    return credentials if server_host(credentials.server) == origin.host else ANONYMOUS


def server_host(server: str) -> str:
    """`https://host:5000/v1/` → `host:5000`."""
    return (server.partition("://")[2] or server).partition("/")[0]


def hostname(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def same_origin(one: str, other: str) -> bool:
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None


def _within(address: object, entry: str) -> bool:
    try:
        return "/" in entry and address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _domain(name: str) -> str:
    """The domain whose hosts speak for each other: registry.example.com → example.com. Two labels where the last is longer than
    two letters or the one before longer than three, else three (example.co.uk): as good as it gets without a list of suffixes."""
    try:
        ip_address(name)
    except ValueError:
        labels = name.lower().split(".")
        needed = 3 if len(labels) > 1 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
        return ".".join(labels[-needed:]) if len(labels) >= needed else ""
    return ""
