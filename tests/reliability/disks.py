"""A small file system of a test's own, and how it is filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import peers
from tests.running import until

MEGABYTE = 1 << 20


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """An ext4 in a file, mounted; a tmpfs where there are no loop devices."""
    image, place = folder / "disk.img", folder / "data"
    place.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(megabytes * MEGABYTE)
    # No blocks for root alone: we are root, and they would hide that the disk is full.
    subprocess.run([peers.need("mkfs.ext4", "e2fsprogs"), "-q", "-m", "0", "-F", str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True, check=False)
    if done.returncode:
        size = f"size={megabytes}m"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "small", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr!r}")
    try:
        yield place
    finally:
        mounted("umount", str(place))
        image.unlink()


def mounted(*command: str) -> None:
    """A change of a mount, once the processes that have just died have let go of it."""
    until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, " ".join(command), 10)


def fill(disk: Path) -> Path:
    """To the last byte; removing the file that is returned frees all."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
        os.fsync(file.fileno())
    return ballast
