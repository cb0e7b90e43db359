"""The containers that are looked around in: how each is asked for, and what must be true of it.

Only differences from the default are written down; the tests hold every flavour against every fact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gorae.linux import capability

DEFAULT_CAPABILITIES = 0xA80425FB
CLOSED = {
    "mem": "EPERM",
    "kmsg": "EPERM",
    "fuse": "EPERM",
    "loop-control": "EPERM",
    "tun": "EPERM",
    "disk": "EPERM",
    "loop0": "EPERM",
    "sda": "EPERM",
}
PRIVATE = frozenset({"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"})
STANDARD_MOUNTS = (
    *("/", "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm", "/sys", "/sys/fs/cgroup", "/usr"),
    *("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"),
    *("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
)


@dataclass(frozen=True)
class Flavour:
    """`run`: flags of `docker run`; `exec`: of `docker exec` when a second process looks. `devices`: None when all may open."""

    run: tuple[str, ...] = ()
    exec: tuple[str, ...] | None = None
    capabilities: int = DEFAULT_CAPABILITIES  # of the bounding set, and what root has
    uid: int = 0
    groups: tuple[int, ...] = (0,)
    home: str = "/root"
    environment: tuple[str, ...] = ()
    no_new_privileges: bool = False
    filtered: bool = True
    allowed_calls: frozenset[str] = frozenset()
    devices: dict[str, str] | None = field(default_factory=lambda: dict(CLOSED))
    namespaces: frozenset[str] = PRIVATE
    open_paths: bool = False  # neither masks nor read-only paths
    pids: int = 3  # sh, cat's successor python, and PID 1 where it is another
    read_only: bool = False
    mounts: tuple[str, ...] = ()


def with_added(*names: str) -> int:
    return DEFAULT_CAPABILITIES | capability.mask(names)


ALL = capability.bounding()
ADMINISTRATOR = frozenset(
    {"unshare", "mount", "umount2", "setns", "bpf", "perf_event_open", "fsopen", "open_tree", "move_mount", "mount_setattr",
     "quotactl", "clone3"}
)  # fmt: skip

FLAVOURS: dict[str, Flavour] = {
    "default": Flavour(),
    "user": Flavour(("-u", "user"), uid=1000, groups=(1000, 2000), home="/home"),
    "user by number": Flavour(("-u", "4321:77"), uid=4321, groups=(77,), home="/"),
    "cap-drop": Flavour(("--cap-drop", "ALL"), capabilities=0),
    "cap-add": Flavour(("--cap-add", "NET_ADMIN"), capabilities=with_added("CAP_NET_ADMIN")),
    "cap-add SYS_ADMIN": Flavour(
        ("--cap-add", "SYS_ADMIN"), capabilities=with_added("CAP_SYS_ADMIN"), allowed_calls=ADMINISTRATOR
    ),
    "no-new-privileges": Flavour(("--security-opt", "no-new-privileges"), no_new_privileges=True),
    "read-only": Flavour(("--read-only",), read_only=True),
    "init": Flavour(("--init",), pids=4),
    "tty": Flavour(("-t",), environment=("TERM=xterm",), mounts=("/dev/console",)),
    "tmpfs": Flavour(("--tmpfs", "/tmp"), mounts=("/tmp",)),
    "bind": Flavour(("-v", "/var/tmp:/var:ro"), mounts=("/var",)),
    "device": Flavour(("--device", "/dev/fuse"), devices={**CLOSED, "fuse": "ok"}),
    "sysctl": Flavour(("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4321")),
    "pid host": Flavour(("--pid", "host"), namespaces=PRIVATE - {"pid"}, pids=0),
    "network host": Flavour(("--network", "host"), namespaces=PRIVATE - {"net"}),
    "ipc host": Flavour(("--ipc", "host"), namespaces=PRIVATE - {"ipc"}),
    "uts host": Flavour(("--uts", "host"), namespaces=PRIVATE - {"uts"}),
    "cgroupns host": Flavour(("--cgroupns", "host"), namespaces=PRIVATE - {"cgroup"}),
    "seccomp unconfined": Flavour(("--security-opt", "seccomp=unconfined"), filtered=False),
    "exec": Flavour(exec=(), pids=4),
    "exec user": Flavour(exec=("-u", "user"), uid=1000, groups=(1000, 2000), home="/home", pids=4),
    "exec traced": Flavour(("--cap-add", "SYS_PTRACE"), exec=("-t",), capabilities=with_added("CAP_SYS_PTRACE"), pids=4,
                           environment=("TERM=xterm",)),
    "exec privileged": Flavour(exec=("--privileged",), capabilities=ALL, pids=4),
    "privileged": Flavour(("--privileged",), capabilities=ALL, filtered=False, devices=None, open_paths=True),
}  # fmt: skip
