"""A daemon's life.

    plugins ─▶ engine (locks the data root, adopts what runs) ─▶ sockets ─▶ ready ─▶ … ─▶ stop
                                                                               SIGTERM, SIGINT
    stop: nothing new is accepted · requests are finished · streams end · containers run on · sockets and pid file are removed

A second signal does not wait. SIGHUP (which reloads dockerd's configuration) is answered with a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gorae.api.app import Api
from gorae.api.errors import describe
from gorae.daemon import listen, tcp
from gorae.daemon.tcp import Address
from gorae.engine.config import Config
from gorae.engine.engine import Engine
from gorae.version import VERSION

if TYPE_CHECKING:
    from gorae.api.authorization.chain import Chain

log = logging.getLogger("gorae.daemon")

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR, "fatal": logging.CRITICAL}


def run(config: Config, supervisor: subprocess.Popen[bytes] | None, begun: float) -> None:
    """From the configuration to the end. GoraeError for whatever keeps it from starting."""
    start_logging(config)
    asyncio.run(live(config, supervisor, begun))


async def live(config: Config, supervisor: subprocess.Popen[bytes] | None, begun: float) -> None:
    """Serve until a signal says stop."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    stop = asyncio.Event()
    signals = _Signals(stop)
    async with AsyncExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, signals.receive, number)
        authorization = await _authorization(config, stack)
        engine = await Engine.open(config, supervisor=supervisor)
        stack.push_async_callback(engine.aclose)
        api = Api(engine, authorization=authorization)
        stack.push_async_callback(api.aclose)
        for place in listen.places(config):
            if isinstance(place, Address):
                await _serve_tcp(api, place, config)
            else:
                await _serve_unix(api, place, config, stack)
        log.info("goraed %s is ready after %.2f s, data in %s", VERSION, time.monotonic() - begun, config.data_root)
        await stop.wait()
        log.info("stopping: containers run on")
    log.info("stopped")


async def _authorization(config: Config, stack: AsyncExitStack) -> Chain | None:
    """The plugins, or GoraeError: without one that was asked for, nothing is served."""
    if not config.authorization_plugins:
        return None
    from gorae.api.authorization.discovery import open_chain

    chain = await open_chain(config.authorization_plugins)
    stack.push_async_callback(chain.aclose)
    log.info("every request is authorized by %s", ", ".join(config.authorization_plugins))
    return chain


async def _serve_unix(api: Api, path: Path, config: Config, stack: AsyncExitStack) -> None:
    bound = listen.bind(path, config.group)
    stack.callback(listen.unlink, path, os.lstat(path))
    await api.serve(bound)
    log.info("listening on unix://%s", path)


async def _serve_tcp(api: Api, address: Address, config: Config) -> None:
    context = None
    if tcp.secured(config):
        from gorae.daemon import certificates

        context = certificates.context(config)
    for bound in tcp.bind(address):
        await api.serve(bound, context)
    if words := tcp.warning(address, config):
        log.warning("%s", words)
    log.info("listening on %s%s", address, ", client certificates required" if config.tls_verify else "")


class _Signals:
    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def receive(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            log.warning("SIGHUP: the configuration is read at start only; restart goraed to change it (containers run on)")
            return
        if self._stop.is_set():
            log.error("%s again: leaving at once", number.name)
            logging.shutdown()
            os._exit(1)
        log.info("%s", number.name)
        self._stop.set()


def start_logging(config: Config) -> None:
    """Plain lines on stderr; what collects them (a file, a journal) is the starter's business."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if config.debug else LEVELS.get(config.log_level, logging.INFO))
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tasks that failed with nobody to hear it. No values: see `api.errors`."""
    error = context.get("exception")
    log.error("%s: %s", context.get("message", "unhandled"), describe(error) if error is not None else "no exception")
