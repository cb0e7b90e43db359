"""What the program may do: limits, capabilities, seccomp. The order is the point, and is runc's.

    seccomp               first, when set-user-ID programs stay allowed: loading a filter then needs CAP_SYS_ADMIN
    bounding set          what no execve gives back                    (needs CAP_SETPCAP)
    keepcaps              or the next step would lose everything
    groups, user
    capset, ambient       exactly the asked-for sets; inheritable only as asked (Docker: never, CVE-2022-29162)
    no_new_privs
    seccomp               last, when no_new_privs makes it possible: it sees the fewest of our own calls
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import capability, keyring, libc, process, seccomp
from gorae.runtime.seccomp import compiler
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Process, Scheduler, Spec
    from gorae.runtime.scene import Scene

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1,
    "SCHED_FLAG_RECLAIM": 2,
    "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}
IOPRIO = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
MASK = (1 << 64) - 1


def plan(given: Process, spec: Spec, machine: str) -> Iterator[Step]:
    """From "root of the container" to what the program will be; what comes after may need no right at all."""
    linux = spec.linux
    filtering = linux is not None and linux.seccomp is not None
    early = filtering and not given.noNewPrivileges
    yield from _scheduling(given)
    for limit in given.rlimits:
        yield Step("prlimit", (limit.type, limit.soft, limit.hard), "a resource limit that was asked for")
    if early:
        yield _filter(spec, machine)
    sets = given.capabilities
    bounding = sets.bounding if sets else ()
    yield Step("drop_bounding", (bounding,), "no program it starts, set-user-ID or not, ever has more than these")
    yield Step("set_keepcaps", (True,), "or the change of user would lose all capabilities at once")
    yield Step("set_ids", (), "groups, group, user")
    yield Step("set_keepcaps", (False,), "that was for this one change")
    yield Step(
        "capset",
        (sets.effective, sets.permitted, sets.inheritable, sets.ambient) if sets else ((), (), (), ()),
        "what root is allowed here; for another user what survives",
    )
    if given.noNewPrivileges:
        yield Step("set_no_new_privs", (), "set-user-ID programs give nothing")
        if filtering:
            yield _filter(spec, machine)


def _filter(spec: Spec, machine: str) -> Step:
    assert spec.linux is not None
    assert spec.linux.seccomp is not None
    profile = spec.linux.seccomp
    return Step(
        "seccomp",
        (compiler.compile(profile, machine), compiler.flags(profile)),
        "system calls that containers have no use for are refused",
    )


def _scheduling(given: Process) -> Iterator[Step]:
    if given.scheduler is not None:
        yield Step("sched_setattr", (_attributes(given.scheduler),), f"scheduling policy {given.scheduler.policy}")
    if given.ioPriority is not None:
        value = IOPRIO[given.ioPriority.class_] << 13 | given.ioPriority.priority
        yield Step("ioprio_set", (value,), given.ioPriority.class_)


def _attributes(wanted: Scheduler) -> bytes:
    """struct sched_attr, the first 48 bytes."""
    flags = sum(SCHED_FLAGS.get(flag, 0) for flag in set(wanted.flags))
    priority = wanted.priority or 0
    return struct.pack(
        "=IIQiIQQQ",
        48,
        POLICIES[wanted.policy],
        flags,
        wanted.nice or 0,
        priority,
        wanted.runtime or 0,
        wanted.deadline or 0,
        wanted.period or 0,
    )


def surroundings(given: Process, spec: Spec, context: Context) -> Iterator[Step]:
    """Early, with all rights: a key ring, the execution domain."""
    if context.new_keyring:
        yield Step("join_session_keyring", (f"_ses.{context.id}",), "the machine's keys cannot be searched")
    if spec.linux and spec.linux.personality:
        yield Step(
            "personality", (PERSONALITIES[spec.linux.personality.domain],), f"the execution domain {spec.linux.personality.domain}"
        )
    if writes_attributes(given):
        yield Step(
            "write_attribute", ("attr/apparmor/exec", f"exec {given.apparmorProfile}"), "AppArmor confines it from execve on"
        )


def writes_attributes(given: Process) -> bool:
    return given.apparmorProfile not in (None, "", "unconfined")


# What follows runs in the child.


def prlimit(scene: Scene, name: str, soft: int, hard: int) -> None:
    try:
        process.set_rlimit(process.RLIMITS[name], soft & MASK, hard & MASK)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        has = process.get_rlimit(process.RLIMITS[name])[1]
        raise libc.failure(
            "prlimit", errno.EPERM, name, f"{hard} is above the hard limit {has} here, and CAP_SYS_RESOURCE is missing"
        ) from None


def drop_bounding(scene: Scene, kept: tuple[str, ...]) -> None:
    """What is asked for and cannot be had is warned of, as the OCI specification says."""
    has = scene.bounding if scene.bounding >= 0 else capability.bounding()
    wanted = _mask(kept)
    missing = capability.names(wanted & ~has)
    if missing:
        scene.warnings.append(f"capabilities that this machine cannot grant: {' '.join(missing)}")
    for number in range(has.bit_length()):
        if has & ~wanted & 1 << number:
            libc.call("prctl", 24, number)  # PR_CAPBSET_DROP


def _mask(names: tuple[str, ...]) -> int:
    return sum(1 << capability.NAMES[name] for name in set(names) if name in capability.NAMES)


def capset(
    scene: Scene, effective: tuple[str, ...], permitted: tuple[str, ...], inheritable: tuple[str, ...], ambient: tuple[str, ...]
) -> None:
    has = capability.get().permitted
    may = _mask(permitted) & has
    capability.clear_ambient()
    capability.set(_mask(effective) & may, may, _mask(inheritable) & has)
    capability.raise_ambient(_mask(ambient) & may & _mask(inheritable))


def join_session_keyring(scene: Scene, name: str) -> None:
    try:
        keyring.join_session_keyring(name)
    except OSError as error:
        # No keys in this kernel, or none allowed by a filter around us: then there are none to be found either.
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise
        if error.errno == errno.EDQUOT:
            scene.warnings.append("no session key ring of its own: the user has too many keys (kernel.keys.maxkeys)")


def set_umask(scene: Scene, mask: int) -> None:
    os.umask(mask)


DEEDS: dict[str, Callable[..., object]] = {
    "prlimit": prlimit,
    "drop_bounding": drop_bounding,
    "set_keepcaps": lambda scene, on: process.set_keepcaps(on),
    "capset": capset,
    "set_no_new_privs": lambda scene: process.set_no_new_privs(),
    "seccomp": lambda scene, program, flags: seccomp.install(program, flags),
    "sched_setattr": lambda scene, attributes: libc.call("sched_setattr", 0, attributes, 0),
    "ioprio_set": lambda scene, value: libc.call("ioprio_set", 1, 0, value),
    "join_session_keyring": join_session_keyring,
    "personality": lambda scene, domain: libc.call("personality", domain),
    "umask": set_umask,
}
