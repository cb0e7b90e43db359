"""The kernel: its age, the calls a birth is made of, namespaces, file systems, filters, rules.

What stops a birth is `fail`; what has a slower or poorer way around it is `warn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gorae.linux.namespace import KINDS
from gorae.linux.system import parse_release
from gorae.preflight.facts import Facts
from gorae.preflight.finding import Finding, Status

OLDEST = (3, 10)
MACHINES = ("x86_64", "aarch64", "arm64")


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    calls: frozenset[str]
    since: tuple[int, int]
    without: Status
    purpose: str
    lost: str


FEATURES: tuple[Feature, ...] = (
    Feature(
        "mount descriptors",
        frozenset({"open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"}),
        (5, 2),
        "fail",
        "mounts go to descriptors, which no link can lead astray",
        "no container can be started",
    ),
    Feature(
        "mount attributes",
        frozenset({"mount_setattr"}),
        (5, 12),
        "fail",
        "read-only trees and masks in one call",
        "no container can be started",
    ),
    Feature(
        "pidfd",
        frozenset({"pidfd_open", "pidfd_send_signal"}),
        (5, 3),
        "fail",
        "processes are watched and signalled without mistaking one for another",
        "no container can be started",
    ),
    Feature(
        "openat2",
        frozenset({"openat2"}),
        (5, 6),
        "fail",
        "paths are resolved inside a container's root by the kernel",
        "sysctls cannot be written safely, and paths are walked one component at a time",
    ),
    Feature(
        "clone3",
        frozenset({"clone3"}),
        (5, 3),
        "warn",
        "a process is born in all its namespaces at once",
        "clone takes its place: no time namespaces, no birth inside a cgroup",
    ),
    Feature(
        "close_range",
        frozenset({"close_range"}),
        (5, 9),
        "warn",
        "no descriptor reaches the program",
        "descriptors are closed one by one: slower starts",
    ),
    Feature(
        "keyrings",
        frozenset({"keyctl"}),
        (2, 6),
        "warn",
        "each container has a session keyring of its own",
        "containers share the session keyring of the daemon",
    ),
)

# Without a value: a container without this namespace is none. The others are lost as their text says.
NAMESPACES: dict[str, str] = {
    "mount": "",
    "pid": "",
    "network": "",
    "ipc": "",
    "uts": "",
    "user": "no user mapping (--userns, userns-remap)",
    "cgroup": "containers see the path of their cgroup on the host",
    "time": "no time offsets",
}


def evaluate(facts: Facts) -> Iterator[Finding]:
    yield age(facts)
    yield machine(facts)
    for feature in FEATURES:
        yield of_feature(feature, facts)
    yield exit_status(facts)
    yield from namespaces(facts)
    yield from filesystems(facts)
    yield seccomp(facts)
    yield nftables(facts)


def age(facts: Facts) -> Finding:
    version = parse_release(facts.kernel_release)
    wanted = max(feature.since for feature in FEATURES if feature.without == "fail")
    if version < OLDEST:
        return Finding("kernel", "fail", f"Linux {facts.kernel_release} is too old", f"upgrade to Linux {_dotted(wanted)} or newer")
    if version < wanted:
        detail = f"Linux {facts.kernel_release}: some calls below came later"
        return Finding("kernel", "warn", detail, f"upgrade to Linux {_dotted(wanted)} or newer")
    return Finding("kernel", "ok", f"Linux {facts.kernel_release}")


def machine(facts: Facts) -> Finding:
    detail = f"{facts.machine}, {facts.pointer_bits}-bit Python"
    if facts.machine in MACHINES and facts.pointer_bits == 64:
        return Finding("machine", "ok", detail)
    if facts.machine in MACHINES:
        return Finding("machine", "fail", detail, "run a 64-bit Python")
    return Finding("machine", "fail", f"{detail}: not supported", "use a 64-bit x86 or ARM machine (x86_64, aarch64)")


def of_feature(feature: Feature, facts: Facts) -> Finding:
    missing = sorted(feature.calls - facts.calls)
    if not missing:
        return Finding(feature.name, "ok", feature.purpose)
    detail = f"{', '.join(missing)} missing: {feature.lost}"
    if parse_release(facts.kernel_release) >= feature.since:
        advice = "the kernel is new enough: a seccomp filter or its configuration takes it away"
        return Finding(feature.name, feature.without, detail, advice)
    return Finding(feature.name, feature.without, detail, f"upgrade to Linux {_dotted(feature.since)} or newer")


def exit_status(facts: Facts) -> Finding:
    if facts.exit_status_by_pidfd:
        return Finding("exit status by pidfd", "ok", "exit codes survive the death of the supervisor")
    return Finding(
        "exit status by pidfd",
        "warn",
        "the exit code of a container that ends while the supervisor is being replaced is lost",
        "Linux 6.15 or newer tells it",
    )


def namespaces(facts: Facts) -> Iterator[Finding]:
    for kind in KINDS:
        name = f"namespace {kind.oci}"
        lost = NAMESPACES[kind.oci]
        if kind.oci in facts.namespaces:
            yield Finding(name, "ok", "available")
        elif lost:
            yield Finding(name, "warn", f"missing: {lost}", f"Linux {_dotted(kind.since)} or newer, built with it")
        else:
            yield Finding(name, "fail", "missing: no container can be started", "use a kernel that is built with it")


def filesystems(facts: Facts) -> Iterator[Finding]:
    if "overlay" in facts.filesystems:
        yield Finding("overlay", "ok", "images are shared, containers write to a layer of their own")
    else:
        advice = "load the module (modprobe overlay), or use a kernel with it"
        yield Finding("overlay", "fail", "missing: images cannot be mounted", advice)
    missing = sorted({"proc", "sysfs", "tmpfs", "devpts"} - facts.filesystems)
    if missing:
        yield Finding("file systems", "fail", f"missing: {', '.join(missing)}", "use a kernel that is built with them")
    elif "mqueue" not in facts.filesystems:
        yield Finding("file systems", "warn", "missing: mqueue (/dev/mqueue)", "use a kernel with CONFIG_POSIX_MQUEUE")
    else:
        yield Finding("file systems", "ok", "proc, sysfs, tmpfs, devpts, mqueue")


def seccomp(facts: Facts) -> Finding:
    if not facts.seccomp_actions:
        detail = "missing: nothing would keep containers from dangerous system calls"
        return Finding("seccomp", "fail", detail, "use a kernel with CONFIG_SECCOMP_FILTER")
    inside = "; this shell is already under a filter" if facts.filtered else ""
    if "kill_process" not in facts.seccomp_actions:
        return Finding("seccomp", "ok", f"filters, without newer actions (Linux 4.14){inside}")
    return Finding("seccomp", "ok", f"filters with {', '.join(sorted(facts.seccomp_actions))}{inside}")


def nftables(facts: Facts) -> Finding:
    if facts.nftables:
        return Finding("nftables", "ok", "networks can be isolated and ports published")
    lost = "no bridge networks and no published ports, only the networks none and host"
    if facts.nftables is None:
        return Finding("nftables", "warn", "not known: this user may not ask", "run the check as root")
    return Finding("nftables", "warn", f"missing: {lost}", "load the module (modprobe nf_tables), or use a kernel with it")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
