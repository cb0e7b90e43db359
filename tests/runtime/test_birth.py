"""The plan as data: its order is the promise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.cgroup.layout import Hierarchy, Layout
from gorae.errors import InvalidArgument, Unsupported
from gorae.linux.namespace import CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER
from gorae.oci import runtimespec
from gorae.oci.runtimespec import Spec
from gorae.runtime import birth, life, plain
from gorae.runtime.birth import Birth, Context, Living, RootMount, Step
from tests.runtime import stage

V2 = Layout("v2", (Hierarchy(2, "/sys/fs/cgroup", "/", ("cpu", "memory", "pids")),), frozenset({"pids.max"}))
V1 = Layout(
    "v1", (Hierarchy(1, "/sys/fs/cgroup/cpu,cpuacct", "/", ("cpu", "cpuacct")), Hierarchy(1, "/sys/fs/cgroup/pids", "/", ("pids",)))
)
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def plan(change: Any = None, **context: Any) -> Birth:
    document = stage.config("/images/box", "sh")
    if change:
        change(document)
    return birth.plan(
        stage.with_seccomp(document), Context(**{"id": "box", "cgroup": "/gorae/box", "cgroup_layout": V2, **context})
    )


def calls(steps: tuple[Step, ...]) -> list[str]:
    return [step.call for step in steps]


def test_it_ends_with_execve_and_begins_unseen() -> None:
    child = calls(plan().child)
    assert child[0] == "set_dumpable"
    assert child[1] == "close_descriptors"
    assert child[-1] == "execve"


def test_every_call_is_known_and_every_step_has_a_reason() -> None:
    one = plan(user="alice", barrier="/run/x", init=True)
    for step in one.child:
        assert step.call in plain.DEEDS, step
        assert step.reason
        assert "\n" not in str(step)
    for step in (*one.before, *one.beside, *one.detour):
        assert step.call in life.DEEDS, step
        assert step.reason


def in_order(steps: list[str], *wanted: str) -> bool:
    rest = iter(steps)
    return all(any(step == want for step in rest) for want in wanted)


def test_the_order_of_confinement() -> None:
    """With set-user-ID programs allowed the filter needs CAP_SYS_ADMIN, otherwise it comes last."""
    assert in_order(
        calls(plan().child),
        "pivot_root",
        "umount2",
        "close_on_exec",
        "seccomp",
        "drop_bounding",
        "set_ids",
        "capset",
        "find_program",
    )
    strict = plan(lambda document: document["process"].update(noNewPrivileges=True))
    assert in_order(
        calls(strict.child), "drop_bounding", "set_ids", "capset", "set_no_new_privs", "seccomp", "find_program", "execve"
    )


def test_what_is_needed_from_the_machine_is_opened_before_the_pivot() -> None:
    child = calls(plan(barrier="/run/x").child)
    assert in_order(
        child, "open_null", "open_barrier", "mask_path", "seal_interpreter", "pivot_root", "umount2", "barrier", "execve"
    )


def test_cgroups_come_before_anything_can_use_them() -> None:
    one = plan()
    assert calls(one.before) == ["make_cgroup", "limit_cgroup", "restrict_devices", "open_cgroup"]
    assert in_order(calls(one.child), "close_descriptors", "enter_cgroup", "check_cgroup", "unshare", "mount_in_root")


def test_nobody_waits_for_nothing() -> None:
    one = plan()
    assert one.beside == ()
    assert "wait_for_parent" not in calls(one.child)
    adjusted = plan(lambda document: document["process"].update(oomScoreAdj=100))
    assert calls(adjusted.beside) == ["oom_score_adj"]
    assert in_order(calls(adjusted.child), "wait_for_parent", "pivot_root")


def test_devices_are_an_allow_list() -> None:
    """GHSA-g54h-m393-cpwq: nothing first, whatever the specification begins with; no tun."""
    rules = next(step for step in plan().before if step.call == "restrict_devices").arguments[1]
    assert isinstance(rules, tuple)
    assert rules[0] == (False, "a", None, None, "rwm")
    assert not any(rule[2:4] == (10, 200) for rule in rules)


def test_flags() -> None:
    assert plan().flags & (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) == CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
    assert not plan().flags & CLONE_NEWCGROUP  # by unshare, once it is in its cgroups


def test_a_user_namespace_gets_its_sources_from_the_parent() -> None:
    def mapped(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"].append({"type": "user"})
        document["linux"].update(uidMappings=MAPS, gidMappings=MAPS)
        document["mounts"].append({"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]})

    one = plan(mapped, rootfs=(RootMount("overlay", "overlay", ("lowerdir=/a",)),))
    assert one.flags & CLONE_NEWUSER
    assert calls(one.before)[-2:] == ["make_file_system", "open_tree"]
    assert calls(one.beside) == ["write_id_maps"]
    child = calls(one.child)
    assert in_order(child, "enter_cgroup", "wait_for_parent", "attach_rootfs", "become_root", "attach_in_root", "bind_device")
    assert "mknod_in_root" not in child
    assert "bind_in_root" not in child


def test_a_joined_user_namespace_owns_the_new_ones() -> None:
    def joined(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"].append({"type": "user", "path": "/proc/7/ns/user"})

    one = plan(joined)
    assert one.flags == 0
    assert in_order(
        calls(one.child), "enter_cgroup", "setns", "unshare", "be_born_again", "attach_rootfs", "become_root", "pivot_root"
    )


def test_time_offsets_are_written_before_anybody_is_inside() -> None:
    def offset(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"].append({"type": "time"})
        document["linux"]["timeOffsets"] = {"boottime": {"secs": 5}}

    assert calls(plan(offset).detour) == ["new_time_namespace"]
    assert not plan(offset).flags & CLONE_NEWTIME


def test_the_cgroup_file_systems() -> None:
    mounted = [step.arguments[:3] for step in plan().child if step.call == "mount_in_root" and "cgroup" in str(step.arguments[0])]
    assert mounted == [("cgroup2", "cgroup2", "/sys/fs/cgroup")]
    one = plan(cgroup_layout=V1)
    mounted = [
        step.arguments[:3] for step in one.child if step.call == "mount_in_root" and "/sys/fs/cgroup" in str(step.arguments[2])
    ]
    assert [each[2] for each in mounted] == ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/pids"]
    assert ("cpu,cpuacct", "/sys/fs/cgroup/cpuacct") in [step.arguments for step in one.child if step.call == "symlink_in_root"]


def test_without_a_cgroup_namespace_only_its_own_directory_is_bound_and_read_only() -> None:
    def shared(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"] = [each for each in document["linux"]["namespaces"] if each["type"] != "cgroup"]
        document["mounts"][4]["options"] = ["rw"]

    bound = [step.arguments for step in plan(shared, cgroup_layout=V1).child if step.call == "bind_in_root"]
    assert [each[0] for each in bound] == ["/sys/fs/cgroup/cpu,cpuacct/gorae/box", "/sys/fs/cgroup/pids/gorae/box"]
    assert all(each[3][0] & 1 for each in bound)  # type: ignore[index]


def test_exec_joins_and_is_confined_alike() -> None:
    spec = stage.with_seccomp(stage.config("/images/box", "sh"))
    assert spec.process is not None
    one = birth.plan_exec(spec.process, Living(77, spec), Context("box", cgroup="/gorae/box", cgroup_layout=V2))
    assert calls(one.before) == ["open_cgroup", "pidfd_open"]
    assert calls(one.detour) == ["join_pid_namespace"]
    assert one.beside == ()
    assert one.flags == 0
    child = calls(one.child)
    assert in_order(child, "set_dumpable", "close_descriptors", "enter_cgroup", "check_cgroup", "seal_interpreter")
    assert in_order(child, "seal_interpreter", "join_process", "open_root")
    theirs = calls(plan().child)
    confinement = child[child.index("take_environment") :]
    assert confinement == theirs[theirs.index("take_environment") :]


def test_it_is_pure() -> None:
    assert plan() == plan()


def test_steps_print_as_one_line() -> None:
    step = Step("seccomp", (b"x" * 16, 0x20000, ("a", None), True), "why")
    assert str(step) == 'seccomp(<16 bytes>, 0x20000, ["a", null], true)'


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.update(ociVersion="2.0.0"), "ociVersion"),
        (lambda d: d["root"].update(path=""), r"root\.path"),
        (lambda d: d["process"].update(args=[]), "args"),
        (lambda d: d["process"].update(args=[""]), "args"),
        (lambda d: d["process"].update(cwd="work"), "cwd"),
        (lambda d: d["process"].update(env=["X"]), "env"),
        (lambda d: d["process"].update(env=["A\nB=1"]), "env"),
        (lambda d: d["process"].update(rlimits=[{"type": "RLIMIT_X", "hard": 1, "soft": 1}]), "rlimits"),
        (lambda d: d["process"].update(rlimits=[{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}]), "soft limit"),
        (lambda d: d["process"].update(rlimits=[{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}] * 2), "twice"),
        (lambda d: d["process"].update(oomScoreAdj=1001), "oomScoreAdj"),
        (lambda d: d["mounts"].append({"destination": "x", "type": "tmpfs"}), "destination"),
        (lambda d: d["mounts"].append({"destination": "/x", "type": "bind"}), "source"),
        (lambda d: d["mounts"].append({"destination": "/x", "type": "bind", "source": "rel"}), "absolute"),
        (lambda d: d["mounts"].append({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}), "tmpcopyup"),
        (lambda d: d["linux"]["namespaces"].append({"type": "pid"}), "twice"),
        (lambda d: d["linux"]["namespaces"].append({"type": "user"}), "uidMappings"),
        (lambda d: d["linux"].update(uidMappings=MAPS), "user namespace"),
        (lambda d: d["linux"].update(timeOffsets={"boottime": {"secs": 1}}), "timeOffsets"),
        (lambda d: d["linux"].update(maskedPaths=["proc"]), "maskedPaths"),
        (lambda d: d["linux"].update(devices=[{"path": "/dev/x", "type": "c"}]), "major"),
        (lambda d: d["linux"].update(namespaces=[{"type": "mount"}]), "hostname"),
    ],
)
def test_what_is_refused(change: Any, word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        plan(change)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d["linux"].update(namespaces=[{"type": "pid"}]), "mount namespace"),
        (lambda d: d["process"].update(selinuxLabel="x"), "SELinux"),
        (lambda d: d["linux"].update(mountLabel="x"), "SELinux"),
        (lambda d: d["mounts"].append({"destination": "/x", "type": "bind", "source": "/y", "options": ["idmap"]}), "id-mapped"),
    ],
)
def test_what_is_not_supported(change: Any, word: str) -> None:
    with pytest.raises(Unsupported, match=word):
        plan(change)


def test_unknown_capabilities_are_warned_of() -> None:
    """The specification: what cannot be mapped to the kernel is logged, not refused."""
    assert plan(lambda d: d["process"]["capabilities"]["bounding"].append("CAP_FLY")).warnings == (
        "unknown capabilities are left out: CAP_FLY",
    )


_subsets = st.sets(st.sampled_from(["pid", "network", "ipc", "uts", "cgroup", "time"]))


@settings(max_examples=50, deadline=None)
@given(kinds=_subsets, readonly=st.booleans(), terminal=st.booleans(), init=st.booleans(), barrier=st.booleans())
def test_every_mixture_is_a_whole_birth(kinds: set[str], readonly: bool, terminal: bool, init: bool, barrier: bool) -> None:
    document = stage.config("/images/box", "sh", terminal=terminal)
    document["root"]["readonly"] = readonly
    document["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", *sorted(kinds))]
    if "uts" not in kinds:
        del document["hostname"]
    spec: Spec = runtimespec.decode(document)
    one = birth.plan(spec, Context("box", init=init, barrier="/run/x" if barrier else None))
    child = calls(one.child)
    assert child.count("wait_for_parent") == ("user" in kinds)
    assert child.count("pivot_root") == child.count("execve") == 1
    assert child.index("pivot_root") < child.index("set_ids") < child.index("execve")
    assert ("stay_as_init" in child) == init
    assert ("barrier" in child) == barrier
    assert ("open_terminal" in child) == terminal
    assert {step.call for step in one.child} <= plain.DEEDS.keys()


@pytest.mark.parametrize("layout", [V1, V2, None], ids=["v1", "v2", "none"])
def test_what_becomes_read_only_was_mounted_before(layout: Layout | None) -> None:
    context = Context("box", cgroup="/box" if layout else None, cgroup_layout=layout)
    child = birth.plan(runtimespec.decode(stage.config("/rootfs", "true")), context).child
    kept = [step.arguments[-1] for step in child if step.call == "mount_in_root" and step.arguments[-1]]
    assert [step.arguments[0] for step in child if step.call == "make_readonly"] == kept
