"""A container that looks at every process that comes into its sight, as fast as it can, and prints each new thing it finds.

    root FILE      the machine's file could be read through /proc/PID/root
    write EXE      /proc/PID/exe lies on a mount that may be written: once its process has ended, so may the file
    fd TARGET      where a descriptor of another process leads
    environ WORD   a variable of another process
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.containment import inside
from tests.running import Daemon, until

SOURCE = """
import os, sys
seen = set()
def tell(*words):
    if words not in seen:
        seen.add(words)
        print(*words, flush=True)
print("ready", flush=True)
me = str(os.getpid())
while True:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == me:
            continue
        try:
            with open(f"/proc/{pid}/root" + sys.argv[1]) as file:
                tell("root", file.read())
        except OSError:
            pass
        try:
            if not os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY:
                tell("write", os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            pass
        try:
            for each in os.listdir(f"/proc/{pid}/fd"):
                tell("fd", os.readlink(f"/proc/{pid}/fd/{each}").partition(":")[0])
        except OSError:
            pass
        try:
            with open(f"/proc/{pid}/environ") as file:
                for word in file.read().split(chr(0)):
                    tell("environ", word.partition("=")[0])
        except OSError:
            pass
"""


@contextlib.contextmanager
def watching(daemon: Daemon, secret: str, *flags: str) -> Iterator[str]:
    """The id of a container that watches already."""
    command = (inside.PYTHON, "-I", "-S", "-c", SOURCE, secret)
    container = daemon.docker("run", "-d", *inside.USR, *flags, inside.IMAGE, *command).stdout.decode().strip()
    try:
        until(lambda: b"ready" in daemon.docker("logs", container).stdout, "the watcher has begun")
        yield container
    finally:
        daemon.docker("rm", "-f", container)


def found(daemon: Daemon, container: str) -> set[tuple[str, str]]:
    lines = daemon.docker("logs", container).stdout.decode().splitlines()
    return {(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line != "ready")}
