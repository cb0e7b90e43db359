"""Room for images and containers, on a file system that can carry their layers."""

from __future__ import annotations

from collections.abc import Iterator

from gorae.preflight.facts import Facts
from gorae.preflight.finding import Finding

LEAST = 256 << 20
COMFORTABLE = 5 << 30
LEAST_FILES = 20_000

# The upper layer of an overlay needs whiteouts, d_type and trusted xattrs (Documentation/filesystems/overlayfs.rst).
UNFIT = {
    "overlay": "an overlay cannot lie on another overlay",
    "nfs": "a network file system cannot hold the upper layer of an overlay",
    "smb": "a network file system cannot hold the upper layer of an overlay",
    "9p": "a shared folder cannot hold the upper layer of an overlay",
    "ecryptfs": "ecryptfs cannot hold the upper layer of an overlay",
    "squashfs": "squashfs cannot be written",
    "erofs": "erofs cannot be written",
}
DOUBTFUL = {
    "fuse": "not every FUSE file system can hold the upper layer of an overlay",
    "zfs": "older ZFS (before 2.2) cannot hold the upper layer of an overlay",
    "tmpfs": "images and containers are gone after a restart of the machine, and live in memory",
    "ramfs": "images and containers are gone after a restart of the machine, and live in memory",
}


def evaluate(facts: Facts) -> Iterator[Finding]:
    disk = facts.disk
    if disk is None:
        yield Finding("disk", "warn", f"{facts.data_root}: cannot be looked at", "choose another data root")
        return
    where = f"{size(disk.free)} free of {size(disk.total)} at {disk.path} ({disk.filesystem})"
    if disk.read_only:
        yield Finding("disk", "fail", f"{where}: read-only", "choose a data root that can be written")
    elif disk.free < LEAST:
        yield Finding("disk", "fail", where, f"make room: at least {size(LEAST)}")
    elif disk.free < COMFORTABLE:
        yield Finding("disk", "warn", where, f"images need room: {size(COMFORTABLE)} are comfortable")
    elif disk.files_free is not None and disk.files_free < LEAST_FILES:
        yield Finding("disk", "warn", f"{where}, but only {disk.files_free} inodes", "make room: images have many files")
    else:
        yield Finding("disk", "ok", where)
    kind = disk.filesystem
    if kind in UNFIT:
        yield Finding("data root", "fail", f"{kind}: {UNFIT[kind]}", "choose a data root on ext4, xfs or btrfs")
    elif kind in DOUBTFUL:
        yield Finding("data root", "warn", f"{kind}: {DOUBTFUL[kind]}", "ext4, xfs and btrfs are known to work")


def size(count: int) -> str:
    """`4.2 GiB`"""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
