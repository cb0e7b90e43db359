"""OCI runtime specification 1.2: a bundle's config.json, complete for Linux.

    Spec ─┬─ process ─┬─ user, consoleSize, capabilities, rlimits, scheduler, ioPriority, execCPUAffinity
          │           └─ args, env, cwd, …
          ├─ root, hostname, domainname, mounts, annotations
          ├─ hooks      prestart createRuntime createContainer startContainer poststart poststop
          └─ linux ─┬─ namespaces, uidMappings, gidMappings, timeOffsets, devices, cgroupsPath
                    ├─ resources    devices memory cpu pids blockIO hugepageLimits network rdma unified
                    ├─ seccomp      syscalls, args
                    └─ sysctl, maskedPaths, readonlyPaths, rootfsPropagation, mountLabel, personality, intelRdt

Fields have the specification's names. An absent optional field is None, (), {} or False. What the schema requires is required
here; what the text demands beyond (an absolute path, a known capability) is the runtime's to validate. Sections for other systems
(windows, solaris, zos, vm) and unknown members are passed over, as "config.md, Extensibility" demands.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any

from gorae.oci import codec
from gorae.oci.codec import OneOf, int32, int64, named, uint16, uint32, uint64

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from gorae.oci.record import dataclass


@dataclass(frozen=True)
class Box:
    """A terminal's size in characters."""

    height: uint32 = 0
    width: uint32 = 0


@dataclass(frozen=True)
class User:
    uid: uint32 = 0
    gid: uint32 = 0
    umask: uint32 | None = None
    additionalGids: tuple[uint32, ...] = ()
    username: str | None = None


@dataclass(frozen=True)
class Capabilities:
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rlimit:
    """getrlimit(2); `type` like RLIMIT_NOFILE. RLIM_INFINITY is 2**64 - 1."""

    type: str
    hard: uint64
    soft: uint64


@dataclass(frozen=True)
class Scheduler:
    """sched_setattr(2)."""

    policy: Annotated[
        str, OneOf("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE")
    ]
    nice: int32 | None = None
    priority: int32 | None = None
    flags: tuple[str, ...] = ()
    runtime: uint64 | None = None
    deadline: uint64 | None = None
    period: uint64 | None = None


@dataclass(frozen=True)
class IOPriority:
    """ioprio_set(2)."""

    class_: Annotated[str, OneOf("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")] = named("class")
    priority: int32 = 0


@dataclass(frozen=True)
class CPUAffinity:
    """Lists of CPUs like "0-3,7" for an exec'ed process: before and after it is moved into the container's cgroup."""

    initial: str | None = None
    final: str | None = None


@dataclass(frozen=True)
class Process:
    cwd: str
    args: tuple[str, ...] = ()
    user: User = User()
    env: tuple[str, ...] = ()
    terminal: bool = False
    consoleSize: Box | None = None
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    noNewPrivileges: bool = False
    apparmorProfile: str | None = None
    oomScoreAdj: int32 | None = None
    scheduler: Scheduler | None = None
    selinuxLabel: str | None = None
    ioPriority: IOPriority | None = None
    execCPUAffinity: CPUAffinity | None = None


@dataclass(frozen=True)
class Root:
    path: str
    readonly: bool = False


@dataclass(frozen=True)
class IDMapping:
    containerID: uint32
    hostID: uint32
    size: uint32


@dataclass(frozen=True)
class Mount:
    destination: str
    type: str | None = None
    source: str | None = None
    options: tuple[str, ...] = ()
    uidMappings: tuple[IDMapping, ...] = ()
    gidMappings: tuple[IDMapping, ...] = ()


