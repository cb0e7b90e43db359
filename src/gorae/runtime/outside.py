"""What only the parent can do for its child: control groups, id maps, the ways into pid and time namespaces, hooks of the
runtime's own namespaces.

    v1 cgroups     of one path, in every hierarchy; limits are written before anything is inside
    entering       the child is born in its cgroup2 and walks into the v1 ones through files that were opened out here: moved by
                   its parent, the first one after a quiet moment would wait for an RCU grace period, 5 to 20 ms
    check          it does not go on unless it is where the plan says, in every hierarchy (CVE-2023-6476, CVE-2025-47291)

Also the parts of these that are decided here: which device rules, which limits. A path stands in the steps, the layout in the
scene.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from gorae.cgroup import limits
from gorae.cgroup.limits import Write
from gorae.errors import BirthError
from gorae.linux import idmap, libc, process
from gorae.linux.namespace import BY_OCI, CLONE_NEWPID, CLONE_NEWTIME, setns, unshare
from gorae.oci.runtimespec import DeviceRule, Resources
from gorae.runtime import hooks
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.cgroup.group import Cgroup
    from gorae.oci.runtimespec import Process, Spec
    from gorae.runtime.scene import Scene

# Nodes may be made (not opened) of any device; the standard ones and terminals may be opened. No tun: that is an extra of old
# engines.
DEVICE_RULES = (
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    *(
        DeviceRule(True, "c", major, minor, "rwm")
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
    ),
    DeviceRule(True, "c", 136, None, "rwm"),
)
DENY_ALL = DeviceRule(False, "a", None, None, "rwm")


def device_rules(resources: Resources | None) -> tuple[DeviceRule, ...]:
    """The specification's rules between "nothing" and what every container has: an allow-list, always (GHSA-g54h-m393-cpwq)."""
    return (DENY_ALL, *(resources.devices if resources else ()), *DEVICE_RULES)


def make_cgroup(spec: Spec, context: Context) -> tuple[list[Step], tuple[str, ...]]:
    """The steps and the warnings for limits that this machine does not have."""
    if context.cgroup is None or context.cgroup_layout is None:
        return [], ()
    resources = spec.linux.resources if spec.linux else None
    steps = [Step("make_cgroup", (context.cgroup,), "a control group in every hierarchy: what it may use, and what it used")]
    warnings: tuple[str, ...] = ()
    if resources is not None:
        writes, warnings = limits.files(resources, context.cgroup_layout)
        if writes:
            plain = tuple((write.controller, write.file, write.value, write.unless_above) for write in writes)
            steps.append(Step("limit_cgroup", (context.cgroup, plain), "its limits, before anything runs in it"))
    rules = tuple((rule.allow, rule.type, rule.major, rule.minor, rule.access) for rule in device_rules(resources))
    steps.append(Step("restrict_devices", (context.cgroup, rules), "no device may be opened but these"))
    return steps, warnings


def open_ways(context: Context) -> Iterator[Step]:
    """For the parent, before the child is born."""
    if context.cgroup is not None and context.cgroup_layout is not None:
        yield Step("open_cgroup", (context.cgroup,), "the ways into it, which the child will not reach by name")


def enter(context: Context) -> Iterator[Step]:
    """For the child."""
    if context.cgroup is not None and context.cgroup_layout is not None:
        yield Step("enter_cgroup", (context.cgroup,), "it, and all it will start, counts there")
        yield Step("check_cgroup", (context.cgroup,), "it is where the plan says, or it does not go on")


def adjust(given: Process | None) -> Iterator[Step]:
    if given is not None and given.oomScoreAdj is not None:
        yield Step("oom_score_adj", (given.oomScoreAdj,), "how readily the kernel kills it when memory is out")


def affinity(given: Process) -> tuple[list[Step], list[Step]]:
    """Of an exec'ed process, before its first step and at its last, around its way into the cgroup."""
    wanted = given.execCPUAffinity
    first = [Step("sched_setaffinity", (wanted.initial,), "the processors to start on")] if wanted and wanted.initial else []
    last = [Step("sched_setaffinity", (wanted.final,), "the processors to run on")] if wanted and wanted.final else []
    return first, last


# What follows runs in the parent.


def _cgroup(scene: Scene, path: str) -> Cgroup:
    if scene.layout is None:
        raise BirthError(f"cgroup {path}: no layout was given", step="cgroup", path=path)
    return scene.layout.place(path)


def create_cgroup(scene: Scene, path: str) -> None:
    _cgroup(scene, path).create()
    scene.made_cgroup = path


def limit_cgroup(scene: Scene, path: str, writes: tuple[tuple[str, str, str, str | None], ...]) -> None:
    scene.warnings += _cgroup(scene, path).apply(tuple(Write(*each) for each in writes))


def restrict_devices(scene: Scene, path: str, rules: tuple[tuple[bool, str, int | None, int | None, str | None], ...]) -> None:
    scene.warnings += _cgroup(scene, path).restrict_devices(tuple(DeviceRule(*each) for each in rules))


