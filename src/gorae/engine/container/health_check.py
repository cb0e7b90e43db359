"""Health checks, as functions of what was observed. Pure.

                 probe succeeds         probe fails, in the start period      probe fails, otherwise
    starting     healthy                =                                     streak + 1; unhealthy when it reaches `retries`
    healthy      healthy                streak + 1 …                          streak + 1; unhealthy when it reaches `retries`
    unhealthy    healthy                …                                     streak + 1

A success ends the streak and, for good, the start period. Docker's defaults: every 30 s, 30 s each, 3 failures, no start period,
every 5 s within one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gorae import errors
from gorae.engine.container.model import Health, Probe, Struct
from gorae.engine.image.model import HealthCheck

SECOND = 1_000_000_000
INTERVAL = TIMEOUT = 30 * SECOND
START_INTERVAL = 5 * SECOND
RETRIES = 3
KEPT = 5  # probes in the log
LONGEST_OUTPUT = 4096
TIMED_OUT = -1
MILLISECOND = 1_000_000
FIELDS = {"Test": "test", "Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period",
          "StartInterval": "start_interval", "Retries": "retries"}  # fmt: skip


class Check(Struct, frozen=True):
    """What is run, and when; nanoseconds, nothing is at its default any more."""

    command: tuple[str, ...]
    interval: int
    timeout: int
    start_period: int
    start_interval: int
    retries: int


def wish_of(given: dict[str, Any] | None) -> HealthCheck | None:
    """From Docker's spelling, in which a wish is kept."""
    if given is None:
        return None
    known = {FIELDS[name]: value for name, value in given.items() if name in FIELDS and value is not None}
    return msgspec.convert(known, HealthCheck)


def verify(wish: HealthCheck) -> None:
    """InvalidArgument in Docker's words."""
    times = {"Interval": wish.interval, "Timeout": wish.timeout, "StartPeriod": wish.start_period, "StartInterval":
             wish.start_interval}  # fmt: skip
    for name, value in times.items():
        if value < 0 or 0 < value < MILLISECOND:
            raise errors.InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if wish.retries < 0:
        raise errors.InvalidArgument("Retries in Healthcheck cannot be negative")
    if wish.test and wish.test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise errors.InvalidArgument(f"Unknown healthcheck type '{ascii(wish.test[0])[1:-1][:40]}' (expected 'CMD')")


def merged(wish: HealthCheck | None, image: HealthCheck | None) -> HealthCheck | None:
    """The wish, and where it says nothing the image's."""
    if wish is None or image is None:
        return wish or image
    return HealthCheck(**{name: getattr(wish, name) or getattr(image, name) for name in HealthCheck.__struct_fields__})


def check_of(wish: HealthCheck | None, shell: tuple[str, ...] | None) -> Check | None:
    """None when nothing is to be run."""
    if wish is None or not wish.test or wish.test[0] == "NONE" or len(wish.test) < 2:
        return None
    command = wish.test[1:] if wish.test[0] == "CMD" else (*(shell or ("/bin/sh", "-c")), *wish.test[1:])
    return Check(
        command=command,
        interval=wish.interval or INTERVAL,
        timeout=wish.timeout or TIMEOUT,
        start_period=wish.start_period,
        start_interval=wish.start_interval or START_INTERVAL,
        retries=wish.retries or RETRIES,
    )


def wait_before(health: Health, check: Check, age: int) -> int:
    """Nanoseconds until the next probe of a container that has run for `age`."""
    starting = health.status == "starting" and age < check.start_period
    return min(check.start_interval, check.interval) if starting else check.interval


def after(health: Health, probe: Probe, check: Check, age: int) -> Health:
    """`age` is how long the container had run when the probe began."""
    log = (*health.log, probe)[-KEPT:]
    if probe.exit_code == 0:
        return Health(status="healthy", failing_streak=0, log=log)
    if health.status == "starting" and age < check.start_period:
        return msgspec.structs.replace(health, log=log)
    streak = health.failing_streak + 1
    return Health(status="unhealthy" if streak >= check.retries else health.status, failing_streak=streak, log=log)
