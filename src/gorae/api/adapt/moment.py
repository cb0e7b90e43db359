"""Times and durations in Docker's words."""

from __future__ import annotations

import time

NANOSECONDS = 1_000_000_000
ZERO = "0001-01-01T00:00:00Z"  # Go's zero time: never


def rfc3339(moment: int) -> str:
    """Nanoseconds since the epoch, as Go's RFC3339Nano writes them: without trailing zeros."""
    if not moment:
        return ZERO
    text = fixed_rfc3339(moment)
    return text[:-1].rstrip("0").rstrip(".") + "Z"


def fixed_rfc3339(moment: int) -> str:
    """The same with all nine digits, as in logs."""
    seconds, rest = divmod(moment, NANOSECONDS)
    return f"{_second(seconds)}.{rest:09d}Z"


def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def human_duration(nanoseconds: int) -> str:
    """`3 minutes`, `About an hour`: the words of `docker ps`."""
    seconds = max(nanoseconds, 0) // NANOSECONDS
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = seconds // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, length, name in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 365 * 2, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // length} {name}"
    return f"{hours // (24 * 365)} years"
