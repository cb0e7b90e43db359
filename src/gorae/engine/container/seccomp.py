"""Docker's form of a seccomp profile to the specification's. Pure.

    {"defaultAction", "defaultErrnoRet", "archMap": [{"architecture", "subArchitectures"}], "architectures", "flags",
     "syscalls": [{"name" or "names", "action", "errnoRet", "args", "includes": {"caps", "arches", "minKernel"}, "excludes": {…}}]}

A rule counts when the machine is what `includes` says, the container has all of its capabilities, and nothing of `excludes`
holds. A profile without these extras is the specification's own, so both are accepted.
"""

from __future__ import annotations

import re
from typing import Any

from gorae import errors
from gorae.oci import codec
from gorae.oci.json import read_json
from gorae.oci.runtimespec import Seccomp
from gorae.oci.seccomp_profile import profile

LIMIT = 1 << 20
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}
NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "riscv64": "SCMP_ARCH_RISCV64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
}


def choose(words: tuple[str, str], *, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> Seccomp | None:
    """The filter for the first of `words` that is not "":

    "unconfined", "builtin", or a profile's JSON text. Both "": the built-in one.
    """
    word = words[0] or words[1] or "builtin"
    if word == "unconfined":
        return None
    if word in ("builtin", "default"):
        return profile(capabilities, machine, kernel)
    return parse(word, capabilities=capabilities, machine=machine, kernel=kernel)


def parse(text: str, *, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> Seccomp:
    """InvalidArgument (`decoding seccomp profile failed: …`) for what is no profile."""
    try:
        document = read_json(text.encode(), "seccomp profile", LIMIT)
        if not isinstance(document, dict):
            raise errors.InvalidArgument("seccomp profile: an object is expected")
        return codec.decode(Seccomp, _flattened(document, capabilities, machine, kernel), "seccomp profile")
    except errors.InvalidArgument as error:
        raise errors.InvalidArgument(f"decoding seccomp profile failed: {error}") from error


def _flattened(document: dict[str, Any], capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> dict[str, Any]:
    flat = {
        key: document[key]
        for key in ("defaultAction", "defaultErrnoRet", "architectures", "flags")
        if document.get(key) is not None
    }
    for entry in _objects(document, "archMap"):
        if entry.get("architecture") == NATIVE.get(machine):
            flat["architectures"] = [entry["architecture"], *(entry.get("subArchitectures") or [])]
    rules = []
    for rule in _objects(document, "syscalls"):
        if _holds(rule.get("includes"), capabilities, machine, kernel) and not _excluded(
            rule.get("excludes"), capabilities, machine, kernel
        ):
            names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
            rules.append({key: rule[key] for key in ("action", "errnoRet", "args") if rule.get(key) is not None} | {"names": names})
    return flat | {"syscalls": rules}


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise errors.InvalidArgument(f"seccomp profile: {key}: an array of objects is expected")
    return entries


def _condition(condition: object) -> dict[str, Any]:
    if not isinstance(condition, dict):
        raise errors.InvalidArgument("seccomp profile: includes, excludes: an object is expected")
    return condition


def _holds(condition: object, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> bool:
    if not condition:
        return True
    wanted = _condition(condition)
    arches = wanted.get("arches")
    return (
        (not arches or GO_ARCHITECTURES.get(machine) in arches)
        and all(name in capabilities for name in wanted.get("caps") or ())
        and (not wanted.get("minKernel") or kernel >= _version(wanted["minKernel"]))
    )


def _excluded(condition: object, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> bool:
    if not condition:
        return False
    unwanted = _condition(condition)
    return bool(
        GO_ARCHITECTURES.get(machine) in (unwanted.get("arches") or ())
        or any(name in capabilities for name in unwanted.get("caps") or ())
        or (unwanted.get("minKernel") and kernel >= _version(unwanted["minKernel"]))
    )


def _version(text: object) -> tuple[int, int]:
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", str(text), re.ASCII)
    if match is None:
        raise errors.InvalidArgument(f"seccomp profile: minKernel {text!a}: MAJOR.MINOR is expected")
    return int(match[1]), int(match[2])