@dataclass(frozen=True)
class Hook:
    """A program on the host; `timeout` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int64 | None = None


@dataclass(frozen=True)
class Hooks:
    prestart: tuple[Hook, ...] = ()
    createRuntime: tuple[Hook, ...] = ()
    createContainer: tuple[Hook, ...] = ()
    startContainer: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@dataclass(frozen=True)
class Namespace:
    type: Annotated[str, OneOf("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")]
    path: str | None = None


@dataclass(frozen=True)
class TimeOffset:
    secs: int64 = 0
    nanosecs: uint32 = 0


@dataclass(frozen=True)
class Device:
    """A device node to make: c, b, u (as c) or p (a fifo)."""

    path: str
    type: Annotated[str, OneOf("c", "b", "u", "p")]
    major: int64 | None = None
    minor: int64 | None = None
    fileMode: uint32 | None = None
    uid: uint32 | None = None
    gid: uint32 | None = None


@dataclass(frozen=True)
class DeviceRule:
    """A rule of the device allow-list; a later rule overrides an earlier one. None or -1 is "any number"."""

    allow: bool
    type: Annotated[str, OneOf("a", "c", "b")] = "a"
    major: int64 | None = None
    minor: int64 | None = None
    access: str | None = None


@dataclass(frozen=True)
class Memory:
    """Bytes; -1 is unlimited. `swap` is memory + swap, as in cgroup v1. `swappiness` is 0 to 100."""

    limit: int64 | None = None
    reservation: int64 | None = None
    swap: int64 | None = None
    kernel: int64 | None = None
    kernelTCP: int64 | None = None
    swappiness: uint64 | None = None
    disableOOMKiller: bool | None = None
    useHierarchy: bool | None = None
    checkBeforeUpdate: bool | None = None


@dataclass(frozen=True)
class CPU:
    """Microseconds; `cpus` and `mems` are lists like "0-3,7"."""

    shares: uint64 | None = None
    quota: int64 | None = None
    burst: uint64 | None = None
    period: uint64 | None = None
    realtimeRuntime: int64 | None = None
    realtimePeriod: uint64 | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: int64 | None = None


@dataclass(frozen=True)
class Pids:
    limit: int64


@dataclass(frozen=True)
class WeightDevice:
    major: int64
    minor: int64
    weight: uint16 | None = None
    leafWeight: uint16 | None = None


@dataclass(frozen=True)
class ThrottleDevice:
    """`rate` in bytes or operations a second."""

    major: int64
    minor: int64
    rate: uint64


@dataclass(frozen=True)
class BlockIO:
    weight: uint16 | None = None
    leafWeight: uint16 | None = None
    weightDevice: tuple[WeightDevice, ...] = ()
    throttleReadBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleReadIOPSDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteIOPSDevice: tuple[ThrottleDevice, ...] = ()


@dataclass(frozen=True)
class HugepageLimit:
    """`pageSize` as in hugetlb's file names: 2MB, 1GB, 64KB."""

    pageSize: str
    limit: uint64


@dataclass(frozen=True)
class InterfacePriority:
    name: str
    priority: uint32


@dataclass(frozen=True)
class Network:
    classID: uint32 | None = None
    priorities: tuple[InterfacePriority, ...] = ()


@dataclass(frozen=True)
class Rdma:
    hcaHandles: uint32 | None = None
    hcaObjects: uint32 | None = None


@dataclass(frozen=True)
class Resources:
    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    blockIO: BlockIO | None = None
    hugepageLimits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: dict[str, Rdma] = field(default_factory=dict)
    unified: dict[str, str] = field(default_factory=dict)


SECCOMP_ACTIONS = (
    *("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO"),
    *("SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY"),
)
SECCOMP_OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


@dataclass(frozen=True)
class SeccompArg:
    index: Annotated[int, codec.Between(0, 5)]
    value: uint64
    op: Annotated[str, OneOf(*SECCOMP_OPERATORS)]
    valueTwo: uint64 | None = None


@dataclass(frozen=True)
class SeccompSyscall:
    names: tuple[str, ...]
    action: Annotated[str, OneOf(*SECCOMP_ACTIONS)]
    errnoRet: uint32 | None = None
    args: tuple[SeccompArg, ...] = ()


@dataclass(frozen=True)
class Seccomp:
    defaultAction: Annotated[str, OneOf(*SECCOMP_ACTIONS)]
    defaultErrnoRet: uint32 | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listenerPath: str | None = None
    listenerMetadata: str | None = None
    syscalls: tuple[SeccompSyscall, ...] = ()


@dataclass(frozen=True)
class Personality:
    domain: Annotated[str, OneOf("LINUX", "LINUX32")]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntelRdt:
    closID: str | None = None
    l3CacheSchema: str | None = None
    memBwSchema: str | None = None
    enableCMT: bool = False
    enableMBM: bool = False


@dataclass(frozen=True)
class Linux:
    uidMappings: tuple[IDMapping, ...] = ()
    gidMappings: tuple[IDMapping, ...] = ()
    sysctl: dict[str, str] = field(default_factory=dict)
    resources: Resources | None = None
    cgroupsPath: str | None = None
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[Device, ...] = ()
    seccomp: Seccomp | None = None
    rootfsPropagation: Annotated[str, OneOf("", "shared", "slave", "private", "unbindable")] | None = None
    maskedPaths: tuple[str, ...] = ()
    readonlyPaths: tuple[str, ...] = ()
    mountLabel: str | None = None
    personality: Personality | None = None
    intelRdt: IntelRdt | None = None
    timeOffsets: dict[str, TimeOffset] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    ociVersion: str
    process: Process | None = None
    root: Root | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    linux: Linux | None = None


def decode(value: object) -> Spec:
    """A config.json as `read_json` returned it; `InvalidArgument` names the JSON path."""
    return codec.decode(Spec, value, "config.json")


def decode_process(value: object) -> Process:
    """A process.json, as `exec` takes it."""
    return codec.decode(Process, value, "process.json")


def decode_resources(value: object) -> Resources:
    """A resources.json, as `update` takes it."""
    return codec.decode(Resources, value, "resources.json")


def encode(value: Spec | Process | Resources) -> dict[str, Any]:
    """The JSON object; absent fields are left out. `decode(encode(spec)) == spec`."""
    return codec.encode(value)
