"""`--security-opt`, parsed. Pure.

no-new-privileges[=true|false]   seccomp=unconfined|builtin|{profile}   systempaths=unconfined
apparmor=… label=…               without effect here: told in a warning
"""

from __future__ import annotations

from typing import NamedTuple

from gorae import errors


class SecurityOptions(NamedTuple):
    """`seccomp` is "" (the engine's default), "builtin", "unconfined" or a profile's JSON text."""

    no_new_privileges: bool
    seccomp: str
    unconfined_paths: bool
    warnings: tuple[str, ...]


def parse(options: tuple[str, ...], *, no_new_privileges: bool = False) -> SecurityOptions:
    """InvalidArgument in Docker's words for what is unknown."""
    seccomp, unconfined_paths = "", False
    warnings: list[str] = []
    for option in options:
        # Docker once separated with ":"; a profile itself contains both.
        name, separator, value = option.partition("=")
        if not separator:
            name, separator, value = option.partition(":")
        match name:
            case "no-new-privileges":
                no_new_privileges = _boolean(option, value, bool(separator))
            case "seccomp":
                seccomp = value
            case "systempaths" if value == "unconfined":
                unconfined_paths = True
            case "apparmor" | "label":
                if value not in ("unconfined", "disable"):
                    warnings.append(f"--security-opt {name}: this machine has no {_module(name)}; the option has no effect")
            case _:
                raise errors.InvalidArgument(f'invalid --security-opt 2: "{ascii(option)[1:-1][:80]}"')
    return SecurityOptions(no_new_privileges, seccomp, unconfined_paths, tuple(warnings))


def _module(name: str) -> str:
    return {"apparmor": "AppArmor", "label": "SELinux"}[name]


def _boolean(option: str, value: str, given: bool) -> bool:
    if not given or value in ("true", "1", "t", "T", "TRUE", "True"):
        return True
    if value in ("false", "0", "f", "F", "FALSE", "False"):
        return False
    raise errors.InvalidArgument(f'invalid --security-opt 2: "{ascii(option)[1:-1][:80]}"')
