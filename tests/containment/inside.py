"""The probe taken inside: an image in which nothing but the machine's /usr is bound, and what the probe saw as a value.

The same words run the probe under ours and under dockerd (`docker` is whoever runs the stock CLI), so that both can be compared.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.storage.tars import directory, member, symlink, tar

Docker = Callable[..., "subprocess.CompletedProcess[bytes]"]

IMAGE = "probe"
SOURCE = (Path(__file__).parent / "probe.py").read_text()
PYTHON = "/usr/bin/python3"
USR = ("-v", "/usr:/usr:ro")
SCRIPT = f'cat /proc/self/status; echo ----; {PYTHON} -I -S -c "$0"; true'
PROGRAM = ("sh", "-c", SCRIPT, SOURCE)
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n4242:x:0:0::/:/bin/sh\n"
GROUP = b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"


def skeleton() -> list[Any]:
    """The members of the image: directories, the links of a merged /usr, passwd and group."""
    names = ("dev", "proc", "sys", "usr", "tmp", "root", "home", "etc", "run", "var")
    libraries = [each for each in ("bin", "sbin", "lib", "lib32", "lib64", "libx32") if Path("/usr", each).exists()]
    return [
        *(directory(name, mode=0o1777 if name == "tmp" else 0o755) for name in names),
        *(symlink(name, f"usr/{name}") for name in libraries),
        member("etc/passwd", PASSWD, mode=0o644),
        member("etc/group", GROUP, mode=0o644),
    ]


def image() -> bytes:
    return tar(*skeleton())


@dataclass(frozen=True)
class Seen:
    """What the probe saw. `status` is /proc/self/status of a plain program, `facts` the probe's own."""

    status: dict[str, str]
    facts: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.facts[name]
        except KeyError:
            raise AttributeError(name) from None

    def capabilities(self, kind: str) -> int:
        return int(self.status[f"Cap{kind}"], 16)

    def mount(self, at: str) -> dict[str, str]:
        """The uppermost mount at a place."""
        return [each for each in self.mounts if each["at"] == at][-1]


def parse(output: bytes) -> Seen:
    status, separator, facts = output.decode().replace("\r\n", "\n").partition("----\n")
    assert separator, output
    words = (line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Seen({name: value.strip() for name, value in words}, json.loads(facts))


def look(docker: Docker, *flags: str) -> Seen:
    return parse(docker("run", "--rm", *USR, *flags, IMAGE, *PROGRAM).stdout)


def look_by_exec(docker: Docker, *flags: str, run: tuple[str, ...] = ()) -> Seen:
    """A second process in a container whose own program sleeps."""
    container = docker("run", "-d", *USR, *run, IMAGE, "sleep", "1000").stdout.decode().strip()
    try:
        return parse(docker("exec", *flags, container, *PROGRAM).stdout)
    finally:
        docker("rm", "-f", container)
