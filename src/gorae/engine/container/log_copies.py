"""Log drivers: what a container's output is copied to besides our own records, and with which words. Pure, but for what is asked.

    local      our own records, nothing else                       none       nothing at all
    json-file  Docker's file, LogPath of inspect                   syslog     the machine's, or one over UDP
    journald   the machine's, when it has one

`logs` reads our own records, whatever the driver (Docker calls this dual logging), but for `none`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from gorae import errors
from gorae.engine.config import parse_bytes
from gorae.engine.container.model import Container
from gorae.logs.copies import DEV_LOG, FACILITIES, JOURNAL, parse_address
from gorae.logs.copy import Copy

ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
ROTATION = ("max-size", "max-file")
ALWAYS = ("mode", "max-buffer-size")  # a copy never holds a container up: both modes are the same here
KNOWN = {
    "local": (*ROTATION, *ALWAYS, *ATTRIBUTES, "compress"),
    "json-file": (*ROTATION, *ALWAYS, *ATTRIBUTES, "compress"),
    "syslog": (*ALWAYS, *ATTRIBUTES, "syslog-address", "syslog-facility", "syslog-format"),
    "journald": (*ALWAYS, *ATTRIBUTES),
    "none": (*ALWAYS,),
}
WITHOUT_EFFECT = {"local": (*ATTRIBUTES, "compress"), "json-file": ("compress",)}
FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
TAG = "{{.ID}}"
FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
UNLIMITED = 1 << 62


def check(driver: str, options: Mapping[str, str]) -> None:
    """InvalidArgument in Docker's words."""
    for name, value in options.items():
        if name not in KNOWN[driver]:
            raise errors.InvalidArgument(f"unknown log opt '{ascii(name)[1:-1]}' for {driver} log driver")
        if name == "max-size" and parse_bytes(value) <= 0:
            raise errors.InvalidArgument("max-size must be a positive number")
        if name == "max-file" and not (value.isascii() and value.isdigit() and int(value[:9]) > 0):
            raise errors.InvalidArgument("max-file cannot be less than 1")
        if name.endswith("-regex"):
            _pattern(value)
        if name == "mode" and value not in ("blocking", "non-blocking"):
            raise errors.InvalidArgument(f"logger: invalid mode {ascii(value)[1:-1]}")
    if driver == "json-file" and int(options.get("max-file", "1")) > 1 and "max-size" not in options:
        raise errors.InvalidArgument("max-file cannot be set without max-size for json-file log driver")
    if driver == "syslog":
        _check_syslog(options)
    if driver == "journald" and not os.path.exists(JOURNAL):
        raise errors.InvalidArgument("journald is not enabled on this host: there is no " + JOURNAL)


def _check_syslog(options: Mapping[str, str]) -> None:
    address = options.get("syslog-address", f"unixgram://{DEV_LOG}")
    try:
        _, place = parse_address(address)
    except ValueError:
        raise errors.InvalidArgument(
            f"syslog-address {ascii(address)[1:-1]}: expected unix:///path, unixgram:///path or udp://host:port (tcp is not "
            "offered: a slow receiver would hold the container up)"
        ) from None
    if isinstance(place, str) and not os.path.exists(place):
        raise errors.InvalidArgument(f"syslog is not there on this host: {place} does not exist; name one with syslog-address")
    _facility(options)
    if options.get("syslog-format", "") not in FORMATS:
        raise errors.InvalidArgument(f"Invalid syslog format {ascii(options['syslog-format'])[1:-1]}")


def copy_of(container: Container, hostname: str) -> Copy | None:
    """None for a driver that needs none."""
    driver, options = container.log_driver, container.log_options
    told = attributes(container, hostname)
    tag = tag_of(container, hostname)
    if driver == "json-file":
        size = parse_bytes(options["max-size"]) if "max-size" in options else 0
        return Copy("json-file", container.log_path, max_size=size, max_file=int(options.get("max-file", "1")), fields=told)
    if driver == "syslog":
        address = options.get("syslog-address", f"unixgram://{DEV_LOG}")
        return Copy("syslog", address, tag=tag, facility=_facility(options), format=options.get("syslog-format", ""), fields=told)
    if driver == "journald":
        own = {
            "CONTAINER_ID": container.id[:12], "CONTAINER_ID_FULL": container.id, "CONTAINER_NAME": container.name,
            "CONTAINER_TAG": tag, "IMAGE_NAME": container.config.image,
        }  # fmt: skip
        more = {re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_"): value for name, value in told.items() if name != "tag"}
        return Copy("journald", f"unixgram://{JOURNAL}", tag=tag, fields={**more, **own})
    return None


def attributes(container: Container, hostname: str) -> dict[str, str]:
    """Labels and variables that the options name, and the tag when there is one."""
    options = container.log_options
    variables = {name: value for name, _, value in (word.partition("=") for word in container.environment)}
    found: dict[str, str] = {}
    for kind, values in (("labels", container.labels), ("env", variables)):
        names = {name.strip() for name in options.get(kind, "").split(",")}
        pattern = _pattern(options[f"{kind}-regex"]) if options.get(f"{kind}-regex") else None
        found |= {name: value for name, value in values.items() if name in names or (pattern and pattern.search(name))}
    if options.get("tag"):
        found["tag"] = tag_of(container, hostname)
    return found


def tag_of(container: Container, hostname: str) -> str:
    """Docker's template, of which the fields are known: {{.ID}} {{.FullID}} {{.Name}} {{.ImageName}} {{.ImageID}} …"""
    values = {
        "ID": container.id[:12], "FullID": container.id, "Name": container.name, "ImageName": container.config.image,
        "ImageID": container.image_id.removeprefix("sha256:")[:12], "ImageFullID": container.image_id, "DaemonName": "gorae",
        "Hostname": hostname, "Command": " ".join((container.path, *container.arguments)),
    }  # fmt: skip
    return FIELD.sub(lambda match: values.get(match[1], match[0]), container.log_options.get("tag", "") or TAG)


def _facility(options: Mapping[str, str]) -> int:
    word = options.get("syslog-facility", "daemon")
    if word in FACILITIES:
        return FACILITIES[word]
    if word.isascii() and word.isdigit() and int(word[:4]) <= 23:
        return int(word)
    raise errors.InvalidArgument(f"invalid syslog facility {ascii(word)[1:-1]}")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        if len(text) > 256:
            raise ValueError
        return re.compile(text)
    except (re.error, ValueError, OverflowError, RecursionError):
        raise errors.InvalidArgument(f"invalid regular expression {ascii(text)[1:-1][:80]}") from None
