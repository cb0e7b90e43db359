"""The namespaces of a container: made, joined by path, or the machine's.

    kind in linux.namespaces    made by                              joined by
    user                        clone3                               setns, after all others: the machine's rights still count there
    pid                         clone3                               the parent's setns before clone3 (a detour): children follow it
    time                        clone3; with offsets a detour        setns
    cgroup                      unshare once in the cgroups: where   setns
                                the process then is becomes "/"
    mount uts ipc network       clone3                               setns

With a *joined* user namespace everything new must be made inside it, or it would belong to the machine's: so clone3 makes
nothing, the child joins, unshares the rest, and for a new pid namespace bears the real child as its own sibling (CLONE_PARENT).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import interface, libc
from gorae.linux.namespace import BY_OCI, CLONE_NEWCGROUP, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, setns, unshare
from gorae.runtime.terms import Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Spec
    from gorae.runtime.scene import Scene


def wanted(spec: Spec) -> dict[str, str]:
    """Path by kind; "" for one that is made."""
    return {each.type: each.path or "" for each in (spec.linux.namespaces if spec.linux else ())}


def _new(spec: Spec) -> int:
    return sum(BY_OCI[kind].flag for kind, path in wanted(spec).items() if not path)


def _joins_user(spec: Spec) -> bool:
    return bool(wanted(spec).get("user"))


def _offsets(spec: Spec) -> tuple[tuple[str, int, int], ...]:
    return tuple((clock, each.secs, each.nanosecs) for clock, each in (spec.linux.timeOffsets if spec.linux else {}).items())


def flags(spec: Spec) -> int:
    """Of clone3."""
    if _joins_user(spec):
        return 0
    without = CLONE_NEWCGROUP | (CLONE_NEWTIME if _offsets(spec) else 0)
    return _new(spec) & ~without


def find(spec: Spec) -> Iterator[Step]:
    for kind, path in wanted(spec).items():
        if path:
            yield Step("open_namespace", (kind, path), f"a {kind} namespace to join")


def detour(spec: Spec) -> Iterator[Step]:
    spaces = wanted(spec)
    if spaces.get("pid"):
        yield Step("join_pid_namespace", ("pid",), "only a child born there is in a pid namespace")
    if spaces.get("time") == "" and _offsets(spec):
        yield Step("new_time_namespace", (_offsets(spec),), "clock offsets are written before the first process is inside")


def map_ids(spec: Spec) -> Iterator[Step]:
    linux = spec.linux
    if linux is not None and wanted(spec).get("user") == "":
        uids = tuple((each.containerID, each.hostID, each.size) for each in linux.uidMappings)
        gids = tuple((each.containerID, each.hostID, each.size) for each in linux.gidMappings)
        yield Step("write_id_maps", (uids, gids), "which ids out here its ids are")
        for limit in spec.process.rlimits if spec.process else ():
            yield Step("raise_limit", (limit.type, limit.hard), "above the hard limit only from out here")


def join(spec: Spec) -> Iterator[Step]:
    spaces = wanted(spec)
    for kind, path in spaces.items():
        if path and kind not in ("user", "pid"):
            yield Step("setns", (kind, BY_OCI[kind].flag), f"the {kind} namespace of {path}")
    if _joins_user(spec):
        yield Step("setns", ("user", CLONE_NEWUSER), f"the user namespace of {spaces['user']}")
        rest = _new(spec) & ~CLONE_NEWPID
        if rest:
            yield Step("unshare", (rest,), "the new namespaces, as that user namespace's own")
        if spaces.get("pid") == "":
            yield Step("be_born_again", (CLONE_NEWPID,), "only a child is in a new pid namespace")


def take_ids(spec: Spec) -> Iterator[Step]:
    """Not before the root file system stands: the way to root.path may be closed to whoever is root inside."""
    if "user" in wanted(spec):
        yield Step("become_root", (), "the ids are mapped: it takes the ones that are root inside")


def hide_cgroups(spec: Spec) -> Iterator[Step]:
    """Not before the process is in its cgroups: they become the root of what it sees."""
    if wanted(spec).get("cgroup") == "" and not _joins_user(spec):
        yield Step("unshare", (CLONE_NEWCGROUP,), "a cgroup namespace: its own place in the hierarchies is their root")


# What follows runs in the child.


def join_one(scene: Scene, name: str, flag: int) -> None:
    setns(scene.descriptors[name], flag)
    scene.drop(name)


def sethostname(scene: Scene, name: str) -> None:
    raw = libc.text(name)
    libc.call("sethostname", raw, len(raw), path=name)


def setdomainname(scene: Scene, name: str) -> None:
    raw = libc.text(name)
    libc.call("setdomainname", raw, len(raw), path=name)


DEEDS: dict[str, Callable[..., object]] = {
    "setns": join_one,
    "unshare": lambda scene, flags: unshare(flags),
    "sethostname": sethostname,
    "setdomainname": setdomainname,
    "bring_up": lambda scene, name: interface.bring_up(name),
}
