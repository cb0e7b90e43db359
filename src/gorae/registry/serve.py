"""The program behind `gorae registry serve`: settings ─▶ store, guard, upstreams ─▶ sockets ─▶ until asked to stop.

    SIGTERM, SIGINT    nothing new is accepted, what is under way is finished
    SIGHUP             the TLS certificate is read again; passwords are looked at by themselves

Beside the sockets runs one more task: the garbage collector, every few hours.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import random
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack

from gorae.errors import GoraeError, InvalidArgument
from gorae.registry.auth.access import Guard
from gorae.registry.auth.guards import Basic, Bearer, Open
from gorae.registry.auth.policy import EVERYBODY, read_policy
from gorae.registry.garbage import Collector
from gorae.registry.http.app import Registry
from gorae.registry.settings import Settings, split_address
from gorae.registry.store.opening import open_store
from gorae.registry.upstream.mirror import Upstreams, parse_upstream
from gorae.registry.upstream.remote import Remote, read_credentials

log = logging.getLogger("gorae.registry")

M_ARENA_MAX = -8


def run(settings: Settings, ready: Callable[[list[str]], None] = lambda addresses: None) -> None:
    """Serves until a signal. `ready` is told the addresses once they answer."""
    settings.check()
    few_arenas()
    asyncio.run(_serve(settings, ready))


def few_arenas() -> None:
    """Keeps glibc from giving each thread a heap of its own, none of which shrinks again (mallopt(3)): 81 MB instead of 146."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has one heap
        mallopt(M_ARENA_MAX, 2)


async def open_registry(settings: Settings, stack: AsyncExitStack) -> Registry:
    """A registry without sockets; `stack` closes it."""
    store = open_store(settings.storage)
    stack.push_async_callback(store.aclose)
    registry = Registry(store, settings, make_guard(settings), make_upstreams(settings))
    stack.push_async_callback(registry.aclose)
    return registry


def make_guard(settings: Settings) -> Guard:
    """Libraries for passwords and keys are imported where they are needed: without them, the registry asks nobody."""
    policy = read_policy(settings.policy) if settings.policy else EVERYBODY
    if settings.uses_tokens or settings.htpasswd:
        from gorae.registry.auth.passwords import Passwords
    if settings.uses_tokens:
        from gorae.registry.auth.keys import read_signing, read_trusted

        signing = read_signing(settings.token_key) if settings.token_key else None
        trusted = [read_trusted(path) for path in settings.token_trusted] + ([signing.public] if signing else [])
        passwords = Passwords(settings.htpasswd) if settings.htpasswd else None
        return Bearer(tuple(trusted), settings.token_issuer, settings.token_service, signing, passwords, policy)
    if settings.htpasswd:
        return Basic(Passwords(settings.htpasswd), policy, settings.token_service)
    return Open()


def make_upstreams(settings: Settings) -> Upstreams:
    credentials = read_credentials(settings.upstream_credentials) if settings.upstream_credentials else ()
    try:
        tls = ssl.create_default_context(cafile=settings.upstream_ca) if settings.upstream_ca else None
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"--upstream-ca {settings.upstream_ca}: {error}") from error
    remotes = []
    for words in settings.upstreams:
        prefix, url = parse_upstream(words)
        remotes.append((prefix, Remote(url, credentials, tls)))
    return Upstreams(tuple(remotes), settings.fresh)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 at least."""
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"TLS: {settings.tls_certificate}, {settings.tls_key}: {error}") from error
    return context


def bind(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidArgument(f"cannot listen on {address}: {error.strerror or error}") from error
    return listener


async def _serve(settings: Settings, ready: Callable[[list[str]], None]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        tls = tls_context(settings)
        if tls is not None:
            loop.add_signal_handler(signal.SIGHUP, _read_again, tls, settings)
        registry = await open_registry(settings, stack)
        addresses = []
        for address in settings.addresses:
            listener = bind(address)
            host, port = listener.getsockname()[:2]
            addresses.append(f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}")
            await registry.listen(listener, tls)
        if settings.collect_every and not settings.read_only:
            collecting = asyncio.create_task(collect_forever(registry))
            stack.callback(collecting.cancel)
        ready(addresses)
        await stopped.wait()


async def collect_forever(registry: Registry) -> None:
    """Every instance tries; the first one's term keeps the others off."""
    settings = registry.settings
    while True:
        await asyncio.sleep(settings.collect_every * random.uniform(0.8, 1.2))
        try:
            report = await Collector(registry.store, settings.grace, untagged=settings.collect_untagged).collect()
            registry.metrics.collected(report)
            if report is not None:
                log.info("garbage collection: %d blobs, %d bytes freed in %.1f s", report.deleted, report.freed, report.seconds)
        except GoraeError as error:
            registry.metrics.collected(None, failed=True)
            log.error("%s", error)


def _read_again(tls: ssl.SSLContext, settings: Settings) -> None:
    try:
        tls.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        log.error("TLS: the certificate could not be read again, the old one stays: %s", error)
