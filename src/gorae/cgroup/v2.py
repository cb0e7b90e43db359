"""What is particular to the unified hierarchy.

    made      a controller works in a directory when all directories above have it in cgroup.subtree_control
    freeze    cgroup.freeze; cgroup.events then says `frozen 1`, and polls as POLLPRI when it changes (Linux 5.2)
    kill      cgroup.kill: everything below, atomically (Linux 5.14)
    devices   a BPF program on the directory
"""

from __future__ import annotations

import os
import select
import time
from contextlib import ExitStack

from gorae.cgroup import files
from gorae.cgroup.layout import Hierarchy
from gorae.errors import Unavailable
from gorae.linux import bpf, libc


def make(hierarchy: Hierarchy, directory: str) -> bool:
    """Make the directory, with its parents and their controllers; False when it was there."""
    above = os.path.dirname(directory)
    if hierarchy.controllers:
        _enable(hierarchy, above)
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return False
    except FileNotFoundError:
        if not above.startswith(hierarchy.directory + "/"):
            raise
        make(hierarchy, above)
        return make(hierarchy, directory)
    return True


def _enable(hierarchy: Hierarchy, directory: str) -> None:
    """Turn the hierarchy's controllers on for the children of `directory`, from the top.

    What cannot be turned on (a parent that still holds processes gives EBUSY) is left out here; the limits of that controller
    then have no file, which `Cgroup.apply` reports.
    """
    path = f"{directory}/cgroup.subtree_control"
    missing = set(hierarchy.controllers) - set(files.read_or_empty(path).split())
    if not missing or not os.path.exists(path):
        return
    if directory != hierarchy.directory:
        _enable(hierarchy, os.path.dirname(directory))
    for name in sorted(missing):
        try:
            files.write(path, f"+{name}")
        except OSError:
            continue


def set_frozen(directory: str, frozen: bool, patience: float) -> None:
    """Raises `Unavailable`, with all thawed again, when it takes longer than `patience` seconds."""
    files.write(f"{directory}/cgroup.freeze", "1" if frozen else "0")
    if not _wait_for(directory, f"frozen {int(frozen)}", patience) and frozen:
        files.write(f"{directory}/cgroup.freeze", "0")
        raise Unavailable(f"{directory}: cannot be frozen: a process there stays in an uninterruptible call")


def is_frozen(directory: str) -> bool:
    return files.read_or_empty(f"{directory}/cgroup.freeze").strip() == "1"


def kill(directory: str) -> None:
    files.write(f"{directory}/cgroup.kill", "1")


def _wait_for(directory: str, line: str, patience: float) -> bool:
    descriptor = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        deadline = time.monotonic() + patience
        while line not in os.pread(descriptor, 4096, 0).decode().splitlines():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
        return True
    finally:
        os.close(descriptor)


def set_device_program(directory: str, instructions: tuple[bpf.Instruction, ...]) -> None:
    """Put the program in the place of those that are attached. The kernel asks all programs up to the root, and all must agree."""
    with ExitStack() as stack:

        def owned(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        try:
            place = owned(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise libc.named(error, "open", directory) from None
        before = [owned(bpf.program_by_id(number)) for number in bpf.query_cgroup(place)]
        program = owned(bpf.load_device_program(instructions))
        bpf.attach_cgroup(place, program, replace_fd=before[0] if before else -1)
        for old in before[1:]:
            bpf.detach_cgroup(place, old)
