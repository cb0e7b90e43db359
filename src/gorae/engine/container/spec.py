"""A container, the machine and what was found at start → the OCI specification and the runtime's context. Pure.

    Container ─┐                       ┌─ process   args env cwd user capabilities rlimits
    Facts ─────┼─▶ specification() ─▶ ─┼─ mounts    Docker's defaults, then the container's own, by depth
    Found ─────┘                       └─ linux     namespaces resources devices seccomp masked read-only sysctl

The defaults are Docker's (14 capabilities, its seccomp profile in effect, ten standard devices without tun, masked and read-
only paths of 2026), with a cgroup namespace and, where the kernel has it, a time namespace of the container's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gorae.engine.config import Config
from gorae.engine.container import capabilities, merge, mounts, resources, seccomp, security, sysctls
from gorae.engine.container.facts import Facts
from gorae.engine.container.model import Container, ContainerConfig, ExecConfig, Ulimit
from gorae.engine.container.modes import Sharing, sharing
from gorae.engine.container.options import DEVICE_RULE
from gorae.oci import runtimespec
from gorae.oci.runtimespec import DeviceRule, Namespace
from gorae.supervisor.protocol import Context, RootMount

OCI_VERSION = "1.2.0"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Making any node is allowed (and harmless: opening it is not); then null zero full random urandom tty console ptmx and the pts.
DEVICE_RULES = (
    DeviceRule(allow=False, type="a", access="rwm"),
    DeviceRule(allow=True, type="c", access="m"),
    DeviceRule(allow=True, type="b", access="m"),
    *(
        DeviceRule(allow=True, type="c", major=major, minor=minor, access="rwm")
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
    ),
)
EVERY_DEVICE = (DeviceRule(allow=True, type="a", access="rwm"),)


@dataclass(frozen=True)
class Found:
    """What only the moment of start tells. `joined`: kind → /proc/PID/ns/…; `devices`: nodes and the access each gets."""

    joined: dict[str, str] = field(default_factory=dict)
    devices: tuple[tuple[runtimespec.Device, str], ...] = ()
    throttles: resources.Throttles = resources.NO_THROTTLES
    rootfs: tuple[RootMount, ...] = ()
    root: str = "/"  # an empty directory on which the root file system is put together


def specification(container: Container, defaults: Config, facts: Facts, found: Found) -> runtimespec.Spec:
    config = container.config
    shared = sharing(config)
    granted = _granted(config, facts)
    return runtimespec.Spec(
        ociVersion=OCI_VERSION,
        process=_process(container, defaults, facts, granted),
        root=runtimespec.Root(path=found.root, readonly=config.read_only),
        hostname=None if shared.uts == "host" else container.hostname or None,
        domainname=None if shared.uts == "host" else config.domainname or None,
        mounts=mounts.mounts(container, shared, facts, shm_size=config.shm_size or defaults.default_shm_size),
        annotations=dict(config.annotations),
        linux=_linux(container, defaults, facts, found, shared, granted),
    )


def context(container: Container, defaults: Config, found: Found) -> Context:
    """What the specification cannot say. Docker's default user is uid 0 as passwd and group have it, with root's groups."""
    config = container.config
    return Context(
        rootfs=found.rootfs,
        user=container.user or "0",
        groups=tuple(word for word in config.group_add if not word.isdigit()),
        init=defaults.init if config.init is None else config.init,
        cgroup=cgroup_path(container, defaults),
    )


def cgroup_path(container: Container, defaults: Config) -> str:
    parent = container.config.cgroup_parent
    return f"{'/' + parent.strip('/') if parent else defaults.cgroup_parent}/{container.id}"


def exec_process(container: Container, wish: ExecConfig, defaults: Config, facts: Facts) -> runtimespec.Process:
    """What `exec` runs: the container's own process with another command, and what the wish changes."""
    granted = _granted(container.config, facts)
    if wish.privileged:
        granted = capabilities.granted(capabilities.wanted((), (), privileged=True), facts.bounding).names
    words = _defaults(container, wish.tty)
    height, width = wish.console_size
    return runtimespec.Process(
        args=wish.command,
        env=merge.overlaid(words, (*container.environment, *wish.environment)),
        cwd=merge.working_directory(wish.working_directory) or container.working_directory or "/",
        terminal=wish.tty,
        consoleSize=runtimespec.Box(height=height, width=width) if wish.tty and (height or width) else None,
        capabilities=_sets(granted),
        noNewPrivileges=_no_new_privileges(container.config, defaults),
        rlimits=_rlimits(container.config, defaults, facts),
        oomScoreAdj=_oom_score_adj(container.config, facts),
    )


