"""Joining a container's or an exec's stream to our own stdin, stdout and stderr, with resize, signals and the detach keys."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from gorae.cli.terminal import FORWARDED, Signals, raw, window
from gorae.client.engine import Engine
from gorae.client.http import Response
from gorae.client.session import join
from gorae.errors import GoraeError


@dataclass(frozen=True, slots=True)
class Pump:
    """`resize_path` is the API's path without `/resize`; `signalled` gets the signals to pass on, or is None for none."""

    engine: Engine
    resize_path: str
    tty: bool
    stdin: bool
    signalled: Callable[[signal.Signals], None] | None = None

    def resize(self) -> None:
        rows, columns = window()
        if rows and columns:
            try:
                self.engine.call("POST", f"{self.resize_path}/resize", {"h": rows, "w": columns})
            except GoraeError:
                pass  # it has ended, or not begun: the next change of the window tells again

    def run(self, response: Response) -> None:
        """Until the engine ends the stream."""
        numbers = {signal.SIGWINCH} if self.tty else FORWARDED if self.signalled else set()
        with Signals(numbers) as signals, raw(self.tty and self.stdin):
            if self.tty:
                self.resize()
            join(
                response,
                stdin=0 if self.stdin else None,
                stdout=sys.stdout.fileno(),
                stderr=sys.stderr.fileno(),
                framed=not self.tty,
                wakeup=signals.fileno(),
                on_wakeup=lambda: signals.deliver(self._handle),
            )

    def _handle(self, number: signal.Signals) -> None:
        if number == signal.SIGWINCH:
            self.resize()
        elif self.signalled is not None:
            self.signalled(number)


def forward_to(engine: Engine, container: str) -> Callable[[signal.Signals], None]:
    def forward(number: signal.Signals) -> None:
        try:
            engine.act(container, "kill", signal=number.name)
        except GoraeError:
            pass  # it has ended meanwhile

    return forward
