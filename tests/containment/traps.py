"""Images that are the probe's skeleton with a trap in it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

from tests.containment import inside
from tests.storage.tars import directory, member, symlink, tar

DIRECTORIES = ("dev", "dev/pts", "dev/shm", "dev/mqueue", "proc", "sys", "work", "vol", "bound", "t", "etc")
ETC = ("etc/passwd", "etc/group", "etc/mtab", "etc/hosts", "etc/hostname", "etc/resolv.conf")
FILES = ("dev/null", "dev/console", "dev/ptmx", *ETC)


def trap(kind: str, name: str, canary: Path) -> Any:
    target = canary / "file" if name in FILES else canary
    if kind == "link":
        return symlink(name, str(target))
    if kind == "link up":
        return symlink(name, "../" * 20 + str(target).lstrip("/"))
    if kind == "fifo":
        return member(name, type=tarfile.FIFOTYPE, mode=0o666)
    return member(name, type=tarfile.CHRTYPE, devmajor=1, devminor=5, mode=0o666)


def image(*traps: Any) -> bytes:
    """The probe's skeleton with what is given in the place of its own members."""
    names = {info.name for info, _ in traps}
    rest = [
        (info, data)
        for info, data in inside.skeleton()
        if info.name not in names and not any(info.name.startswith(f"{name}/") for name in names)
    ]
    above = {name.rpartition("/")[0] for name in names} - {""} - {info.name for info, _ in rest}
    return tar(*rest, *(directory(name) for name in sorted(above)), *traps)
