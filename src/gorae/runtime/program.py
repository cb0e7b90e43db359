"""The last steps: working directory, finding the program, waiting for `start`, execve.

    chdir ─▶ getcwd must be inside      "(unreachable)/…" is a directory of the machine, reached by a descriptor (CVE-2024-21626)
    find_program                        as a shell does, with the PATH of the program's own environment
    barrier                             a FIFO that this process holds open both ways: one byte from `life.release` lets it go on
    execve                              the environment reaches only this call; it was never Python's
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from gorae.errors import BirthError, CommandNotExecutable, CommandNotFound
from gorae.linux import libc

if TYPE_CHECKING:
    from gorae.runtime.scene import Scene

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AT_EACCESS = 0x200


def take_environment(scene: Scene, environment: tuple[str, ...]) -> None:
    """Of several with one name the last one counts."""
    scene.environment = list({each.partition("=")[0]: each for each in environment}.values())


def enter_directory(scene: Scene, path: str, final: bool) -> None:
    """Tried as root, and again (`final`) as the user when root was not let in (a directory of a network file system)."""
    if final and scene.uid == 0:
        return
    try:
        os.chdir(path)
    except PermissionError:
        if final or scene.uid == 0:
            raise
        return
    except OSError as error:
        raise libc.named(error, "chdir", path) from None
    here = _getcwd()
    if not here.startswith(b"/"):
        raise libc.failure("chdir", errno.ENOENT, path, "the working directory is outside of the container")


def _getcwd() -> bytes:
    """The system call itself: the C library would hide "(unreachable)" behind a search of its own."""
    buffer = ctypes.create_string_buffer(4097)
    libc.call("getcwd", buffer, 4097)
    return buffer.value


def find_program(scene: Scene, name: str) -> None:
    """Keeps the path; raises in Docker's words, which its clients turn into 127 and 126."""
    if "/" in name:
        number = _why_not(name)
        if number == errno.ENOENT:
            raise CommandNotFound(
                f'exec: "{name}": stat {name}: no such file or directory', step="find_program", errno=number, path=name
            )
        if number:
            raise _refusal(name, name, number)
        scene.program = name
        return
    refused = 0
    path = next((each[5:] for each in scene.environment if each.startswith("PATH=")), DEFAULT_PATH)
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        number = _why_not(candidate)
        if not number:
            scene.program = candidate
            return
        if number not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            refused = refused or number
    if refused:
        raise _refusal(name, name, refused)
    raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH', step="find_program", errno=errno.ENOENT, path=name)


def _why_not(path: str) -> int:
    """0 for a file that this process may execute, otherwise the error that execve would give."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.EIO
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    if not stat.S_ISREG(mode):
        return errno.EACCES
    try:
        # The kernel's answer, not the mode's: capabilities, ACLs and noexec count. Linux 5.8; before, the mode for the effective
        # user.
        libc.call("faccessat2", libc.AT_FDCWD, libc.text(path), os.X_OK, AT_EACCESS)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return 0 if os.access(path, os.X_OK, effective_ids=True) else errno.EACCES
        return error.errno or errno.EIO
    return 0


def _refusal(name: str, path: str, number: int) -> CommandNotExecutable:
    return CommandNotExecutable(f'exec: "{name}": {os.strerror(number).lower()}', step="find_program", errno=number, path=path)


def wait_at_barrier(scene: Scene) -> None:
    while not os.read(scene.descriptors["barrier"], 1):
        pass


def open_barrier(scene: Scene, path: str) -> None:
    """Both ways, which on Linux never blocks: so there is always a reader, and no end of file without a writer."""
    scene.keep("barrier", os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
    if not stat.S_ISFIFO(os.fstat(scene.descriptors["barrier"]).st_mode):
        raise libc.failure("open", errno.EINVAL, path, "the barrier must be a FIFO")


def execve(scene: Scene, arguments: tuple[str, ...]) -> None:
    """Only returns by raising. Built here: the scene's environment has been completed on the way."""
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*map(os.fsencode, arguments), None)
    envp = (ctypes.c_char_p * (len(scene.environment) + 1))(*map(os.fsencode, scene.environment), None)
    try:
        libc.call("execve", os.fsencode(scene.program), argv, envp)
    except OSError as error:
        raise not_executed(scene.program, error.errno or 0) from None


def not_executed(path: str, number: int) -> BirthError:
    kind = CommandNotFound if number == errno.ENOENT else CommandNotExecutable
    return kind(f"exec {path}: {os.strerror(number).lower()}", step="execve", errno=number, path=path)


DEEDS: dict[str, Callable[..., object]] = {
    "take_environment": take_environment,
    "enter_directory": enter_directory,
    "find_program": find_program,
    "open_barrier": open_barrier,
    "execve": execve,
}
