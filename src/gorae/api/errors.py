"""Failures → status codes. The only place that knows HTTP's numbers for `gorae.errors`.

    InvalidArgument 400 · Forbidden 403 · NotFound 404 · Conflict 409 · NotModified 304 · Unsupported 501 · Unavailable 503
    limits.TooLarge 413 · limits.HeadTooLarge 431 · limits.TooSlow 408
    CommandNotFound, CommandNotExecutable 400 (as dockerd: the request named a command that cannot run)
    StorageFull, CorruptData, other BirthErrors, every GoraeError else: 500 with their message
    OSError: 500 with what the system said
    anything else: 500 with a general message, and a record in the log without the values of variables (CVE-2019-13509)
"""

from __future__ import annotations

import logging
import os
import traceback

from gorae import errors
from gorae.api.limits import HeadTooLarge, TooLarge, TooSlow

log = logging.getLogger("gorae.api")

STATUSES: tuple[tuple[type[errors.GoraeError], int], ...] = (
    (TooLarge, 413),
    (HeadTooLarge, 431),
    (TooSlow, 408),
    (errors.InvalidArgument, 400),
    (errors.CommandNotFound, 400),
    (errors.CommandNotExecutable, 400),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.NotModified, 304),
    (errors.Unsupported, 501),
    (errors.Unavailable, 503),
)

# The stock client looks for these words to choose the exit statuses 127 and 126.
NOT_FOUND_WORDS = ("executable file not found", "no such file or directory")
NOT_EXECUTABLE_WORDS = ("permission denied", "is a directory")

UNEXPECTED = "unexpected error in goraed; its log has the details"


def explain(error: BaseException) -> tuple[int, str]:
    """The status and the message for the client; what nobody raised on purpose goes to the log."""
    if isinstance(error, errors.GoraeError):
        for kind, status in STATUSES:
            if isinstance(error, kind):
                return status, _worded(error)
        return 500, _worded(error)
    log.error("unexpected error: %s", describe(error))
    if isinstance(error, OSError) and error.errno:
        return 500, f"{os.strerror(error.errno).lower()}; the log of goraed has the details"
    return 500, UNEXPECTED


def describe(error: BaseException) -> str:
    """Where it happened and what kind it is, on one line: frames, but no values; the message of a foreign error may quote some."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    places = " < ".join(f"{frame.filename.rpartition('/gorae/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    number = f" errno {error.errno}: {error.strerror}" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}{number} at {places or 'unknown'}"


def _worded(error: errors.GoraeError) -> str:
    message = str(error) or type(error).__name__
    if isinstance(error, errors.CommandNotFound) and not any(words in message for words in NOT_FOUND_WORDS):
        return f"{message}: executable file not found"
    if isinstance(error, errors.CommandNotExecutable) and not any(words in message for words in NOT_EXECUTABLE_WORDS):
        return f"{message}: permission denied"
    return message
