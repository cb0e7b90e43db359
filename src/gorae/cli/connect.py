"""The engine to talk to.

When nobody has chosen an engine and none answers at the default socket, root gets one: goraed is started in a session of its own,
its output in `/run/gorae/goraed.log`, and we wait until its socket answers. Two of us at once are harmless: the data root's lock
lets only one goraed live, and both then talk to it.
"""

from __future__ import annotations

import os
import sys
import time

import click

from gorae.client.endpoint import DEFAULT_SOCKET, find
from gorae.client.engine import Engine
from gorae.errors import Unavailable

LOG = f"{os.path.dirname(DEFAULT_SOCKET)}/goraed.log"
PATIENCE = 15.0
PAUSE = 0.005


def engine(context: click.Context) -> Engine:
    """A connected engine; the caller need not close it, the process is about to end anyway."""
    endpoint = find(context.find_root().obj or "")
    client = Engine(endpoint)
    try:
        client.ping()
    except Unavailable:
        if endpoint.chosen or os.geteuid() != 0 or (os.path.exists(DEFAULT_SOCKET) and _refuses_us()):
            raise
        start_daemon(client)
    return client


def _refuses_us() -> bool:
    return not os.access(DEFAULT_SOCKET, os.R_OK | os.W_OK)


def start_daemon(client: Engine) -> None:
    """Starts goraed and waits for its first answer."""
    os.makedirs(os.path.dirname(LOG), 0o711, exist_ok=True)
    arguments = [sys.executable, "-I", "-m", "gorae.daemon.main"]
    opened = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, LOG, opened, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    size = os.path.getsize(LOG) if os.path.exists(LOG) else 0
    child = os.posix_spawn(sys.executable, arguments, dict(os.environ), file_actions=actions, setsid=True)
    deadline = time.monotonic() + PATIENCE
    ended = False
    while time.monotonic() < deadline:
        try:
            client.ping(timeout=PATIENCE)
            return
        except Unavailable:
            client.close()
        if ended:
            break
        ended = os.waitpid(child, os.WNOHANG)[0] != 0
        time.sleep(PAUSE)
    raise Unavailable(
        f"goraed did not start: {_last_words(size)} (its log is {LOG}; `gorae check` tells whether this machine is fit)"
    )


def _last_words(start: int) -> str:
    try:
        with open(LOG, "rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"
