"""The machine's own tree as a parent: what of it must not be seen.

A container on the snapshot `host` is an overlay whose lower directory is "/". overlayfs shows one file system only, so
whatever is mounted below "/" (/proc, a separate /home) is an empty directory inside; but the data root and the runtime
directory often lie on the root file system itself. They are whited out in the container's own upper directory:

    fs/                mode, owner, times of /
      var/             … of /var
        lib/           … of /var/lib
          gorae        character device 0:0, the whiteout: there is nothing here

They cannot lie in a layer of their own: the kernel refuses a lower directory inside another one (ELOOP, fs/overlayfs/super.c
ovl_check_layer), and every directory of the data root is inside "/". An upper directory may be. Whiteouts cannot be taken back
from within: what is made in the place of one is opaque.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence

from gorae.errors import InvalidArgument
from gorae.linux.mount import MountInfo


def hidden_paths(paths: Iterable[str], mounts: Sequence[MountInfo], below: str = "/") -> tuple[str, ...]:
    """Where, within the file system mounted at `below`, these (real) paths lie: "var/lib/gorae". Those on other file systems
    are not seen.

    A bind mount is looked through: /var/lib/gorae that really is /srv/gorae hides srv/gorae. Pure.
    """
    root = _covering(below, mounts)
    base = _inside(below, root)
    found: list[str] = []
    for path in paths:
        mount = _covering(path, mounts)
        if mount.device != root.device:
            continue
        inside = _inside(path, mount)
        if inside == base or base.startswith(inside.rstrip("/") + "/"):
            raise InvalidArgument(f"{path} holds all of {below}: the image host cannot leave it out")
        prefix = base.rstrip("/") + "/"
        if inside.startswith(prefix):
            found.append(inside[len(prefix) :])
    # One inside another needs no whiteout of its own, and would find its parent whited out.
    return tuple(sorted(path for path in set(found) if not any(path.startswith(other + "/") for other in found)))


def _covering(path: str, mounts: Sequence[MountInfo]) -> MountInfo:
    """The mount that `path` is on: the deepest mount point above it, the last one made there."""
    best: MountInfo | None = None
    for mount in mounts:
        point = mount.mount_point.rstrip("/")
        if (path == point or path.startswith(point + "/")) and (best is None or len(point) >= len(best.mount_point.rstrip("/"))):
            best = mount
    if best is None:
        raise InvalidArgument(f"no mount holds {path}")
    return best


def _inside(path: str, mount: MountInfo) -> str:
    """The path within the mounted file system."""
    rest = path[len(mount.mount_point.rstrip("/")) :].strip("/")
    return (mount.root.rstrip("/") + "/" + rest).rstrip("/") or "/"


def write_masks(upper: str, hidden: Iterable[str], below: str = "/") -> None:
    """White out `hidden` in the fresh directory `upper`, with parents that look as they do below."""
    copy_attributes(below, upper)
    made: list[tuple[str, str]] = []
    for path in hidden:
        *parents, last = path.split("/")
        here, there = below.rstrip("/"), upper
        for name in [*parents, last]:
            here, there = f"{here}/{name}", f"{there}/{name}"
            missing = not os.path.lexists(here)
            if name is last or missing:
                os.mknod(there, stat.S_IFCHR, os.makedev(0, 0))
                break
            with contextlib.suppress(FileExistsError):
                os.mkdir(there, 0o700)
                made.append((here, there))
    for here, there in reversed(made):  # the innermost first: making an entry changes the time of its directory
        copy_attributes(here, there)
    copy_attributes(below, upper)


def copy_attributes(source: str, target: str) -> None:
    """Owner, mode, extended attributes (access lists, labels; not overlayfs's own) and times of a directory."""
    found = os.lstat(source)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    os.chmod(target, stat.S_IMODE(found.st_mode))
    with contextlib.suppress(OSError):
        for name in os.listxattr(source, follow_symlinks=False):
            if not name.startswith("trusted.overlay."):
                os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)
