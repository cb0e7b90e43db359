"""The checks at create: what is refused, and what is only warned of. Pure.

A field that this engine does not honour yet is told in a warning, never taken in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gorae import errors
from gorae.engine.config import LOG_DRIVERS, Config
from gorae.engine.container import (
    capabilities,
    files,
    health_check,
    log_copies,
    modes,
    resources,
    restart_policy,
    security,
    sysctls,
)
from gorae.engine.container.facts import Facts
from gorae.engine.container.model import ContainerConfig, ExecConfig
from gorae.linux.process import signal_number

HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.\-]{0,62}[a-zA-Z0-9])?\.?", re.ASCII)  # sethostname(2): at most 64 bytes
DEVICE_RULE = re.compile(r"([acb]) ([0-9]{1,7}|\*):([0-9]{1,7}|\*) ([rwm]{1,3})", re.ASCII)
CGROUP_PARENT = re.compile(r"/?(?!\.\.?(?:/|$))[a-zA-Z0-9_.:\-]{1,200}(/(?!\.\.?(?:/|$))[a-zA-Z0-9_.:\-]{1,200}){0,15}/?", re.ASCII)
HIGHEST_ID = 2**31 - 1
RUNTIMES = ("", "gorae", "runc", "io.containerd.runc.v2")


def check(config: ContainerConfig, defaults: Config, facts: Facts) -> tuple[str, ...]:
    """The warnings. Raises InvalidArgument, Unsupported or NotFound in Docker's words where clients compare them."""
    check_texts(config)
    check_environment(config.environment)
    check_user(config.user)
    for word in config.group_add:
        check_user(word, what="group")
    _check_names(config)
    if config.stop_signal:
        parse_signal(config.stop_signal)
    if config.stop_timeout is not None and config.stop_timeout < -1:
        raise errors.InvalidArgument(f"invalid stop timeout: {config.stop_timeout}")
    restart_policy.check(config.restart_policy, auto_remove=config.auto_remove)
    modes.check(config)
    if (wish := health_check.wish_of(config.healthcheck)) is not None:
        health_check.verify(wish)
    sysctls.check(config.sysctls, modes.sharing(config))
    resources.check(config.resources, facts.cpus)
    facts.throttles(config.resources)
    if not -1000 <= config.oom_score_adj <= 1000:
        raise errors.InvalidArgument(f"Invalid value {config.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if config.cgroup_parent and not CGROUP_PARENT.fullmatch(config.cgroup_parent):
        raise errors.InvalidArgument(f"invalid cgroup parent: {ascii(config.cgroup_parent)[1:-1][:80]}: a path without '..'")
    if config.shm_size < 0:
        raise errors.InvalidArgument("SHM size can not be less than 0")
    for rule in config.device_cgroup_rules:
        if not DEVICE_RULE.fullmatch(rule):
            raise errors.InvalidArgument(f"invalid device cgroup rule format: '{ascii(rule)[1:-1]}'")
    if config.runtime not in RUNTIMES:
        raise errors.InvalidArgument(f"unknown or invalid runtime name: {ascii(config.runtime)[1:-1]}")
    options = security.parse(config.security_opt, no_new_privileges=defaults.no_new_privileges)
    log_options(config, defaults)
    return (*options.warnings, *_log_warnings(config, defaults), *_host_warnings(config, facts), *_later(config))


def check_texts(value: ContainerConfig | ExecConfig) -> None:
    """No NUL anywhere (it would cut a string short on its way into the kernel), and nothing that is not text."""
    for text in _texts(msgspec.to_builtins(value)):
        if "\0" in text:
            raise errors.InvalidArgument(f"a NUL character in {text[:60]!a}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise errors.InvalidArgument(f"not valid Unicode: {text[:60]!a}") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def check_environment(words: tuple[str, ...]) -> None:
    for word in words:
        name = word.partition("=")[0]
        if not name or any(letter < " " or letter == "\x7f" for letter in name):
            raise errors.InvalidArgument(f"invalid environment variable: {ascii(word[:80])[1:-1]}")


def check_user(user: str, what: str = "user") -> None:
    """The form only; names are looked up inside the container. An id is a plain decimal number below 2³¹ (CVE-2024-40635)."""
    for part in user.split(":", 1):
        if any(letter <= " " or letter in "\x7f:" for letter in part) or len(part) > 256:
            raise errors.InvalidArgument(f"invalid {what}: {user[:80]!a}")
        if re.fullmatch(r"[+\-]?[0-9]+", part, re.ASCII) and not (part.isdigit() and len(part) <= 10 and int(part) <= HIGHEST_ID):
            raise errors.InvalidArgument(f"invalid {what}: {user[:80]!a}: uids and gids must be in range 0-{HIGHEST_ID}")


def parse_signal(word: str) -> int:
    try:
        return signal_number(word)
    except ValueError:
        raise errors.InvalidArgument(f"invalid signal: {ascii(word)[1:-1][:40]}") from None


def _check_names(config: ContainerConfig) -> None:
    for what, name in (("hostname", config.hostname), ("domainname", config.domainname)):
        if name and not HOSTNAME.fullmatch(name):
            raise errors.InvalidArgument(f"invalid {what} format: {ascii(name)[1:-1][:80]}")
    for entry in config.extra_hosts:
        try:
            files.split_host(entry)
        except ValueError:
            raise errors.InvalidArgument(f"bad format for add-host: {ascii(entry)[:80]}") from None
    for what, words in (("dns", config.dns), ("dns option", config.dns_options), ("dns search", config.dns_search)):
        for word in words:
            if not word or any(letter <= " " or letter == "\x7f" for letter in word):
                raise errors.InvalidArgument(f"invalid {what}: {ascii(word)[:80]}")


def log_options(config: ContainerConfig, defaults: Config) -> tuple[str, dict[str, str]]:
    """(driver, options) after the daemon's defaults; InvalidArgument in Docker's words."""
    driver = config.log.driver or defaults.log_driver
    options = config.log.options if config.log.driver else defaults.log_options | config.log.options
    if driver not in LOG_DRIVERS:
        raise errors.InvalidArgument(
            f"logger: no log driver named '{ascii(driver)[1:-1]}' is registered; use {', '.join(LOG_DRIVERS)}"
        )
    log_copies.check(driver, options)
    return driver, options


def _log_warnings(config: ContainerConfig, defaults: Config) -> Iterator[str]:
    driver, options = log_options(config, defaults)
    for name in options:
        if name in log_copies.WITHOUT_EFFECT.get(driver, ()) and name in config.log.options:
            yield f"log option {name} has no effect for the log driver {driver}"


def _host_warnings(config: ContainerConfig, facts: Facts) -> Iterator[str]:
    asked = capabilities.wanted(config.cap_add, config.cap_drop, privileged=config.privileged)
    if missing := capabilities.granted(asked, facts.bounding).missing:
        yield capabilities.warning(missing)
    may_raise = facts.holds("CAP_SYS_RESOURCE")
    if config.oom_score_adj < facts.oom_score_adj and not may_raise and config.oom_score_adj:
        yield (
            f"oom_score_adj {config.oom_score_adj}: lowering it needs CAP_SYS_RESOURCE, which the engine does not hold; "
            f"left at {facts.oom_score_adj}"
        )
    yield from resources.rlimits(config.resources.ulimits, facts.limits, may_raise=may_raise)[1]


def _later(config: ContainerConfig) -> Iterator[str]:
    """What is kept for `inspect` and does nothing yet."""
    for what, given in (
        ("device requests (--gpus)", config.device_requests),
        ("storage options", config.storage_options),
        ("volume driver", config.volume_driver),
    ):
        if given:
            yield f"{what}: not honoured yet"
    if config.ipc_mode.startswith(modes.JOIN):
        yield "ipc mode container: System V objects and message queues are shared, /dev/shm is not yet"
