"""A daemon's life.

    engine (locks the data root, adopts what runs) ─▶ sockets ─▶ ready ─▶ … ─▶ stop
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
from typing import Any

from gorae.api.app import Api
from gorae.api.errors import describe
from gorae.daemon import listen
from gorae.engine.config import Config
from gorae.engine.engine import Engine
from gorae.version import VERSION

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
        engine = await Engine.open(config, supervisor=supervisor)
        stack.push_async_callback(engine.aclose)
        api = Api(engine)
        stack.push_async_callback(api.aclose)
        for path in listen.paths(config.hosts, config.exec_root):
            bound = listen.bind(path, config.group)
            stack.callback(listen.unlink, path, path.lstat())
            await api.serve(bound)
            log.info("listening on unix://%s", path)
        log.info("goraed %s is ready after %.2f s, data in %s", VERSION, time.monotonic() - begun, config.data_root)
        await stop.wait()
        log.info("stopping: containers run on")
    log.info("stopped")


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
