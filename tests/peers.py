"""Programs that others wrote: installed from Debian's archive when a test needs them, and the test images made from them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest

APPLETS = [
    "sh",
    "cat",
    "echo",
    "ls",
    "ps",
    "true",
    "false",
    "sleep",
    "id",
    "env",
    "head",
    "tail",
    "wc",
    "grep",
    "sed",
    "printf",
    "mkdir",
    "mknod",
    "mount",
    "umount",
    "rm",
    "rmdir",
    "mv",
    "cp",
    "ln",
    "touch",
    "chmod",
    "chown",
    "stat",
    "df",
    "hostname",
    "ip",
    "nc",
    "dd",
    "seq",
    "yes",
    "kill",
    "test",
    "tty",
    "stty",
    "sort",
    "uniq",
    "tr",
    "cut",
    "date",
    "find",
    "readlink",
    "sync",
    "uname",
    "whoami",
    "nproc",
    "od",
    "base64",
    "timeout",
    "usleep",
    "top",
]


@cache
def installed(program: str, package: str = "") -> bool:
    """Whether a program is here, after trying to install its Debian package (once a run)."""
    if shutil.which(program):
        return True
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    update = ["apt-get", "update", "-qq"]
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package or program]
    for command in (install, update, install):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600, check=False)
        if shutil.which(program):
            return True
    return False


def need(program: str, package: str = "") -> str:
    """Its path; skips the test, with words, when it can be had neither here nor from the archive."""
    if not installed(program, package):
        pytest.skip(f"{program} is not here and Debian's package {package or program} could not be installed")
    found = shutil.which(program)
    assert found
    return found


def busybox() -> Path:
    return Path(need("busybox", "busybox-static"))


@cache
def busybox_tar() -> bytes:
    """A small root file system: busybox with its applets, /etc/passwd, /etc/group, the usual empty directories."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("root", 0o700),
                           ("tmp", 0o1777), ("var", 0o755), ("home", 0o755)):  # fmt: skip
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, mode
            tar.addfile(directory)
        add_file(tar, "bin/busybox", busybox().read_bytes(), 0o755)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        add_file(
            tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n4242:x:0:0::/:/bin/sh\n", 0o644
        )
        add_file(tar, "etc/group", b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n", 0o644)
    return buffer.getvalue()


def add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))
