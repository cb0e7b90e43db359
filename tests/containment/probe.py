"""Runs inside a container and tells, as one line of JSON, what it sees and how far it gets. Only the standard library; it never
changes what it could open, and it has no opinion: the tests judge.

    sh -c 'cat /proc/self/status; …python3 -I -c "$0"; true' SOURCE      sh is the container's program, this its child, so that
                                                                        what Python does to signals and descriptors is not seen
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import stat
import struct

PARENT = f"/proc/{os.getppid()}"
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEVICES = {
    "null": (stat.S_IFCHR, 1, 3),
    "mem": (stat.S_IFCHR, 1, 1),
    "kmsg": (stat.S_IFCHR, 1, 11),
    "fuse": (stat.S_IFCHR, 10, 229),
    "loop-control": (stat.S_IFCHR, 10, 237),
    "tun": (stat.S_IFCHR, 10, 200),
    "disk": (stat.S_IFBLK, 254, 0),
    "loop0": (stat.S_IFBLK, 7, 0),
    "sda": (stat.S_IFBLK, 8, 0),
}
FAMILIES = {"UNIX": 1, "INET": 2, "INET6": 10, "NETLINK": 16, "PACKET": 17, "ALG": 38, "VSOCK": 40, "XDP": 44}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
# x86-64 and aarch64.
NUMBERS = {
    "x86_64": {"unshare": 272, "mount": 165, "umount2": 166, "setns": 308, "keyctl": 250, "add_key": 248, "request_key": 249,
               "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "open_by_handle_at": 304, "kexec_load": 246,
               "init_module": 175, "delete_module": 176, "reboot": 169, "swapon": 167, "iopl": 172, "io_uring_setup": 425,
               "fsopen": 430, "open_tree": 428, "move_mount": 429, "mount_setattr": 442, "pivot_root": 155, "settimeofday": 164,
               "syslog": 103, "acct": 163, "quotactl": 179, "ptrace": 101, "clone3": 435, "personality": 135},
    "aarch64": {"unshare": 97, "mount": 40, "umount2": 39, "setns": 268, "keyctl": 219, "add_key": 217, "request_key": 218,
                "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "open_by_handle_at": 265, "kexec_load": 104,
                "init_module": 105, "delete_module": 106, "reboot": 142, "swapon": 224, "io_uring_setup": 425, "fsopen": 430,
                "open_tree": 428, "move_mount": 429, "mount_setattr": 442, "pivot_root": 41, "settimeofday": 170, "syslog": 116,
                "acct": 89, "quotactl": 60, "ptrace": 117, "clone3": 435, "personality": 92},
}  # fmt: skip
# Arguments that can do no harm should the call be let through: bad pointers, bad magic, nothing asked for.
BAD = ctypes.c_void_p(1)
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "reboot": (0, 0, 0, BAD),
    "unshare": (0x20000000,),  # CLONE_NEWIPC: the one namespace that nothing of the probe depends on
    "personality": (0x0040000,),  # ADDR_NO_RANDOMIZE
    "settimeofday": (BAD, BAD),
    "iopl": (3,),
    "ptrace": (0,),  # PTRACE_TRACEME
    "clone3": (BAD, 0),
    "delete_module": (BAD, 0),
    "keyctl": (0, -3, 0),  # KEYCTL_GET_KEYRING_ID, the session's
    "syslog": (10,),  # SYSLOG_ACTION_SIZE_BUFFER
}


def name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def attempt(deed, *arguments) -> str:
    """ "ok" or the error's name."""
    try:
        result = deed(*arguments)
    except OSError as error:
        return name(error)
    if isinstance(result, int) and deed is os.open:
        os.close(result)
    return "ok"


def text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError as error:
        return f"<{name(error)}>"


def mounts() -> list[dict[str, str]]:
    found = []
    for line in text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        found.append(
            {"at": fields[4], "root": fields[3], "options": fields[5], "passing": " ".join(fields[6:]), "type": kind[0],
             "source": kind[1], "super": kind[2] if len(kind) > 2 else ""}
        )  # fmt: skip
    return found


