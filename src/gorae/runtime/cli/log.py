"""Telling what went wrong to the one who started us.

    --log FILE --log-format json    {"level": "error", "msg": "…", "time": "2026-11-24T09:00:00Z"}      containerd reads the
    last error line --log FILE                      time="…" level=error msg="…" no --log                        the text
    form on stderr

An error goes to stderr too, in plain words, whatever the log: engines quote stderr, and people read it. Nothing but the
message is written: no traceback, no environment.
"""

from __future__ import annotations

import json
import os
import sys

from gorae.runtime.state import now


class Log:
    """Lines for the engine; `path` "" is stderr."""

    def __init__(self, path: str = "", form: str = "text", verbose: bool = False) -> None:
        self.path = path
        self.form = form
        self.verbose = verbose
        self._descriptor = 2
        if path:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def error(self, message: str) -> None:
        self._write("error", message)
        if self._descriptor != 2:
            print(message, file=sys.stderr)

    def warning(self, message: str) -> None:
        self._write("warning", message)

    def debug(self, message: str) -> None:
        if self.verbose:
            self._write("debug", message)

    def _write(self, level: str, message: str) -> None:
        if self.form == "json":
            line = json.dumps({"level": level, "msg": message, "time": now()})
        else:
            line = f"time={json.dumps(now())} level={level} msg={json.dumps(message)}"
        try:
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")
        except OSError:
            pass  # a full disk or a closed pipe must not keep a container from being killed or deleted
