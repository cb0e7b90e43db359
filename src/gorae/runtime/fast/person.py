"""Who the program is, what it may do and how it starts, as ops: what belongs to the process itself.

    alone       non-dumpable, no descriptor too many, default signals, own session; into the cgroups; namespaces joined
    identity    the child reads passwd and group into the arena, tells, and waits: the parent, which can parse, puts ids, groups and
                HOME into the slots, looks whether the child is in its cgroups, and lets it go
    the rest    stdio or terminal, limits, capabilities, seccomp, finding the program, execve
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable

from gorae.linux import capability, process
from gorae.linux.fd import CLOSE_RANGE_CLOEXEC, LAST
from gorae.linux.namespace import CLONE_NEWUSER
from gorae.linux.system import DEVPTS_SUPER_MAGIC
from gorae.linux.tty import TIOCGPTPEER, TIOCSPTLCK
from gorae.runtime.fast.arena import FD, GROUP, LIMIT, MESSAGE, PASSWD, REPORT, SCRATCH
from gorae.runtime.fast.code import ANY, WORD, CannotLowerError, Code, Label, Shared, Slot, Tell, Value
from gorae.runtime.fast.places import (
    AT_FDCWD,
    DIRECTORY,
    STAT,
    STAT_GID,
    STAT_MODE,
    STAT_RDEV,
    STAT_UID,
    STATFS,
    STATFS_TYPE,
    attach,
    is_kind,
    open_inside,
    open_target,
)
from gorae.runtime.fast.slots import (
    ENTRANCES,
    GID,
    GROUP_SIZE,
    GROUPS,
    GROUPS_SIZE,
    HOME,
    NAMED,
    ONE,
    PASSWD_SIZE,
    PROCESS,
    PROGRAM,
    REFUSED,
    ROOT,
    TERMINAL,
    THREE,
    TWO,
    UID,
)
from gorae.runtime.masks import COPY
from gorae.runtime.null import NUMBER
from gorae.runtime.program import AT_EACCESS

IDENTIFY, EXEC = b"i", b"x"
ENVIRONMENT_HOME = PASSWD + (LIMIT >> 1)
MOST_GROUPS = 65536
MSG_NOSIGNAL = 0x4000
PIECE = SCRATCH + 1024
PR_CAPBSET_DROP = 24


def say(code: Code, word: bytes) -> None:
    """When nobody listens any more, whoever wanted this program is gone."""
    said = Label()
    code.set(THREE, Shared(8 * REPORT), width=8)
    code.call("sendto", THREE, code.data(word), 1, MSG_NOSIGNAL, 0, 0, out=ONE, errnos=(ANY,))
    code.test(ONE, 1, to=(gone := Label()))
    code.go(said)
    code.place(gone)
    code.quit(1)
    code.place(said)


def wait_for_parent(code: Code) -> None:
    going = Label()
    code.set(THREE, Shared(8 * REPORT), width=8)
    code.store(Shared(PIECE), 0, width=4)
    code.call("recvfrom", THREE, Shared(PIECE), 1, 0, 0, 0)
    code.test(Shared(PIECE), ord("g"), width=4, unequal=True, to=going)
    code.quit(1)
    code.place(going)


def close_descriptors(code: Code, kept: tuple[int, ...]) -> None:
    first = 3
    for descriptor in kept:
        if descriptor > first:
            code.call("close_range", first, descriptor - 1, 0)
        first = max(first, descriptor + 1)
    code.call("close_range", first, LAST, 0)


def reset_signals(code: Code, ignored: tuple[int, ...]) -> None:
    for number in ignored:
        code.call("rt_sigaction", number, code.data(bytes(32)), 0, 8)
    code.call("rt_sigprocmask", 2, code.data(bytes(8)), 0, 8)


def enter_cgroup(code: Code, entrances: int, path: str) -> None:
    for number in range(entrances):
        code.call("write", Slot(ENTRANCES + number), code.data(b"0"), 1, path=path)
        code.close(Slot(ENTRANCES + number))


def join_namespace(code: Code, name: str, flag: int) -> None:
    if name not in NAMED or flag == CLONE_NEWUSER:
        raise CannotLowerError
    code.call("setns", NAMED[name], flag)
    code.close(NAMED[name])


def join_process(code: Code, flags: int) -> None:
    if flags & CLONE_NEWUSER:
        raise CannotLowerError
    ended, joined = Label(), Label()
    code.call("setns", PROCESS, flags, errnos=(errno.ESRCH,), to=ended)
    code.go(joined)
    code.place(ended)
    code.fail(errno.ESRCH, Tell(kind="not running"))
    code.place(joined)
    code.close(PROCESS)


def set_name(code: Code, call: str, name: str) -> None:
    raw = os.fsencode(name)
    code.call(call, code.text(name), len(raw), path=name)


def read_accounts(code: Code, *_: object) -> None:
    for path, size, buffer in (("/etc/passwd", PASSWD_SIZE, PASSWD), ("/etc/group", GROUP_SIZE, GROUP)):
        missing = Label()
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        open_inside(code, path, flags, ONE, errnos=(errno.ENOENT, errno.ENOTDIR), to=missing)
        code.call("fstat", ONE, STAT)
        is_kind(code, stat.S_IFREG, error=errno.EINVAL, tell=Tell("read", path, "not a regular file"))
        code.read(ONE, Shared(buffer), LIMIT + 1, size, path)
        code.close(ONE)
        code.place(missing)
    say(code, IDENTIFY)
    wait_for_parent(code)


def use_stdio(code: Code, stdio: tuple[int, ...]) -> None:
    """The report socket and what the birth keeps lie above the three, so nothing has to get out of the way."""
    if len(stdio) != 3:
        raise CannotLowerError
    lifted: list[Value] = []
    for slot, descriptor in zip((ONE, TWO, THREE), stdio, strict=True):
        if 0 <= descriptor < 3:
            code.call("dup", descriptor, out=slot)
        lifted.append(slot if 0 <= descriptor < 3 else descriptor)
    for target, source in enumerate(lifted):
        code.call("dup2", source, target)


def open_terminal(code: Code, height: int, width: int) -> None:
    open_inside(code, "/dev/pts", os.O_PATH | os.O_DIRECTORY, ONE)
    code.call("fstatfs", ONE, STATFS)
    tell = Tell("open", "/dev/pts", "a terminal needs a devpts mounted there")
    code.test(STATFS_TYPE, DEVPTS_SUPER_MAGIC, width=8, error=errno.ENOTTY, tell=tell)
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    code.call("openat", ONE, code.text("ptmx"), flags | os.O_NOFOLLOW, 0, out=TWO, path="ptmx")
    code.call("ioctl", TWO, TIOCSPTLCK, code.data(bytes(4)), path="ptmx")
    code.call("ioctl", TWO, TIOCGPTPEER, flags, out=TERMINAL, path="ptmx")
    code.close(ONE)
    if height or width:
        size = struct.pack("HHHH", min(max(height, 0), 65535), min(max(width, 0), 65535), 0, 0)
        code.call("ioctl", TWO, 0x5414, code.data(size))  # TIOCSWINSZ
    code.store(Shared(FD), TWO, width=4)
    code.set(THREE, Shared(8 * REPORT), width=8)
    code.call("sendmsg", THREE, Shared(MESSAGE), MSG_NOSIGNAL)
    code.close(TWO)


def bind_console(code: Code) -> None:
    code.call("open_tree", TERMINAL, code.text(""), COPY | os.O_CLOEXEC, out=TWO)
    open_target(code, "/dev/console", False, ONE)
    attach(code, TWO, ONE, "/dev/console")
    code.close(ONE)
    code.close(TWO)


def use_terminal(code: Code, stdio: tuple[int, ...]) -> None:
    if len(stdio) != 3:
        raise CannotLowerError
    code.call("ioctl", TERMINAL, 0x540E, 0)  # TIOCSCTTY
    for target in (0, 1, 2):
        code.call("dup2", TERMINAL, target)
    code.close(TERMINAL)


def enter_directory(code: Code, path: str, final: bool) -> None:
    end, refused, entered = Label(), Label(), Label()
    if final:
        code.test(UID, 0, unequal=True, to=end)
        code.call("chdir", code.text(path), path=path)
    else:
        code.call("chdir", code.text(path), out=ONE, errnos=(errno.EACCES, errno.EPERM), to=refused, path=path)
    code.go(entered)
    if not final:
        code.place(refused)
        code.test(UID, 0, to=end)
        code.fail(ONE, Tell("chdir", path))
    code.place(entered)
    tell = Tell("chdir", path, "the working directory is outside of the container")
    code.call("getcwd", Shared(SCRATCH), 4097)
    code.test(Shared(SCRATCH), ord("/"), width=1, error=errno.ENOENT, tell=tell)
    code.place(end)


def own_stdio(code: Code) -> None:
    passed = (errno.EROFS, errno.EPERM, errno.EINVAL, errno.EBADF)
    for descriptor in (0, 1, 2):
        end = Label()
        code.call("fstat", descriptor, STAT, errnos=passed, to=end)
        code.test(STAT_RDEV, NUMBER, width=8, unequal=True, to=end)
        code.set(ONE, STAT_UID, width=4)
        code.test(ONE, UID, unequal=True, to=end)
        code.set(TWO, STAT_GID, width=4)
        code.call("fchown", descriptor, UID, TWO, errnos=passed)
        code.place(end)


def prlimit(code: Code, name: str, soft: int, hard: int) -> None:
    limit = code.words(soft & WORD, hard & WORD)
    code.call("prlimit64", 0, process.RLIMITS[name], limit, 0, path=name, give_up=True)  # plain says what is missing


def drop_bounding(code: Code, has: int, kept: tuple[str, ...]) -> None:
    wanted = mask(kept)
    for number in range(has.bit_length()):
        if has & ~wanted & 1 << number:
            code.call("prctl", PR_CAPBSET_DROP, number)


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << capability.NAMES[name] for name in set(names) if name in capability.NAMES)


def set_ids(code: Code) -> None:
    """Also looks whether the groups are the ones that were set, as `process.set_groups` does."""
    code.call("setgroups", GROUPS, Shared(PASSWD))
    code.call("getgroups", MOST_GROUPS, Shared(GROUP), out=ONE)
    tell = Tell("setgroups", more="the groups were not set")
    code.test(ONE, GROUPS, error=errno.EPERM, tell=tell)
    code.same(Shared(PASSWD), Shared(GROUP), GROUPS_SIZE, errno.EPERM, tell)
    code.call("setresgid", GID, GID, GID, more="the id is not mapped in the user namespace")
    code.call("setresuid", UID, UID, UID, more="the id is not mapped in the user namespace")


def capset(
    code: Code,
    has: int,
    effective: tuple[str, ...],
    permitted: tuple[str, ...],
    inheritable: tuple[str, ...],
    ambient: tuple[str, ...],
) -> None:
    may, low, high = mask(permitted) & has, 0xFFFF_FFFF, 32
    sets = (mask(effective) & may, may, mask(inheritable) & has)
    header = code.data(struct.pack("=II", 0x20080522, 0))
    data = code.data(struct.pack("=6I", *(each & low for each in sets), *(each >> high for each in sets)))
    code.call("prctl", 47, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    code.call("capset", header, data)
    raised = mask(ambient) & may & mask(inheritable)
    for number in range(raised.bit_length()):
        if raised >> number & 1:
            code.call("prctl", 47, 2, number, 0, 0)  # PR_CAP_AMBIENT_RAISE


def install_seccomp(code: Code, program: bytes, flags: int) -> None:
    fprog = code.room(16)
    code.store(fprog, len(program) // 8)
    code.store(type(fprog)(fprog.offset + 8), code.data(program))
    code.call("seccomp", 1, flags, fprog)


def find_program(code: Code, path: str, name: str) -> None:
    """`program.find_program`: in PATH what is not there is passed over, what may not be executed is remembered, then told."""
    found = Label()
    if "/" in name:
        candidates = [name]
    else:
        candidates = [f"{directory or '.'}/{name}" for directory in path.split(":")]
        if len(candidates) > 64:
            raise CannotLowerError
    for candidate in candidates:
        _try_candidate(code, code.text(candidate), found, stop="/" in name)
    code.test(REFUSED, 0, to=(refused := Label()))
    code.fail(errno.ENOENT, Tell(path=name, kind="missing file" if "/" in name else "missing"))
    code.place(refused)
    code.fail(REFUSED, Tell(path=name, kind="refused"))
    code.place(found)


def _try_candidate(code: Code, path: Value, found: Label, stop: bool) -> None:
    """`stop`: it is the only one, and only its absence is passed over."""
    passed = (errno.ENOENT,) if stop else (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
    following, failed = Label(), Label()
    for name, arguments in (("newfstatat", (STAT, 0)), ("faccessat2", (os.X_OK, AT_EACCESS))):
        code.call(name, AT_FDCWD, path, *arguments, out=ONE, errnos=(ANY,), to=failed)
        if name == "newfstatat":
            code.set(ONE, -errno.EISDIR)
            code.test(STAT_MODE, stat.S_IFDIR, mask=0o170000, width=4, unequal=True, to=failed)
            code.set(ONE, -errno.EACCES)
            code.test(STAT_MODE, stat.S_IFREG, mask=0o170000, width=4, to=failed)
    code.set(PROGRAM, path)
    code.go(found)
    code.place(failed)
    for number in passed:
        code.test(ONE, -number, unequal=True, to=following)
    code.test(REFUSED, 0, to=following)
    code.set(REFUSED, ONE)
    code.place(following)


def execve(code: Code, environment: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    argv, envp = code.room(8 * (len(arguments) + 1)), code.room(8 * (len(environment) + 2))
    for number, argument in enumerate(arguments):
        code.store(type(argv)(argv.offset + 8 * number), code.text(argument))
    for number, word in enumerate(environment):
        code.store(type(envp)(envp.offset + 8 * number), code.text(word))
    code.store(type(envp)(envp.offset + 8 * len(environment)), HOME)
    say(code, EXEC)
    code.call("execve", PROGRAM, argv, envp, kind="exec")


LOWER: dict[str, Callable[..., None]] = {
    "set_dumpable": lambda code, on: code.call("prctl", process.PR_SET_DUMPABLE, int(on), 0, 0, 0),
    "setsid": lambda code: code.call("setsid"),
    "close_descriptors": close_descriptors,
    "reset_signals": reset_signals,
    "enter_cgroup": enter_cgroup,
    "check_cgroup": lambda code, path: None,  # the parent looks, while the child waits for its identity
    "wait_for_parent": wait_for_parent,
    "setns": join_namespace,
    "unshare": lambda code, flags: code.call("unshare", flags),
    "join_process": join_process,
    "open_root": lambda code: code.call("openat", AT_FDCWD, code.text("/"), DIRECTORY, 0, out=ROOT, path="/"),
    "sethostname": lambda code, name: set_name(code, "sethostname", name),
    "setdomainname": lambda code, name: set_name(code, "setdomainname", name),
    "join_session_keyring": lambda code, name: code.call(
        "keyctl", 1, code.text(name), errnos=(errno.ENOSYS, errno.EPERM), path=name, give_up=True
    ),
    "personality": lambda code, domain: code.call("personality", domain),
    "take_environment": lambda code, environment: None,  # in the parent
    "find_user": read_accounts,
    "take_user": read_accounts,
    "use_stdio": use_stdio,
    "open_terminal": open_terminal,
    "bind_console": bind_console,
    "use_terminal": use_terminal,
    "enter_directory": enter_directory,
    "own_stdio": own_stdio,
    "umask": lambda code, mask: code.call("umask", mask),
    "close_on_exec": lambda code: code.call("close_range", 3, LAST, CLOSE_RANGE_CLOEXEC),
    "sched_setattr": lambda code, attributes: code.call("sched_setattr", 0, code.data(attributes), 0),
    "ioprio_set": lambda code, value: code.call("ioprio_set", 1, 0, value),
    "prlimit": prlimit,
    "drop_bounding": drop_bounding,
    "set_keepcaps": lambda code, on: code.call("prctl", process.PR_SET_KEEPCAPS, int(on), 0, 0, 0),
    "set_ids": set_ids,
    "capset": capset,
    "set_no_new_privs": lambda code: code.call("prctl", process.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    "seccomp": install_seccomp,
    "find_program": find_program,
    "execve": execve,
}