def masks() -> dict[str, str]:
    found = {}
    for path in MASKED:
        try:
            status = os.stat(path)
        except OSError as error:
            found[path] = name(error)
            continue
        if stat.S_ISDIR(status.st_mode):
            entries = len(os.listdir(path))
            read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
            found[path] = "empty" if not entries and read_only else f"{entries} entries"
        elif stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3):
            found[path] = "null"
        else:
            found[path] = "readable" if attempt(os.open, path, os.O_RDONLY) == "ok" else "closed"
    thermal = [
        path
        for cpu in os.listdir("/sys/devices/system/cpu")
        if os.path.isdir(path := f"/sys/devices/system/cpu/{cpu}/thermal_throttle")
    ]
    found["thermal_throttle"] = "open" if any(os.listdir(path) for path in thermal) else "empty" if thermal else "ENOENT"
    return found


def writable(top: str, limit: int = 40) -> list[str]:
    """Files below that have a mode for writing and open for it (and are closed again)."""
    found: list[str] = []
    for directory, names, files in os.walk(top):
        names[:] = [each for each in names if not each.isdigit() and each not in ("self", "thread-self")]
        for each in files:
            path = os.path.join(directory, each)
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                continue
            if not stat.S_ISREG(mode) or not mode & 0o222:
                continue
            if attempt(os.open, path, os.O_WRONLY | os.O_NONBLOCK) == "ok":
                found.append(path)
                if len(found) == limit:
                    return found
    return found


def devices() -> dict[str, str]:
    """Whether nodes of these numbers can be made, and then opened."""
    found = {}
    for word, (kind, major, minor) in DEVICES.items():
        path = f"/dev/probe-{word}"
        made = attempt(os.mknod, path, kind | 0o600, os.makedev(major, minor))
        if made != "ok":
            found[word] = f"mknod {made}"
            continue
        found[word] = attempt(os.open, path, os.O_RDONLY | os.O_NONBLOCK)
        os.unlink(path)
    return found


def dev() -> dict[str, str]:
    found = {}
    for each in sorted(os.listdir("/dev")):
        path = f"/dev/{each}"
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            found[each] = f"-> {os.readlink(path)}"
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
            mode = stat.S_IMODE(status.st_mode)
            found[each] = f"{kind} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)} {mode:04o}"
        else:
            found[each] = f"{stat.filemode(status.st_mode)}"
    return found


def cgroups() -> dict[str, object]:
    """Whether a group can be made or a limit changed in what is seen of the hierarchies."""
    tries = {}
    for mount in mounts():
        if mount["type"] in ("cgroup", "cgroup2") or mount["at"] == "/sys/fs/cgroup":
            tries[mount["at"]] = attempt(os.mkdir, f"{mount['at']}/probe")
            for file in ("cgroup.procs", "devices.allow", "release_agent", "memory.limit_in_bytes", "memory.max"):
                path = f"{mount['at']}/{file}"
                if os.path.exists(path):
                    tries[path] = attempt(os.open, path, os.O_WRONLY)
    return {"paths": sorted({line.split(":", 2)[2] for line in text("/proc/self/cgroup").splitlines()}), "tries": tries}


def sockets() -> dict[str, str]:
    found = {}
    for word, family in FAMILIES.items():
        kind = socket.SOCK_SEQPACKET if word == "ALG" else socket.SOCK_RAW if word in ("NETLINK", "PACKET") else socket.SOCK_STREAM
        try:
            socket.socket(family, kind).close()
            found[word] = "ok"
        except OSError as error:
            found[word] = name(error)
    return found


def calls() -> dict[str, str]:
    """Each in a child of its own: what is let through must not change the probe."""
    found = {}
    for word, number in NUMBERS.get(os.uname().machine, {}).items():
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                given = ARGUMENTS.get(word, (BAD, BAD, BAD, BAD, BAD, BAD))
                result = libc.syscall(number, *given)
                os.write(writing, (errno.errorcode.get(ctypes.get_errno(), "?") if result < 0 else "ok").encode())
            finally:
                os._exit(0)
        os.close(writing)
        found[word] = os.read(reading, 100).decode() or "killed"
        os.close(reading)
        os.waitpid(child, 0)
    return found


def keyring() -> str:
    """The description of the session's key ring, where keyctl(2) may be used."""
    buffer = ctypes.create_string_buffer(256)
    number = NUMBERS.get(os.uname().machine, {}).get("keyctl")
    if number is None or libc.syscall(number, 6, -3, buffer, 256) < 0:  # KEYCTL_DESCRIBE
        return errno.errorcode.get(ctypes.get_errno(), "?")
    return buffer.value.decode()


