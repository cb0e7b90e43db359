"""Platforms: `os/architecture[/variant]`, their many spellings, and which image runs where.

    x86_64 x86-64            amd64         (variant v1 is none)
    i386 i486 i586 i686      386
    aarch64, arm64/v8        arm64         (variant v8 is none)
    arm, armhf, armv7l       arm/v7
    armel, armv6l            arm/v6

A machine also runs what came before it: arm/v7 runs v6 and v5, arm64 runs arm/v8 and older, amd64/v3 runs v2 and plain, amd64
runs 386.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gorae.errors import InvalidArgument
from gorae.oci.codec import named

_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# spelling: (architecture, variant when none is given)
_SPELLINGS = {
    **dict.fromkeys(("x86_64", "x86-64", "amd64"), ("amd64", "")),
    **dict.fromkeys(("i386", "i486", "i586", "i686", "386"), ("386", "")),
    **dict.fromkeys(("aarch64", "arm64"), ("arm64", "")),
    **dict.fromkeys(("arm", "armhf", "armv7l"), ("arm", "v7")),
    **dict.fromkeys(("armel", "armv6l"), ("arm", "v6")),
}
_ARCHITECTURES = frozenset(
    {*_SPELLINGS, "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"}
)
_SYSTEMS = frozenset(
    {"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "solaris", "illumos", "aix", "wasi"}
)


@dataclass(frozen=True)
class Platform:
    architecture: str
    os: str
    os_version: str | None = named("os.version", None)
    os_features: tuple[str, ...] = named("os.features", ())
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(platform: Platform) -> Platform:
    """One spelling for each platform; `variant` is None where it is the usual one."""
    architecture = platform.architecture.lower()
    architecture, usual = _SPELLINGS.get(architecture, (architecture, ""))
    variant = (platform.variant or usual).lower()
    if architecture == "arm" and variant.isdecimal():
        variant = f"v{variant}"
    if (architecture, variant) in (("amd64", "v1"), ("arm64", "v8"), ("arm64", "8")):
        variant = ""
    system = platform.os.lower()
    return replace(platform, os="darwin" if system == "macos" else system, architecture=architecture, variant=variant or None)


def parse(text: str, default: Platform) -> Platform:
    """`linux/arm/v7`, `arm64` or `linux`; what is missing comes from `default` (this machine)."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgument(f"invalid platform {text[:80]!a}: it must be os/architecture[/variant]")
    if len(parts) > 1:
        return normalise(Platform(parts[1], parts[0], variant=parts[2] if len(parts) == 3 else None))
    word = parts[0].lower()
    if word in _SYSTEMS or word == "macos":
        return normalise(replace(default, os=word, os_version=None, os_features=()))
    if word in _ARCHITECTURES:
        return normalise(Platform(word, default.os))
    raise InvalidArgument(f"unknown operating system or architecture {text[:80]!a}: a platform is os/architecture[/variant]")


def of_machine(machine: str) -> Platform:
    """The platform of `uname -m`."""
    return normalise(Platform(machine, "linux"))


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well an image for `offered` runs on `wanted`: 0 is best, None is not at all."""
    first, second = normalise(wanted), normalise(offered)
    if first.os != second.os:
        return None
    kind = (second.architecture, second.variant)
    runs = _runs(first.architecture, first.variant)
    return runs.index(kind) if kind in runs else None


def best(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """The index of the best offer (the first of equals). An offer without a platform is taken only when nothing else fits."""
    ranks = [(rank(wanted, each), index) for index, each in enumerate(offered) if each is not None]
    fitting = [(value, index) for value, index in ranks if value is not None]
    if fitting:
        return min(fitting)[1]
    return next((index for index, each in enumerate(offered) if each is None), None)


def _runs(architecture: str, variant: str | None) -> list[tuple[str, str | None]]:
    if architecture == "arm":
        return [("arm", each) for each in _down_from(variant, 5)] or [("arm", variant)]
    if architecture == "arm64":
        newer: list[tuple[str, str | None]] = [("arm64", variant)] if variant else []
        return [*newer, ("arm64", None), *(("arm", f"v{number}") for number in (8, 7, 6, 5))]
    if architecture == "amd64":
        return [*(("amd64", each) for each in _down_from(variant, 2)), ("amd64", None), ("386", None)]
    return [(architecture, variant), (architecture, None)] if variant else [(architecture, None)]


def _down_from(variant: str | None, lowest: int) -> list[str]:
    number = variant[1:] if variant else ""
    if not number.isdecimal() or len(number) > 2:
        return []
    return [f"v{each}" for each in range(int(number), lowest - 1, -1)]
