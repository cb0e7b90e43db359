"""A program that touches containers runs from a read-only view of the interpreter.

    /usr/bin/python3.11 ── open_tree(CLONE) ──▶ detached mount of that one file ── mount_setattr(RDONLY) ──▶ execve(/proc/self/fd/N)

Whoever gets hold of /proc/PID/exe of a process that entered a container can open the very file that the host runs, and
write to it once nobody executes it (CVE-2019-5736; for a Python runtime the file is the host's interpreter). Through the
view that open is refused: EROFS. The view belongs to the process alone, no path leads to it, and it costs three system
calls, where a copy in a memfd costs the interpreter's size in memory for each process. Where the kernel or missing rights
do not allow it (Linux < 5.12, no CAP_SYS_ADMIN), a sealed memfd it is.

The new interpreter is told `-I -S`: neither PYTHON* variables nor site-packages' .pth files nor the working directory have
a say in what code runs; the directory of this very package is appended to the path by the program text.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Mapping, Sequence

from gorae.linux.libc import AT_EMPTY_PATH, AT_FDCWD, call

INTERPRETER = "/proc/self/exe"
MARK = "gorae_readonly"  # sys._xoptions: the second time round there is no third
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
# linux/mount.h. Not from `gorae.linux.mount`: the first interpreter does this and nothing else, and what it imports is all it
# costs.
OPEN_TREE_CLONE = 1
MOUNT_ATTR_RDONLY = 0x01

PROGRAM = """\
import sys
sys.path.append(sys.argv[1])
module = sys.argv[2]
del sys.argv[:2]
import importlib
sys.exit(importlib.import_module(module).main())
"""


def through_readonly_interpreter(argv: Sequence[str]) -> None:
    """Go on in a protected interpreter: returns if this one is, else this process becomes `argv` in a new one and does not return.

    `argv` is a module and its arguments: `("gorae.runtime.cli.main", *sys.argv[1:])`; the module's `main()` is called, its
    result is the exit status. Call it first of all, before descriptors are opened or threads started: pid, descriptors that
    are not close-on-exec, environment and working directory stay. Raises OSError when no protected view can be made.
    """
    if protected():
        return
    if MARK in sys._xoptions:
        raise OSError(errno.EROFS, "the interpreter is still writable after running it from a read-only view", INTERPRETER)
    execute(argv, os.environ)


def protected() -> bool:
    """Is the file behind /proc/self/exe out of reach for writers: on a read-only mount, or sealed memory?"""
    if os.statvfs(INTERPRETER).f_flag & os.ST_RDONLY:
        return True
    descriptor = os.open(INTERPRETER, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:  # EINVAL: no memfd
        return False
    finally:
        os.close(descriptor)


def execute(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """As `through_readonly_interpreter`, but always: how a protected program replaces itself, for instance by a newer version."""
    descriptor = view()
    try:
        os.execve(f"/proc/self/fd/{descriptor}", command(argv), dict(environment))
    finally:
        os.close(descriptor)


def view() -> int:
    """A descriptor of this interpreter that can be executed and that no one can write through, whatever their rights."""
    if protected():
        return os.open(INTERPRETER, os.O_PATH | os.O_CLOEXEC)
    try:
        descriptor = call("open_tree", AT_FDCWD, os.fsencode(INTERPRETER), OPEN_TREE_CLONE | os.O_CLOEXEC, path=INTERPRETER)
        try:
            # struct mount_attr: set, clear, propagation, user namespace
            attributes = struct.pack("=4Q", MOUNT_ATTR_RDONLY, 0, 0, 0)
            call("mount_setattr", descriptor, b"", AT_EMPTY_PATH, attributes, len(attributes), path=INTERPRETER)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    except OSError as error:
        # EINVAL: the file lies on a mount that is not in this mount namespace.
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            raise
    from gorae.linux import fd

    with open(INTERPRETER, "rb") as interpreter:
        return fd.sealed_memfd("python", interpreter.read(), executable=True)


def command(argv: Sequence[str]) -> list[str]:
    # argv[0] must stay a path to the real interpreter: from it Python finds its own standard library (and a virtual
    # environment's base).
    module, *arguments = argv
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-I", "-S", "-X", MARK, "-c", PROGRAM, home, module, *arguments]
