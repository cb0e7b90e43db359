"""The steps of a birth, as the supervisor reported them → `GET /gorae/containers/{id}/birth`.

    {"Steps": [{"Phase": "before", "Call": "mkdir", "What": "…", "Why": "…", "Nanoseconds": 38000}, …], "Nanoseconds": …}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from gorae.linux import mount, namespace
from gorae.wire.codec import Shape


def _named_bits(module: ModuleType, prefix: str) -> dict[int, str]:
    found = {value: name for name, value in vars(module).items() if name.startswith(prefix) and isinstance(value, int)}
    return {value: name for value, name in found.items() if value.bit_count() == 1}


CLONE_FLAGS = _named_bits(namespace, "CLONE_")
MOUNT_FLAGS = _named_bits(mount, "MS_")
UNMOUNT_FLAGS = _named_bits(mount, "MNT_")


class Step(Shape, frozen=True, kw_only=True):
    phase: str
    call: str
    what: str
    why: str
    nanoseconds: int | None


class Birth(Shape, frozen=True, kw_only=True):
    steps: list[Step]
    nanoseconds: int


# The parent's and the child's steps overlap in time; they are told in this order.
PHASES = ("before", "clone", "beside", "child")


def birth(steps: Sequence[Mapping[str, Any]]) -> Birth:
    """`steps` in the order of their ends, each with the side (parent or child) that took it."""
    shown: list[Step] = []
    born = False
    for step in steps:
        call = str(step.get("call", ""))
        phase = "child" if step.get("side") == "child" else "beside" if born else "clone" if call.startswith("clone") else "before"
        born = born or phase in ("clone", "child")
        shown.append(
            Step(
                phase=phase,
                call=call,
                what=what([_named(call, argument) for argument in step.get("arguments", ())]),
                why=str(step.get("reason", "")),
                nanoseconds=step.get("nanoseconds"),
            )
        )
    shown.sort(key=lambda step: PHASES.index(step.phase))
    return Birth(steps=shown, nanoseconds=sum(step.nanoseconds or 0 for step in shown))


def _named(call: str, argument: object) -> object:
    """Flags by their names in the kernel's headers, modes in octal."""
    if call == "restrict_devices" and isinstance(argument, list | tuple):
        return ", ".join(dict.fromkeys(_device_rule(*rule) for rule in argument))
    if type(argument) is not int or not argument:
        return argument
    if call in ("clone3", "unshare"):
        return _flags(argument, CLONE_FLAGS)
    if call == "umount2":
        return _flags(argument, UNMOUNT_FLAGS)
    if "mount" in call or call.startswith("bind"):
        return _flags(argument, MOUNT_FLAGS)
    # A device's mode has its type in it, so that it is larger than its numbers.
    if call == "umask" or (call == "mknod_in_root" and argument > 0o7777):
        return f"0{argument:o}"
    return argument


def _device_rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str | None) -> str:
    """`allow c 1:3 rwm`, as the device cgroup's own files have it."""
    number = "" if kind == "a" else f" {'*' if major is None else major}:{'*' if minor is None else minor}"
    return f"{'allow' if allow else 'deny'} {kind}{number} {access or 'rwm'}"


def _flags(value: int, names: Mapping[int, str]) -> str:
    """`MS_NOSUID|MS_NODEV`; what has no name stays a number."""
    found = [name for flag, name in names.items() if value & flag == flag]
    rest = value & ~sum(flag for flag in names if value & flag == flag)
    return "|".join([*found, *([hex(rest)] if rest else [])])


def what(arguments: object) -> str:
    """Arguments as a person writes them: words bare, the rest as `name=value` or as a list."""
    if isinstance(arguments, Mapping):
        return " ".join(f"{name}={what(value)}" for name, value in arguments.items() if value not in (None, "", [], {}))
    if isinstance(arguments, list | tuple):
        return " ".join(what(item) for item in arguments if item not in (None, "", [], {}))
    text = str(arguments)
    return text if len(text) <= 400 else f"{text[:399]}…"
