"""What a word on the command line means: sizes, volumes, mounts, environments. Pure, but for the files that a flag names.

Grammars are Docker's (docs of `docker run`); wrong words raise `InvalidArgument` with what was expected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gorae.errors import InvalidArgument

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
MODES = {
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "rprivate",
    "private",
    "rshared",
    "shared",
    "rslave",
    "slave",
    "delegated",
    "cached",
    "consistent",
}
SECOND = 1_000_000_000
DURATIONS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}


def size(text: str) -> int:
    """`512m`, `1.5g`, `1024`, `2GiB` in bytes; -1 stands for "unlimited"."""
    if text == "-1":
        return -1
    number = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = number[-1:] if number[-1:] in UNITS else ""
    try:
        count = float(number.removesuffix(unit))
    except ValueError as error:
        raise InvalidArgument(f"invalid size: {text!r} (expected a number with b, k, m, g or t behind it)") from error
    if not 0 <= count < 1 << 62:
        raise InvalidArgument(f"invalid size: {text!r} is negative or too large")
    return int(count * UNITS[unit])


def nano_cpus(text: str) -> int:
    try:
        count = float(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid number of CPUs: {text!r}") from error
    if not 0 <= count < 1 << 20:
        raise InvalidArgument(f"invalid number of CPUs: {text!r}")
    return round(count * SECOND)


def duration(text: str) -> int:
    """Go's `1h30m`, `500ms`, `10s` in nanoseconds."""
    total, rest = 0.0, text.strip()
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest) - digits - len(rest[digits:].lstrip("nuµmsh"))
        unit = rest[digits : digits + letters]
        if not digits or unit not in DURATIONS:
            raise InvalidArgument(f"invalid duration: {text!r} (expected something like 1m30s)")
        total += float(rest[:digits]) * DURATIONS[unit]
        rest = rest[digits + letters :]
    return int(total)


def pairs(words: Iterable[str], what: str) -> dict[str, str]:
    """`key=value` or `key` words as a mapping; the last one wins."""
    result = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key.strip():
            raise InvalidArgument(f"invalid {what}: {word!r} has no name (expected NAME=VALUE)")
        result[key] = value
    return result


