"""Who runs the daemon, and what it may do."""

from __future__ import annotations

from collections.abc import Iterator

from gorae.linux import capability
from gorae.preflight.facts import Facts
from gorae.preflight.finding import Finding

# What a birth itself uses.
NEEDED = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD", "CAP_NET_ADMIN", "CAP_SETGID", "CAP_SETPCAP",
    "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT",
)  # fmt: skip

# The rest of what containers get by default.
DEFAULT = ("CAP_AUDIT_WRITE", "CAP_FSETID", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP")

LOST = {
    "CAP_SYS_RESOURCE": "raising limits (--ulimit) above the daemon's own, negative --oom-score-adj",
    "CAP_SYS_PTRACE": "replacing a crashed supervisor, top of another user's container",
    "CAP_DAC_READ_SEARCH": "reading files that root may not read on network file systems",
}


def evaluate(facts: Facts) -> Iterator[Finding]:
    yield user(facts)
    yield capabilities(facts)


def user(facts: Facts) -> Finding:
    if facts.user_id != 0:
        return Finding("user", "fail", f"user {facts.user_id}: the daemon needs root", "run it, and this check, as root (sudo)")
    if facts.nested_user_namespace:
        detail = "root of a user namespace, not of the machine: devices and some mounts are out of reach"
        return Finding("user", "warn", detail, "run outside of it")
    return Finding("user", "ok", "root")


def capabilities(facts: Facts) -> Finding:
    missing = [name for name in NEEDED if not _has(facts.effective, name)]
    if missing:
        return Finding("capabilities", "fail", f"missing: {', '.join(missing)}", "run as root with these capabilities")
    unavailable = [name for name in DEFAULT if not _has(facts.effective & facts.bounding, name)]
    if unavailable:
        detail = f"containers will lack {', '.join(unavailable)}, which they have by default"
        return Finding("capabilities", "warn", detail, "give them to the daemon")
    known = [name for name, number in capability.NAMES.items() if number <= facts.last_capability]
    absent = [name for name in known if not _has(facts.bounding, name)]
    if absent:
        lost = [LOST[name] for name in absent if name in LOST]
        detail = f"without {', '.join(absent)}: not even --privileged gives more" + "".join(f"; lost: {text}" for text in lost)
        return Finding("capabilities", "warn", detail, "give them to the daemon if they are needed")
    return Finding("capabilities", "ok", "all that a birth and the defaults of a container need")


def _has(mask: int, name: str) -> bool:
    return bool(mask >> capability.NAMES[name] & 1)