def open_cgroup(scene: Scene, path: str) -> None:
    group = _cgroup(scene, path)
    try:
        unified = group.open_unified()
    except FileNotFoundError:
        raise BirthError(f"the container is not running: its cgroup {path} is gone", step="open_cgroup", path=path) from None
    if unified >= 0:
        scene.keep("cgroup", unified)
    for number, entrance in enumerate(group.entrances(unified >= 0)):
        try:
            scene.keep(f"entrance:{number}", os.open(entrance, os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            raise libc.named(error, "open", entrance) from None


def write_id_maps(scene: Scene, uids: tuple[idmap.Mapping, ...], gids: tuple[idmap.Mapping, ...]) -> None:
    idmap.write_maps(scene.pid, uids, gids)


def oom_score_adj(scene: Scene, value: int) -> None:
    try:
        process.set_oom_score_adj(value, scene.pid)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
        raise libc.failure(
            "oom_score_adj", error.errno or 0, str(value), "lowering it needs CAP_SYS_RESOURCE, which is missing here"
        ) from None


def raise_limit(scene: Scene, name: str, hard: int) -> None:
    """Above the hard limit the machine's CAP_SYS_RESOURCE counts, which a user namespace does not have: so from out here."""
    number = process.RLIMITS[name]
    soft, former = process.get_rlimit(number, scene.pid)
    if hard > former:
        process.set_rlimit(number, soft, hard, scene.pid)


def sched_setaffinity(scene: Scene, cpus: str) -> None:
    chosen: set[int] = set()
    for part in cpus.split(","):
        first, _, last = part.strip().partition("-")
        chosen.update(range(int(first), int(last or first) + 1))
    os.sched_setaffinity(scene.pid, chosen)


def open_namespace(scene: Scene, kind: str, path: str) -> None:
    """The path is opened here, and what it is gets checked by setns, which is told the kind."""
    try:
        scene.keep(kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise libc.named(error, "open", path) from None


def pidfd_open(scene: Scene, pid: int, borrowed: int) -> None:
    try:
        scene.keep("process", process.pidfd_open(pid) if borrowed < 0 else os.dup(borrowed))
    except ProcessLookupError:
        raise BirthError("the container is not running", step="pidfd_open", errno=errno.ESRCH) from None


def join_pid_namespace(scene: Scene, name: str) -> None:
    """Only this process's *children* move into a pid namespace; `leave` takes it back once the child is born."""
    try:
        setns(scene.descriptors[name], CLONE_NEWPID)
    except ProcessLookupError:
        raise BirthError("the container is not running", step="setns", errno=errno.ESRCH) from None


def new_time_namespace(scene: Scene, offsets: tuple[tuple[str, int, int], ...]) -> None:
    """The offsets can be written only until the first process is inside, so the namespace is made before the child."""
    unshare(CLONE_NEWTIME)
    lines = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in offsets)
    descriptor = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


@contextmanager
def way_back(calls: frozenset[str]) -> Iterator[None]:
    """Around a detour: afterwards the parent's next children are born in its own namespaces again. These are opened first, so that
    the way back lacks nothing.
    """
    with ExitStack() as undo:
        for call, kind in (("join_pid_namespace", "pid"), ("new_time_namespace", "time")):
            if call in calls:
                own = os.open(f"/proc/self/ns/{BY_OCI[kind].file}", os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, own)
                undo.callback(setns, own, BY_OCI[kind].flag)
        yield


def run_hook(
    scene: Scene, path: str, arguments: tuple[str, ...], environment: tuple[str, ...], timeout: int | None, state: str
) -> None:
    hooks.run_program(path, arguments, environment, timeout, hooks.with_pid(state, scene.pid))


# What follows runs in the child.


def enter_cgroup(scene: Scene, path: str) -> None:
    """The kernel asks who opened the files: that was the parent, so a child of any user namespace may pass."""
    scene.drop("cgroup")
    for name in [name for name in scene.descriptors if name.startswith("entrance:")]:
        try:
            os.write(scene.descriptors[name], b"0")
        except OSError as error:
            raise libc.named(error, "write", path) from None
        scene.drop(name)


def check_cgroup(scene: Scene, path: str, pid: int | Literal["self"] = "self") -> None:
    if not _cgroup(scene, path).holds(pid):
        raise BirthError(f"cgroup: the child is not in {path} everywhere", step="check_cgroup", path=path)


CHILD_DEEDS: dict[str, Callable[..., object]] = {
    "enter_cgroup": enter_cgroup,
    "check_cgroup": check_cgroup,
    "sched_setaffinity": sched_setaffinity,
}

DEEDS: dict[str, Callable[..., object]] = {
    "make_cgroup": create_cgroup,
    "limit_cgroup": limit_cgroup,
    "restrict_devices": restrict_devices,
    "open_cgroup": open_cgroup,
    "write_id_maps": write_id_maps,
    "oom_score_adj": oom_score_adj,
    "raise_limit": raise_limit,
    "sched_setaffinity": sched_setaffinity,
    "open_namespace": open_namespace,
    "pidfd_open": pidfd_open,
    "join_pid_namespace": join_pid_namespace,
    "new_time_namespace": new_time_namespace,
    "run_hook": run_hook,
}
