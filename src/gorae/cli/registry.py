"""registry: serve, gc, and the files they need: password, key, token. All of it runs without a daemon.

Imported are the names of options only; a command loads the server when it runs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import click

from gorae.errors import InvalidArgument

DEFAULT_ADDRESS = "127.0.0.1:5000"
DEFAULT_STORAGE = "/var/lib/gorae-registry"
STORAGE = click.option(
    "--storage",
    default=DEFAULT_STORAGE,
    show_default=True,
    metavar="DIRECTORY|URL",
    help="Where everything lies: a directory, s3://…, gs://…, az://…",
)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Duration(click.ParamType[float]):
    """Seconds, from `90`, `45s`, `10m`, `6h`, `7d`."""

    name = "duration"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration: 90s, 10m, 6h, 7d", parameter, context)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


class Size(click.ParamType[int]):
    """Bytes, from `1000`, `5MiB`, `10GB`."""

    name = "size"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)([kmg]?i?)b?", str(value).lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is no size: 1000, 5MiB, 10GB", parameter, context)
        return int(found[1]) * _UNITS[found[2]]


@click.group()
def registry() -> None:
    """A private registry for images: serve it, clean it, give out passwords and keys."""


def needs_extra(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Says what to install when the server's libraries are missing."""
    from functools import wraps

    @wraps(command)
    def checked(*arguments: Any, **options: Any) -> int | None:
        try:
            return command(*arguments, **options)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "gorae":
                raise
            raise InvalidArgument(f"the registry needs {error.name}: pip install 'gorae[registry]'") from error

    return checked


@registry.command()
@click.option(
    "--address",
    "addresses",
    multiple=True,
    default=(DEFAULT_ADDRESS,),
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; may be given again.",
)
@STORAGE
@click.option("--insecure", is_flag=True, help="Allow addresses that others reach without TLS.")
@click.option("--tls-cert", "tls_certificate", default="", metavar="FILE", help="Certificate chain, PEM.")
@click.option("--tls-key", default="", metavar="FILE", help="Its key, PEM.")
@click.option("--tls-client-ca", default="", metavar="FILE", help="Clients must show a certificate of this authority.")
@click.option("--htpasswd", default="", metavar="FILE", help="Users and their bcrypt passwords (gorae registry password).")
@click.option("--policy", default="", metavar="FILE", help="Who may do what where: TOML or JSON (docs/registry.md).")
@click.option(
    "--token-key",
    default="",
    metavar="FILE",
    help="Token instead of basic authentication: sign tokens with this key (gorae registry key).",
)
@click.option("--token-trust", "token_trusted", multiple=True, metavar="FILE", help="Believe tokens of this public key too.")
@click.option("--token-issuer", default="gorae-registry", show_default=True, metavar="NAME", help="The iss of tokens.")
@click.option("--token-service", default="gorae-registry", show_default=True, metavar="NAME", help="The aud of tokens.")
@click.option("--url", default="", metavar="URL", help="How clients reach this registry, if a balancer is in front of it.")
@click.option("--read-only", is_flag=True, help="Take nothing, delete nothing.")
@click.option(
    "--upstream", "upstreams", multiple=True, metavar="[NAME=]URL", help="Cache another registry, all of it or under NAME/."
)
@click.option("--upstream-credentials", default="", metavar="FILE", help="Users and passwords for upstreams: TOML or JSON.")
@click.option("--upstream-ca", default="", metavar="FILE", help="Authorities to believe upstreams by.")
@click.option("--fresh", type=Duration(), default="60s", show_default=True, help="How long a cached tag is not asked for again.")
@click.option(
    "--gc-every", "collect_every", type=Duration(), default="6h", show_default=True, help="Collect garbage so often; 0: never."
)
@click.option("--gc-grace", "grace", type=Duration(), default="24h", show_default=True, help="What is younger is never collected.")
@click.option("--gc-untagged", "collect_untagged", is_flag=True, help="Collect manifests that no tag reaches as well.")
@click.option("--warning", "warnings", multiple=True, metavar="TEXT", help="Tell every client this.")
@click.option("--chunk-minimum", type=Size(), default="0", help="Ask clients for chunks of at least this size.")
@click.option("--blob-limit", type=Size(), default="0", help="Refuse larger blobs; 0: any size.")
@click.option("--max-requests", "most_requests", type=click.IntRange(1), default=512, show_default=True, help="Requests at once.")
@click.option(
    "--max-connections", "most_connections", type=click.IntRange(1), default=4096, show_default=True, help="Connections at once."
)
@click.option(
    "--idle", type=Duration(), default="60s", show_default=True, help="Close connections that send no request for so long."
)
@needs_extra
def serve(**options: Any) -> None:
    """Serve images to every client of the OCI distribution specification, from a directory or a bucket.

    Any number of instances may serve the same storage.
    """
    import logging

    from gorae.registry.serve import run
    from gorae.registry.settings import Settings

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    run(
        Settings(**options),
        lambda addresses: print(f"serving {options['storage']} on {' '.join(addresses)}", file=sys.stderr, flush=True),
    )


