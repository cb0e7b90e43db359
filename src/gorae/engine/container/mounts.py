"""The mounts of a container, in order. Pure.

/proc  /dev  /dev/pts  /sys  /sys/fs/cgroup  /dev/mqueue  /dev/shm      Docker's, unless the container mounts there itself
then by depth: its binds and tmpfs · /etc/resolv.conf /etc/hostname /etc/hosts
"""

from __future__ import annotations

from gorae.engine.container import volumes
from gorae.engine.container.facts import Facts
from gorae.engine.container.model import Container, MountPoint
from gorae.engine.container.modes import Sharing
from gorae.oci.runtimespec import Mount

RECURSIVE_READ_ONLY = (5, 12)  # mount_setattr(2)


def mounts(container: Container, shared: Sharing, facts: Facts, *, shm_size: int) -> tuple[Mount, ...]:
    config = container.config
    own = {point.destination: own_mount(point, facts) for point in container.mounts}
    for target, source in (
        ("/etc/resolv.conf", container.resolv_conf_path),
        ("/etc/hostname", container.hostname_path),
        ("/etc/hosts", container.hosts_path),
    ):
        if source and target not in own:
            access = ("ro",) if config.read_only else ()  # as in Docker: with --read-only these, too
            own[target] = Mount(destination=target, type="bind", source=source, options=("rbind", "rprivate", *access))
    chosen = [
        mount
        for mount in standard(shared, shm_size=shm_size, ipc=config.ipc_mode, writable=config.privileged)
        if mount.destination not in own and not ("/dev" in own and mount.destination.startswith("/dev/"))
    ]
    # By depth, so that no mount hides one that was made before it.
    return (*chosen, *sorted(own.values(), key=lambda mount: (mount.destination.count("/"), mount.destination)))


def standard(shared: Sharing, *, shm_size: int, ipc: str = "", writable: bool = False) -> tuple[Mount, ...]:
    closed = ("nosuid", "noexec", "nodev")
    access = "rw" if writable else "ro"
    devices = (
        Mount("/proc", "proc", "proc", closed),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        Mount("/sys", "sysfs", "sysfs", (*closed, access)),
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", (access, *closed)),
    )
    # Of whichever ipc namespace it is in: the host need not have it mounted.
    queue = Mount("/dev/mqueue", "mqueue", "mqueue", closed)
    if shared.ipc == "host":
        return (*devices, queue, Mount("/dev/shm", "bind", "/dev/shm", ("rbind", "rprivate", *closed)))
    if ipc == "none":
        return (*devices, queue)
    return (*devices, queue, Mount("/dev/shm", "tmpfs", "shm", (*closed, "mode=1777", f"size={shm_size}")))


def own_mount(point: MountPoint, facts: Facts) -> Mount:
    if point.type == "tmpfs":
        return Mount(point.destination, "tmpfs", "tmpfs", volumes.tmpfs_options(point.mode))
    words = point.mode.split(",")
    options = ["bind" if "norecursive" in words else "rbind", "rw" if point.read_write else "ro", point.propagation or "rprivate"]
    if not point.read_write and "ro-nonrecursive" not in words and facts.kernel >= RECURSIVE_READ_ONLY:
        options.append("rro")
    return Mount(point.destination, "bind", point.source, tuple(options))