def _process(container: Container, defaults: Config, facts: Facts, granted: tuple[str, ...]) -> runtimespec.Process:
    config = container.config
    height, width = config.console_size
    return runtimespec.Process(
        args=(container.path, *container.arguments),
        env=merge.overlaid(_defaults(container, config.tty), container.environment),
        cwd=container.working_directory or "/",
        terminal=config.tty,
        consoleSize=runtimespec.Box(height=height, width=width) if config.tty and (height or width) else None,
        user=runtimespec.User(additionalGids=tuple(int(word) for word in config.group_add if word.isdigit())),
        capabilities=_sets(granted),
        noNewPrivileges=_no_new_privileges(config, defaults),
        rlimits=_rlimits(config, defaults, facts),
        oomScoreAdj=_oom_score_adj(config, facts),
    )


def _defaults(container: Container, tty: bool) -> tuple[str, ...]:
    return (PATH, f"HOSTNAME={container.hostname}", *(("TERM=xterm",) if tty else ()))


def _granted(config: ContainerConfig, facts: Facts) -> tuple[str, ...]:
    wanted = capabilities.wanted(config.cap_add, config.cap_drop, privileged=config.privileged)
    return capabilities.granted(wanted, facts.bounding).names


def _no_new_privileges(config: ContainerConfig, defaults: Config) -> bool:
    return security.parse(config.security_opt, no_new_privileges=defaults.no_new_privileges).no_new_privileges


def _sets(names: tuple[str, ...]) -> runtimespec.Capabilities:
    # Inheritable and ambient stay empty: CVE-2022-29162 and its kin.
    return runtimespec.Capabilities(bounding=names, effective=names, permitted=names)


def _rlimits(config: ContainerConfig, defaults: Config, facts: Facts) -> tuple[runtimespec.Rlimit, ...]:
    own = {limit.name for limit in config.resources.ulimits}
    given = tuple(
        Ulimit(name=name, soft=int(value.get("Soft", value.get("Hard", 0))), hard=int(value.get("Hard", value.get("Soft", 0))))
        for name, value in defaults.default_ulimits.items()
        if name not in own
    )
    return resources.rlimits((*config.resources.ulimits, *given), facts.limits, may_raise=facts.holds("CAP_SYS_RESOURCE"))[0]


def _oom_score_adj(config: ContainerConfig, facts: Facts) -> int | None:
    value = config.oom_score_adj
    if value == 0 or (value < facts.oom_score_adj and not facts.holds("CAP_SYS_RESOURCE")):
        return None
    return value


def _linux(
    container: Container, defaults: Config, facts: Facts, found: Found, shared: Sharing, granted: tuple[str, ...]
) -> runtimespec.Linux:
    config = container.config
    options = security.parse(config.security_opt)
    filter_words = ("unconfined" if config.privileged and not options.seccomp else options.seccomp, defaults.seccomp_profile)
    open_paths = config.privileged or options.unconfined_paths
    return runtimespec.Linux(
        namespaces=namespaces(shared, found.joined, facts),
        resources=resources.translate(config.resources, device_rules(config, found), found.throttles),
        cgroupsPath=cgroup_path(container, defaults),
        devices=tuple(node for node, _ in found.devices),
        seccomp=seccomp.choose(filter_words, capabilities=frozenset(granted), machine=facts.machine, kernel=facts.kernel),
        rootfsPropagation="private",
        sysctl=sysctls.chosen(config.sysctls, shared),
        maskedPaths=() if open_paths else (*MASKED, *facts.thermal) if config.masked_paths is None else config.masked_paths,
        readonlyPaths=() if open_paths else READ_ONLY if config.readonly_paths is None else config.readonly_paths,
    )


def device_rules(config: ContainerConfig, found: Found) -> tuple[DeviceRule, ...]:
    if config.privileged:
        return EVERY_DEVICE
    rules = [
        DeviceRule(allow=True, type=node.type, major=node.major, minor=node.minor, access=access) for node, access in found.devices
    ]
    for text in config.device_cgroup_rules:
        match = DEVICE_RULE.fullmatch(text)
        assert match is not None  # options.check
        kind, major, minor, access = match.groups()
        major_number, minor_number = (None if word == "*" else int(word) for word in (major, minor))
        rules.append(DeviceRule(allow=True, type=kind, major=major_number, minor=minor_number, access=access))
    return (*DEVICE_RULES, *rules)


def namespaces(shared: Sharing, joined: dict[str, str], facts: Facts) -> tuple[Namespace, ...]:
    """A mount namespace always; the others as shared; time where the kernel has it (Linux 5.6), cgroup likewise (4.6)."""
    chosen = [Namespace("mount")]
    for kind, mode in shared._asdict().items():
        if kind == "cgroup" and "cgroup" not in facts.namespaces:
            continue
        if mode == "private":
            chosen.append(Namespace(kind, path=joined.get(kind)))  # a network namespace may be plugged in already
        elif mode != "host":
            chosen.append(Namespace(kind, path=joined[kind]))
    if "time" in facts.namespaces:
        chosen.append(Namespace("time"))
    return tuple(chosen)
