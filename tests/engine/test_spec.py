"""The specification that a container's birth follows: Docker's defaults, and what options change."""

from __future__ import annotations

import json

import msgspec
import pytest

from gorae import errors
from gorae.engine.config import Config
from gorae.engine.container import seccomp, spec
from gorae.engine.container.facts import Facts
from gorae.engine.container.model import Container, ContainerConfig, ExecConfig, MountPoint, State
from gorae.linux.capability import NAMES
from gorae.oci import runtimespec
from gorae.oci.runtimespec import Mount, Namespace
from gorae.supervisor.protocol import RootMount

FACTS = Facts(thermal=("/sys/devices/system/cpu/cpu0/thermal_throttle",))
DEFAULTS = Config()


def container(**fields: object) -> Container:
    own = {name: fields.pop(name) for name in ("mounts", "environment", "user", "working_directory") if name in fields}
    config = ContainerConfig(image="x", network_mode=str(fields.pop("network_mode", "none")), **fields)  # type: ignore[arg-type]
    made = Container(
        id="c" * 64,
        name="x",
        created_at=1,
        image_id="sha256:" + "0" * 64,
        config=config,
        state=State(),
        path="sh",
        arguments=("-c", "true"),
        hostname="box",
        hosts_path="/d/hosts",
        hostname_path="/d/hostname",
        resolv_conf_path="/d/resolv.conf",
    )
    return msgspec.structs.replace(made, **own)


def told(made: Container, facts: Facts = FACTS, found: spec.Found | None = None, defaults: Config = DEFAULTS) -> runtimespec.Spec:
    answer = spec.specification(made, defaults, facts, found or spec.Found())
    assert runtimespec.decode(json.loads(json.dumps(runtimespec.encode(answer)))) == answer
    return answer


def test_dockers_defaults() -> None:
    answer = told(container())
    assert answer.process is not None
    assert answer.linux is not None
    assert answer.process.args == ("sh", "-c", "true")
    assert answer.process.env == (spec.PATH, "HOSTNAME=box")
    assert answer.process.cwd == "/"
    assert answer.process.capabilities is not None
    assert len(answer.process.capabilities.bounding) == 14
    assert answer.process.capabilities.inheritable == answer.process.capabilities.ambient == ()
    assert not answer.process.noNewPrivileges
    assert {each.type for each in answer.linux.namespaces} == {"mount", "network", "pid", "ipc", "uts", "cgroup", "time"}
    assert answer.linux.cgroupsPath == "/gorae/" + "c" * 64
    assert answer.linux.seccomp is not None
    assert len(answer.linux.maskedPaths) == 13
    assert answer.linux.readonlyPaths == spec.READ_ONLY
    assert answer.linux.resources is not None
    assert answer.linux.resources.devices[0] == runtimespec.DeviceRule(allow=False, type="a", access="rwm")
    assert not any((rule.major, rule.minor) == (10, 200) for rule in answer.linux.resources.devices)
    assert [mount.destination for mount in answer.mounts] == [
        *("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"),
        *("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"),
    ]
    by_place = {mount.destination: mount for mount in answer.mounts}
    assert "ro" in by_place["/sys"].options
    assert "ro" in by_place["/sys/fs/cgroup"].options
    assert "size=67108864" in by_place["/dev/shm"].options


def test_environment() -> None:
    answer = told(container(tty=True, environment=("PATH=/mine", "TERM=dumb", "A=1", "A=2")))
    assert answer.process is not None
    assert answer.process.env == ("PATH=/mine", "HOSTNAME=box", "TERM=dumb", "A=2")


def test_privileged() -> None:
    node = runtimespec.Device(path="/dev/x", type="c", major=1, minor=2)
    answer = told(container(privileged=True), found=spec.Found(devices=((node, "rwm"),)))
    assert answer.process is not None
    assert answer.linux is not None
    assert answer.process.capabilities is not None
    assert set(answer.process.capabilities.effective) == set(NAMES)
    assert answer.linux.seccomp is None
    assert answer.linux.maskedPaths == answer.linux.readonlyPaths == ()
    assert answer.linux.resources is not None
    assert answer.linux.resources.devices == spec.EVERY_DEVICE
    assert answer.linux.devices == (node,)
    by_place = {mount.destination: mount for mount in answer.mounts}
    assert "ro" not in by_place["/sys"].options
    poor = told(container(privileged=True), Facts(bounding=1))
    assert poor.process is not None
    assert poor.process.capabilities is not None
    assert poor.process.capabilities.bounding == ("CAP_CHOWN",)