def lines_of(path: str, what: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"cannot read the {what} file {path}: {error}") from error
    return [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def environment(words: Iterable[str], files: Iterable[str], variables: Mapping[str, str] | None = None) -> list[str]:
    """`-e` and `--env-file`, in Docker's order (files first); a bare NAME takes our own value, or is left out when we have none."""
    known = os.environ if variables is None else variables
    result = []
    for word in [*(line for path in files for line in lines_of(path, "environment")), *words]:
        name, separator, _ = word.partition("=")
        if not name or any(character.isspace() for character in name):
            raise InvalidArgument(f"invalid environment variable: {word!r} (expected NAME=VALUE)")
        if separator:
            result.append(word)
        elif name in known:
            result.append(f"{name}={known[name]}")
    return result


def volume(word: str) -> tuple[str, str]:
    """`-v` as ("bind", "/host:/container[:mode]") or ("anonymous", "/container"); a relative host path is made absolute."""
    parts = word.split(":")
    if not all(parts) or len(parts) > 3:
        raise InvalidArgument(f"invalid volume: {word!r} (expected [HOST:]CONTAINER[:ro])")
    if len(parts) == 1:
        return "anonymous", parts[0]
    source, target, *mode = parts
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid volume: {word!r}: the path inside the container must be absolute")
    unknown = set(",".join(mode).split(",")) - MODES - {""}
    if unknown:
        raise InvalidArgument(f"invalid volume: {word!r}: unknown mode {', '.join(sorted(unknown))}")
    if source.startswith((".", "~")):
        source = os.path.abspath(os.path.expanduser(source))
    return "bind", ":".join([source, target, *mode])


MOUNT_KEYS = {"source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target", "type": "Type",
              "consistency": "Consistency"}  # fmt: skip


def mount(word: str) -> dict[str, Any]:
    """`--mount type=bind,source=/a,target=/b,readonly` as the API's Mount."""
    result: dict[str, Any] = {"Type": "volume"}
    options: dict[str, dict[str, Any]] = {"BindOptions": {}, "TmpfsOptions": {}, "VolumeOptions": {}}
    for field in word.split(","):
        key, separator, value = field.partition("=")
        key = key.strip().lower()
        if key in ("readonly", "ro"):
            result["ReadOnly"] = not separator or _truth(value, word)
        elif not separator and key not in ("volume-nocopy", "bind-nonrecursive"):
            raise InvalidArgument(f"invalid mount {word!r}: the field {field!r} has no value")
        elif key in MOUNT_KEYS:
            result[MOUNT_KEYS[key]] = value
        else:
            _mount_option(options, key, value, word)
    if not result.get("Target"):
        raise InvalidArgument(f"invalid mount {word!r}: target is required")
    if result["Type"] == "bind" and result.get("Source", "").startswith((".", "~")):
        result["Source"] = os.path.abspath(os.path.expanduser(result["Source"]))
    return result | {name: value for name, value in options.items() if value}


def _mount_option(options: dict[str, dict[str, Any]], key: str, value: str, word: str) -> None:
    match key:
        case "bind-propagation":
            options["BindOptions"]["Propagation"] = value
        case "bind-recursive":
            if value not in ("enabled", "disabled", "writable", "readonly"):
                raise InvalidArgument(f"invalid mount {word!r}: bind-recursive is enabled, disabled, writable or readonly")
            chosen = {"disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive", "readonly": "ReadOnlyForceRecursive"}.get(
                value
            )
            if chosen:
                options["BindOptions"][chosen] = True
        case "bind-nonrecursive":
            options["BindOptions"]["NonRecursive"] = not value or _truth(value, word)
        case "tmpfs-size":
            options["TmpfsOptions"]["SizeBytes"] = size(value)
        case "tmpfs-mode":
            if not value or value.strip("01234567"):
                raise InvalidArgument(f"invalid mount {word!r}: tmpfs-mode is an octal number such as 1777")
            options["TmpfsOptions"]["Mode"] = int(value, 8)
        case "volume-nocopy":
            options["VolumeOptions"]["NoCopy"] = not value or _truth(value, word)
        case "volume-subpath":
            options["VolumeOptions"]["Subpath"] = value
        case _:
            raise InvalidArgument(f"invalid mount {word!r}: unknown key {key!r}")


def _truth(value: str, word: str) -> bool:
    if value.lower() in ("1", "true", "t"):
        return True
    if value.lower() in ("0", "false", "f"):
        return False
    raise InvalidArgument(f"invalid mount {word!r}: {value!r} is neither true nor false")


def tmpfs(words: Iterable[str]) -> dict[str, str]:
    return {path: options for path, _, options in (word.partition(":") for word in words)}


def ulimit(word: str) -> dict[str, Any]:
    """`nofile=1024:2048`."""
    name, _, limits = word.partition("=")
    soft, separator, hard = limits.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard if separator else soft)}
    except ValueError as error:
        raise InvalidArgument(f"invalid ulimit: {word!r} (expected NAME=SOFT[:HARD])") from error


def device_rate(word: str, name: str, number: Callable[[str], int] = int) -> dict[str, Any]:
    """`/dev/sda:1mb` as {"Path": …, "Rate": …}, or {"Path": …, "Weight": …}."""
    path, _, rate = word.rpartition(":")
    try:
        value = number(rate)
    except ValueError:
        value = -1
    if not path.startswith("/dev/") or value < 0:
        raise InvalidArgument(f"bad format for path: {word} (expected /dev/DEVICE:NUMBER)")
    return {"Path": path, name: value}


def device(word: str) -> dict[str, str]:
    """`/dev/fuse[:/dev/inside][:rwm]`."""
    parts = word.split(":")
    permissions = "rwm"
    if len(parts) > 1 and not parts[-1].startswith("/"):
        permissions = parts.pop()
    if not 1 <= len(parts) <= 2 or not parts[0].startswith("/") or not permissions or set(permissions) - set("rwm"):
        raise InvalidArgument(f"invalid device: {word!r} (expected /dev/HOST[:/dev/CONTAINER][:rwm])")
    return {"PathOnHost": parts[0], "PathInContainer": parts[-1], "CgroupPermissions": permissions}


def security_options(words: Iterable[str]) -> list[str]:
    """A seccomp profile named by its path is sent as its content, as Docker's client does."""
    result = []
    for word in words:
        key, separator, value = word.partition("=")
        if key == "seccomp" and separator and value not in ("unconfined", "builtin"):
            try:
                with open(value, encoding="utf-8") as file:
                    word = f"seccomp={file.read()}"
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidArgument(f"cannot read the seccomp profile {value}: {error}") from error
        result.append(word)
    return result