@registry.command()
@STORAGE
@click.option("--grace", type=Duration(), default="24h", show_default=True, help="What is younger is never collected.")
@click.option("--untagged", is_flag=True, help="Collect manifests that no tag reaches as well.")
@click.option("--dry-run", "dry", is_flag=True, help="Say what would go, and leave it.")
@needs_extra
def gc(storage: str, grace: float, untagged: bool, dry: bool) -> int:
    """Collect garbage now, while instances go on serving."""
    import asyncio

    from gorae.registry.garbage import Collector, Report
    from gorae.registry.store.opening import open_store

    async def collect() -> Report | None:
        store = open_store(storage)
        try:
            return await Collector(store, grace, untagged=untagged, dry=dry).collect()
        finally:
            await store.aclose()

    report = asyncio.run(collect())
    if report is None:
        print("another collection of this storage is under way", file=sys.stderr)
        return 1
    would = "would be " if dry else ""
    print(f"{report.repositories} repositories, {report.manifests} manifests, {report.blobs} blobs")
    print(
        f"{report.deleted} blobs with {report.freed} bytes {would}deleted, "
        f"{report.uploads} abandoned uploads, {report.untagged} untagged manifests"
    )
    return 0


@registry.command()
@click.argument("user")
@click.option("--rounds", type=click.IntRange(4, 19), default=12, show_default=True, help="bcrypt's cost: twice the time each.")
@needs_extra
def password(user: str, rounds: int) -> None:
    """Ask for a password (or read it from a pipe) and print USER's line for --htpasswd."""
    from gorae.registry.auth.passwords import make

    if sys.stdin.isatty():
        word = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        word = sys.stdin.readline().rstrip("\n")
    print(make(user, word, rounds))


@registry.command()
@click.argument("file")
@needs_extra
def key(file: str) -> None:
    """Make a key for --token-key in FILE, and print its public half, for --token-trust elsewhere."""
    from gorae.registry.auth.keys import make

    print(make(file), end="")


@registry.command()
@click.option("--key", "path", required=True, metavar="FILE", help="The key of --token-key.")
@click.option("--user", default="token", show_default=True, help="Whom it names.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="Such as repository:team/app:pull,push; may be given again.",
)
@click.option("--expires", type=Duration(), default="1h", show_default=True)
@click.option("--issuer", default="gorae-registry", show_default=True)
@click.option("--service", default="gorae-registry", show_default=True)
@needs_extra
def token(path: str, user: str, scopes: tuple[str, ...], expires: float, issuer: str, service: str) -> None:
    """Print a token for a script, with exactly these rights, whatever the policy says."""
    from gorae.registry.auth import tokens
    from gorae.registry.auth.keys import read_signing

    parsed = tokens.parse_scopes(scopes)
    if not parsed:
        raise InvalidArgument(f"no scope understood in {' '.join(scopes)}: repository:NAME:pull,push,delete or registry:catalog:*")
    print(tokens.issue(read_signing(path), issuer, service, user, parsed, int(expires)))