def test_own_mounts_replace_and_sort_by_depth() -> None:
    points = (
        MountPoint(type="bind", source="/s", destination="/a/b/c", propagation="rslave", read_write=False),
        MountPoint(type="tmpfs", source="", destination="/a", mode="size=1m"),
        MountPoint(type="bind", source="/h", destination="/etc/hosts", propagation="rprivate"),
        MountPoint(type="tmpfs", source="", destination="/dev/shm", mode="exec"),
    )
    places = [mount.destination for mount in told(container(mounts=points)).mounts]
    assert places.count("/dev/shm") == places.count("/etc/hosts") == 1
    assert places.index("/a") < places.index("/a/b/c")
    by_place = {mount.destination: mount for mount in told(container(mounts=points)).mounts}
    assert by_place["/etc/hosts"].source == "/h"
    assert by_place["/a/b/c"].options == ("rbind", "ro", "rslave", "rro")
    assert "exec" in by_place["/dev/shm"].options
    below = told(container(mounts=(MountPoint(type="bind", source="/d", destination="/dev", propagation="rprivate"),)))
    assert not [mount for mount in below.mounts if mount.destination.startswith("/dev/")]


def test_sharing_namespaces() -> None:
    made = container(network_mode="container:o", pid_mode="host", ipc_mode="host", uts_mode="host", cgroupns_mode="host")
    answer = told(made, found=spec.Found(joined={"network": "/proc/9/ns/net"}))
    assert answer.linux is not None
    assert set(answer.linux.namespaces) == {Namespace("mount"), Namespace("network", path="/proc/9/ns/net"), Namespace("time")}
    assert answer.hostname is None
    assert Mount("/dev/shm", "bind", "/dev/shm", ("rbind", "rprivate", "nosuid", "noexec", "nodev")) in answer.mounts
    old = told(container(), Facts(namespaces=frozenset({"mnt", "pid", "net", "ipc", "uts"})))
    assert old.linux is not None
    assert not {"time", "cgroup"} & {each.type for each in old.linux.namespaces}


def test_what_cannot_be_set_is_left_out() -> None:
    poor = Facts(bounding=0, oom_score_adj=0)
    lowered, raised = told(container(oom_score_adj=-5), poor), told(container(oom_score_adj=5), poor)
    assert lowered.process is not None
    assert raised.process is not None
    assert lowered.process.oomScoreAdj is None
    assert raised.process.oomScoreAdj == 5


def test_context() -> None:
    found = spec.Found(rootfs=(RootMount("overlay", "overlay", ("lowerdir=/a",)),))
    context = spec.context(container(init=True, user="me", group_add=("audio", "5")), DEFAULTS, found)
    assert (context.user, context.groups, context.init, context.rootfs) == ("me", ("audio",), True, found.rootfs)
    assert spec.context(container(), Config(init=True), found).init
    assert not spec.context(container(init=False), Config(init=True), found).init
    assert spec.context(container(), DEFAULTS, found).user == "0"


def test_exec() -> None:
    made = container(environment=("A=1",), working_directory="/w", cap_drop=("ALL",))
    process = spec.exec_process(made, ExecConfig(command=("id",), environment=("A=2", "B=3")), DEFAULTS, FACTS)
    assert process.env == (spec.PATH, "HOSTNAME=box", "A=2", "B=3")
    assert process.cwd == "/w"
    assert process.capabilities is not None
    assert process.capabilities.bounding == ()
    privileged = spec.exec_process(made, ExecConfig(command=("id",), privileged=True, working_directory="/v"), DEFAULTS, FACTS)
    assert privileged.capabilities is not None
    assert len(privileged.capabilities.bounding) == len(NAMES)
    assert privileged.cwd == "/v"


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": None, "includes": {}, "excludes": {}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390x"]}},
        {"name": "ptrace", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["arm_only"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
    ],
}


def chosen(*capabilities: str, kernel: tuple[int, int] = (6, 1)) -> set[str]:
    parsed = seccomp.parse(json.dumps(PROFILE), capabilities=frozenset(capabilities), machine="x86_64", kernel=kernel)
    assert parsed.architectures == ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86")
    return {name for rule in parsed.syscalls for name in rule.names}


def test_seccomp_profiles_of_dockers_form() -> None:
    assert chosen() == {"read", "clone", "ptrace"}
    assert chosen("CAP_SYS_ADMIN") == {"read", "mount", "ptrace"}
    assert chosen(kernel=(3, 10)) == {"read", "clone"}
    own = told(container(security_opt=("seccomp=" + json.dumps(PROFILE),)))
    assert own.linux is not None
    assert own.linux.seccomp is not None
    assert own.linux.seccomp.syscalls[0].names == ("read",)
    off = told(container(security_opt=("seccomp=unconfined",)))
    assert off.linux is not None
    assert off.linux.seccomp is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"defaultAction": "NO"}', '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [1]}']
)
def test_bad_seccomp_profiles_are_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="seccomp profile"):
        seccomp.parse(text, capabilities=frozenset(), machine="x86_64", kernel=(6, 1))
