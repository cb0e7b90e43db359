"""How this process calls the kernel.

    syscall(SYS["mount"], source, target, …)
        │  integers, bytes (NUL-terminated C strings), None (NULL), ctypes arrays and byref(…)
        ▼
    PyDLL(None).syscall(long number, word × 6)      errno by use_errno, kept per thread
        │
        ├─ ≥ 0   the result
        └─ -1    OSError(errno, "mount: Permission denied", path)

`PyDLL` keeps the interpreter's lock for the time of the call: after a raw `clone3` the child has only one thread, and a lock that
another thread took between release and re-take would never be given back there. The price is that a *blocking* call blocks every
thread; nothing in this package blocks by `syscall` for longer than the kernel works.

`syscall` is variadic in C. All six arguments are always passed, each as wide as a `long`: the C library loads six registers
whatever the call needs, and a ctypes call without prototypes would cut integers to 32 bits. A word is declared as `void *`, which
ctypes passes like a `long` on every Linux ABI and which also takes `bytes`, `None` and `byref(…)` without a copy.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from gorae.linux.syscall_table import TABLES

if TYPE_CHECKING:
    from ctypes import _CArgObject as Reference

    Word = int | bytes | None | ctypes.Array[Any] | Reference

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000


def _table_name() -> str:
    """The machine whose numbers hold for *this process*: a 32-bit interpreter may run on a 64-bit kernel."""
    machine = os.uname().machine
    narrow = ctypes.sizeof(ctypes.c_void_p) == 4
    if machine == "x86_64":
        return "i386" if narrow else "x86_64"
    if machine in ("aarch64", "arm64"):
        return "arm" if narrow else "aarch64"
    if machine in ("i386", "i486", "i586", "i686"):
        return "i386"
    if machine.startswith("arm"):
        return "arm"
    return machine


MACHINE = _table_name()
SYS: dict[str, int] = TABLES.get(MACHINE, {})
"""Number by name for this process. Empty on a machine without a table; then every call here fails with ENOSYS."""

_library = ctypes.PyDLL(None, use_errno=True)
_syscall = _library.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6

_PADDING: tuple[tuple[int, ...], ...] = tuple((0,) * (6 - count) for count in range(7))


def syscall(number: int, *arguments: Word, path: str | None = None) -> int:
    """Make one system call with up to six arguments and return its result.

    `path` is only for the error. Raises OSError; EINTR is not retried (see `man 7 signal` for the calls that can give it).
    """
    result: int = _syscall(number, *arguments, *_PADDING[len(arguments)])
    if result == -1:
        raise failure(_name_of(number), ctypes.get_errno(), path)
    return result


def call(name: str, *arguments: Word, path: str | None = None) -> int:
    """As `syscall`, by name. A name without a number on this machine fails with ENOSYS as an old kernel would."""
    number = SYS.get(name)
    if number is None:
        raise failure(name, 38, path)
    result: int = _syscall(number, *arguments, *_PADDING[len(arguments)])
    if result == -1:
        raise failure(name, ctypes.get_errno(), path)
    return result


def failure(name: str, number: int, path: str | None = None, more: str = "") -> OSError:
    """The error of the call `name`; OSError picks its subclass (FileNotFoundError, PermissionError, …) by the number."""
    words = f"{name}: {os.strerror(number)}"
    if more:
        words = f"{words} ({more})"
    return OSError(number, words) if path is None else OSError(number, words, path)


def named(error: OSError, name: str, path: str | None = None) -> OSError:
    """An error of Python's own `os` function, retold in the form of `failure`."""
    return failure(name, error.errno or 0, path)


def text(value: str | bytes) -> bytes:
    """A C string: the file system's bytes of `value`; raises ValueError at a NUL, which C would take for the end."""
    raw = os.fsencode(value)
    if b"\0" in raw:
        raise ValueError(f"{value!r} contains a NUL character")
    return raw


def _name_of(number: int) -> str:
    for name, value in SYS.items():
        if value == number:
            return name
    return f"syscall {number}"