def chroot_escape() -> str:
    """The oldest way out: chroot below the working directory, then climb."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        answer = "?"
        try:
            before = os.stat("/")
            os.chdir("/")
            os.chroot("/usr")
            for _ in range(64):
                os.chdir("..")
            os.chroot(".")
            after = os.stat("/")
            answer = "inside" if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino) else "OUTSIDE"
        except OSError as error:
            answer = name(error)
        finally:
            os.write(writing, answer.encode())
            os._exit(0)
    os.close(writing)
    answer = os.read(reading, 100).decode()
    os.close(reading)
    os.waitpid(child, 0)
    return answer


def strangers() -> list[str]:
    """Ways into processes of other mount namespaces: /proc/PID/{root,exe,environ,mem,fd}, ptrace's own check. With device and
    inode of the root directory that it has.
    """
    found = []
    for pid in pids():
        try:
            root = os.stat(f"/proc/{pid}/root")
            if same(pid):
                continue
            found.append(f"root {root.st_dev}:{root.st_ino}")
        except OSError:
            if same(pid):
                continue
        found += [what for what in ("exe", "environ", "mem") if attempt(os.open, f"/proc/{pid}/{what}", os.O_RDONLY) == "ok"]
        for what in ("fd", "map_files"):
            try:
                # Root may list the numbers; what counts is following one.
                entries = os.listdir(f"/proc/{pid}/{what}")
                found += [what for each in entries if attempt(os.readlink, f"/proc/{pid}/{what}/{each}") == "ok"]
            except OSError:
                pass
    return found


def same(pid: str) -> bool:
    """Whether it is one of the container's own processes."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return False


def descriptors() -> dict[str, str]:
    return {each: os.readlink(f"{PARENT}/fd/{each}") for each in os.listdir(f"{PARENT}/fd")}


def guarded(deed):
    try:
        return deed()
    except OSError as error:
        return f"<{name(error)}>"


def files() -> dict[str, str]:
    found = {}
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        status = guarded(lambda path=path: os.stat(path))
        if isinstance(status, str):
            found[path] = status
        else:
            found[path] = f"{stat.S_IMODE(status.st_mode):04o} {attempt(os.open, path, os.O_WRONLY)}"
    return found


def network() -> dict[str, str]:
    found = {}
    for each in sorted(os.listdir("/sys/class/net")):
        found[each] = "ipv6 off" if text(f"/proc/sys/net/ipv6/conf/{each}/disable_ipv6").strip() == "1" else "ipv6 on"
    return found


def pids() -> list[str]:
    return sorted((each for each in os.listdir("/proc") if each.isdigit()), key=int)


def look() -> dict[str, object]:
    return {
        "environment": guarded(lambda: open(f"{PARENT}/environ").read().rstrip("\0").split("\0")),
        "descriptors": guarded(descriptors),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "pids": pids(),
        "first": text("/proc/1/comm").strip(),
        "namespaces": {each: os.readlink(f"/proc/self/ns/{each}") for each in os.listdir("/proc/self/ns")},
        "offsets": text("/proc/self/timens_offsets").split(),
        "uid_map": text("/proc/self/uid_map").split(),
        "mounts": mounts(),
        "masks": masks(),
        "read_only": {
            path: "ro" if os.statvfs(path).f_flag & os.ST_RDONLY else "rw" for path in READ_ONLY if os.path.exists(path)
        },
        "proc_writable": writable("/proc"),
        "sys_writable": writable("/sys/kernel") + writable("/sys/module") + writable("/sys/power") + writable("/sys/fs"),
        "devices": devices(),
        "dev": dev(),
        "cgroups": cgroups(),
        "sockets": sockets(),
        "calls": calls(),
        "keyring": keyring(),
        "chroot": chroot_escape(),
        "strangers": strangers(),
        "files": files(),
        "network": network(),
        "hostname": os.uname().nodename,
        "abstract": [line.split()[-1] for line in text("/proc/net/unix").splitlines()[1:] if "@" in line],
        "cwd": os.getcwd(),
        "root_writable": attempt(os.mkdir, "/probe-root"),
        "limits": text("/proc/self/limits"),
        "oom_score_adj": text("/proc/self/oom_score_adj").strip(),
        "pointer": struct.calcsize("P"),
    }


print(json.dumps(look()))
